"""Eligibility of layers for tiles: qualification by shape and machine, the parity gate, and a judged output.

Every refusal has a reason that holds numbers.

A candidate is eligible if one operand is a constant matrix of floats, the operator is a Conv, Gemm or MatMul of the
main graph, and the machine has as many tiles as the matrix needs: ceil(rows / tile rows) · ceil(groups · cols / tile
cols); of a chip whose tiles differ, tiles of its own (`lhc.passes.decide.tile_assignment`). Layers with the same matrix
share its tiles; all but the first say with whom. Other operators that multiply have rows too, so that their MACs count
in every share; they stay digital.

The parity gate keeps digital what the emulation does not reproduce (`lhc.runtime.noise_free_parity`).

A layer that is no ancestor of a judged output in the layer graph stays digital: nothing that is measured shows what it
loses on tiles. Layers that share their weights
share one decision; one that is judged is enough.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lhc.graph import Layer, LayerGraph, Work, obstacle
from lhc.hardware import Hardware
from lhc.passes.base import Pass, PassResult
from lhc.passes.decide.tile_assignment import assign_tiles
from lhc.plan import Decision, LayerPlan, Placement, Plan, Reason
from lhc.support.version import VERSION


def initial_plan(graph: LayerGraph, hardware: Hardware, source: str, lhc_version: str) -> Plan:
    """All operators that multiply, digital, with their costs, nothing decided; those nested in others come last.

    Where tiles of the chip differ, the plan's hardware has given some of them to every layer that may be analog.
    """
    hardware = assign_tiles(graph, hardware)
    layers = tuple(_describe(layer, hardware) for layer in graph.multiplying)
    return Plan(
        lhc_version=lhc_version,
        source=source,
        hardware=hardware,
        layers=layers,
        control=graph.control,
        shapes=graph.shapes,
    )


def qualified_plan(graph: LayerGraph, hardware: Hardware, source: str) -> Plan:
    """Plan of all operators that multiply, with those refused that cannot be analog on that hardware, and why."""
    return Qualify().run(graph, initial_plan(graph, hardware, source, VERSION)).plan


def _describe(layer: Layer, hardware: Hardware) -> LayerPlan:
    matrix, work = layer.matrix, layer.work or Work()
    tiles = (
        hardware.for_layer(layer.name).tiles_for(matrix.rows, matrix.cols * matrix.groups)
        if matrix and layer.weight
        else 0
    )
    return LayerPlan(
        name=layer.name,
        op_type=layer.op_type,
        weight=next(iter(work.weights), None),
        output=next(filter(None, layer.outputs), ""),
        placement="digital",
        reason="eligible",
        detail="",
        macs=work.macs,
        activation_macs=work.activation_macs,
        counted=work.missing is None,
        parameters=work.parameters,
        tiles=tiles,
        module=layer.module,
        origin=None if layer.origin is None else layer.origin.node,
        operator=None if layer.origin is None else layer.origin.kind,
        digital_columns=() if layer.origin is None else layer.origin.columns,
    )


@dataclass(frozen=True)
class Qualify(Pass):
    """Mark what cannot be analog on the plan's hardware."""

    name: ClassVar[str] = "qualify"
    ensures: ClassVar[frozenset[str]] = frozenset({"qualified"})

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        decisions: dict[str, tuple[Placement, Reason, str]] = {}
        owners: dict[str, str] = {}
        for row in plan.layers:
            layer = graph[row.name]
            reason, detail = self._judge(layer, row, plan)
            if reason == "eligible" and layer.weight is not None:
                owner = owners.setdefault(layer.weight.tile_set, row.name)
                detail += f", shared with {owner}" if owner != row.name else ""
            decisions[row.name] = "digital", reason, detail
        return PassResult(plan.decide(decisions))

    def _judge(self, layer: Layer, row: LayerPlan, plan: Plan) -> tuple[Reason, str]:
        problem = obstacle(layer)
        if problem is not None:
            return problem.reason, problem.detail
        matrix, tiles = layer.matrix, plan.hardware.tiles
        if matrix is None:
            return "unsupported", "its matrix size is not known"
        width = f"{matrix.groups} x {matrix.cols}" if matrix.groups > 1 else f"{matrix.cols}"
        count = f"{row.tiles} tile" if row.tiles == 1 else f"{row.tiles} tiles"
        need = f"{matrix.rows} x {width} weights take {count} of {tiles.size_text}"
        if tiles.count is not None and row.tiles > tiles.count:
            return "tiles", f"{need}, the machine has {tiles.count}"
        if plan.hardware.faults.differ and not plan.hardware.for_layer(row.name).faults.tiles:
            return "tiles", f"{need}, and other layers with more MACs a tile hold the chip's {tiles.count}"
        return "eligible", need


@dataclass(frozen=True)
class ParityGate(Pass):
    """Exclude layers whose noise-free emulation differs from onnxruntime, forced ones too.

    Attributes:
        errors: layer -> error relative to its output's greatest magnitude.
        tolerance: greatest error that is allowed.
    """

    errors: Mapping[str, float]
    tolerance: float
    name: ClassVar[str] = "parity"

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        may_be_analog = plan.analog.union(plan.eligible)
        failed = {n: error for n, error in self.errors.items() if n in may_be_analog and not error <= self.tolerance}
        decisions: dict[str, tuple[Placement, Reason, str]] = {}
        for name, error in failed.items():
            by = f"by {error:.2g} of the output's greatest magnitude (allowed {self.tolerance:.0e})"
            why = "its values on these samples are NaN or infinite, or of another shape than onnxruntime's"
            why = f"noise-free tiles differ from onnxruntime {by}" if math.isfinite(error) else why
            decisions[name] = ("digital", "parity", why)
        titles = plan.titles
        notes = tuple(f"{titles[name]} stays digital: {detail}" for name, (_, _, detail) in decisions.items())
        return PassResult(plan.decide(decisions), notes)


def judged_layers(graph: LayerGraph, outputs: tuple[str, ...]) -> frozenset[str]:
    """Names of the operators that some of these outputs depend on."""
    import networkx as nx

    writers = {name for output in outputs if (name := graph.producer(output)) is not None}
    return frozenset(writers).union(*(nx.ancestors(graph.networkx, name) for name in writers))


@dataclass(frozen=True)
class LeaveUnjudged(Pass):
    """Leave layers digital that no judged output depends on, unless the user fixed them.

    Attributes:
        outputs: those that are judged.
    """

    outputs: tuple[str, ...]
    name: ClassVar[str] = "leave-unjudged"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified"})

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        judged = judged_layers(graph, self.outputs)
        detail = (
            f"{_depends(self.outputs)} on it, so nothing shows what it loses on tiles{_others(graph, self.outputs)}"
        )
        decisions: dict[str, Decision] = {}
        for group in graph.tied(plan.eligible):
            if judged.isdisjoint(group):
                decisions |= dict.fromkeys(group, ("digital", "not-judged", detail))
        return PassResult(plan.decide(decisions))


def _depends(outputs: tuple[str, ...]) -> str:
    if len(outputs) == 1:
        return f"output {outputs[0]!r}, which is judged, does not depend"
    return f"none of the judged outputs {', '.join(map(repr, outputs))} depends"


def _others(graph: LayerGraph, outputs: tuple[str, ...]) -> str:
    """Options that would judge these layers: the other outputs."""
    others = [name for name in graph.outputs if name not in outputs]
    return f"; --output {others[0] if len(others) == 1 else 'NAME'} judges another output" if others else ""
