"""Results of `lhc.analyze` and `lhc.partition`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from lhc.costs import CostTerms, SystemCost, SystemFigures, cost_of, cost_terms
from lhc.costs.plan_costs import digital_cost, plan_cost, plan_figures
from lhc.graph import LayerGraph
from lhc.onnx_io import ExternalData, add_device_configurations, annotate, check_output, relative, save_model, whole
from lhc.onnx_model import OnnxModel
from lhc.pipeline.plan_table import plan_table
from lhc.plan import LayerPlan, Plan
from lhc.plan.placed_graph import placed_graph
from lhc.plan.recurrent_steps import folded_rows
from lhc.plan.summary import share_of, summary, tiles_text
from lhc.results import Evaluation, Infeasibility, RunFigures, SensitivityTable
from lhc.support.notebook import Tabled, data_frame
from lhc.support.number_formatting import counted, millionths, share_text
from lhc.support.tables import Table

if TYPE_CHECKING:
    import networkx as nx
    import onnx_ir as ir

    from lhc.runtime import HybridSession

GROUPED_FORMS = ("table", "markdown")
"""Forms in which rows may stand for groups of others; in the others every row is a layer."""

_COSTS = ("digital µs", "analog µs", "digital µJ", "analog µJ")
_NUMBERS = ("MACs", "share", "of activations", "weights", "tiles", *_COSTS)
_SPARE = ("weights", "of activations", "operator", "digital µJ", "analog µJ", "share", "digital µs", "analog µs", "why")
"""What a narrow terminal does without, in this order."""
_COLUMNS = ("layer", "operator", "analog", *_NUMBERS, "why", "block")


@dataclass(frozen=True, eq=False, repr=False)
class Analysis(Tabled):
    """Layers that can be analog, and why the others cannot.

    Attributes:
        plan: every operator that multiplies, with its costs, undecided.
        facts: the network's operators and the tensors between them.
        renamed: ``(old, new)`` names of nodes that had none or a duplicate.
        example: shapes of inputs that nobody gave, where MACs depend on them.
    """

    plan: Plan
    facts: LayerGraph
    renamed: tuple[tuple[str, str], ...] = ()
    example: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @cached_property
    def graph(self) -> "nx.MultiDiGraph[str]":
        """The layer graph for networkx, with what is known of each layer on its nodes (`lhc.layer_graph`)."""
        return placed_graph(self.facts, self.plan)

    @cached_property
    def rows(self) -> tuple[LayerPlan, ...]:
        """The layers as the table has them: steps of a recurrent operator are one."""
        return folded_rows(self.plan.layers)

    @property
    def tiles(self) -> int:
        """Tiles of all eligible layers."""
        return self.plan.tiles_of(self.facts, frozenset(self.plan.eligible))

    @property
    def eligible_mac_fraction(self) -> float:
        """Share of all MACs by stored weights that can be analog."""
        eligible = sum(layer.macs for layer in self.plan.layers if layer.reason == "eligible")
        return eligible / self.plan.macs if self.plan.macs else 0.0

    @property
    def totals(self) -> str:
        """One line: how much can be analog, and what is beside it."""
        plan, eligible = self.plan, sum(row.reason == "eligible" for row in self.rows)
        count = plan.hardware.tiles.count
        short = f" (the machine has {count:,})" if count is not None and self.tiles > count else ""
        beside = f", {plan.activation_macs:,} MACs of two activations beside" if plan.activation_macs else ""
        return (
            f"{eligible} of {counted(len(self.rows), 'layer')} can be analog: {share_text(self.eligible_mac_fraction)}"
            f" of {share_of(plan)}, {plan.macs:,} per sample in all{beside};"
            f" {tiles_text(self.tiles, plan.hardware)}{short}"
        )

    @property
    def example_note(self) -> str:
        """Note on example sizes that nobody gave, and how to give them; else empty."""
        if not self.example:
            return ""
        steps = any(taken.isdigit() for taken in self.plan.control.values())
        shapes = [f"{name}={','.join(map(str, shape))}" for name, shape in self.example.items()]
        samples = ", or samples, which tell how many steps there are: --data" if steps else ""
        return (
            f"the file leaves sizes open, so the numbers are of an example, {' '.join(shapes)}; give yours in its"
            f" place: --shape {' --shape '.join(shapes)}{samples}"
        )

    @cached_property
    def costs(self) -> CostTerms | None:
        """Latency and energy of every layer, analog and digital; None where the hardware describes no costs."""
        plan, machine = self.plan, self.plan.hardware
        return None if machine.costs is None else cost_terms(self.facts, machine, plan.copies, plan.sums, plan.digital)

    def cost(self, analog: frozenset[str]) -> SystemCost | None:
        """Cost of a placement, per sample; None where the hardware describes no costs."""
        plan, machine = self.plan, self.plan.hardware
        return (
            None
            if machine.costs is None
            else cost_of(self.facts, analog, machine, plan.copies, plan.sums, plan.digital)
        )

    def blocks(self) -> Mapping[str, tuple[LayerPlan, ...]]:
        """The rows by the path of the block that they are in, in the order of the file; ``""`` is the top."""
        return _by_block(self.rows)

    def tiles_among(self, layers: Iterable[LayerPlan]) -> int:
        """Tiles of the eligible ones of some layers; those that share their weights share their tiles."""
        needed = {layer.name: layer.tiles for layer in layers if layer.reason == "eligible"}
        return sum(needed[tie[0]] for tie in self.facts.tied(needed))

    def as_table(self, grouped: bool = True) -> Table:
        """One row an operator that multiplies.

        Args:
            grouped: under a row for its block, where that has several; else with the block in a column.
        """
        shown = [title for title in _COLUMNS if self._has(title) and not (grouped and title == "block")]
        found = _by_block(self.rows).items() if grouped else ()
        blocks = {block: layers for block, layers in found if block and len(layers) > 1}
        rows: list[Mapping[str, str]] = []
        for layer in self.rows:
            inside = blocks.get(layer.block, ())
            if not inside:
                rows.append(self._row(layer))
            elif layer is inside[0]:
                rows += [self._block_row(layer.block, inside), *(self._row(other, "  ") for other in inside)]
        right = [index for index, title in enumerate(shown) if title in _NUMBERS]
        spare = [shown.index(title) for title in _SPARE if title in shown]
        return Table(shown, [[row.get(title, "") for title in shown] for row in rows], right=right, spare=spare)

    def _has(self, column: str) -> bool:
        """Whether there is anything to say in a column."""
        if column == "of activations":
            return self.plan.activation_macs > 0
        return self.costs is not None or column not in _COSTS

    @cached_property
    def _macs(self) -> int:
        """All by stored weights, of which every row is a share."""
        return self.plan.macs

    def _sizes(self, layers: Sequence[LayerPlan]) -> dict[str, str]:
        macs = sum(layer.macs for layer in layers)
        return {
            "MACs": f"{macs:,}",
            "share": share_text(macs / self._macs) if self._macs else "-",
            "of activations": f"{sum(layer.activation_macs for layer in layers):,}",
            "weights": f"{sum(layer.parameters for layer in layers):,}",
        }

    def _block_row(self, block: str, layers: Sequence[LayerPlan]) -> dict[str, str]:
        count = sum(layer.reason == "eligible" for layer in layers)
        tiles = str(self.tiles_among(layers))
        return {"layer": block, "analog": f"{count} of {len(layers)}", **self._sizes(layers), "tiles": tiles}

    def _row(self, layer: LayerPlan, indent: str = "") -> dict[str, str]:
        eligible, sizes = layer.reason == "eligible", self._sizes([layer])
        return {
            "layer": indent + layer.title,
            "operator": layer.kind,
            "analog": "yes" if eligible else "no",
            **sizes,
            "MACs": sizes["MACs"] if layer.counted else f"{sizes['MACs']} + ?",
            "tiles": str(layer.tiles),
            **self._cost_cells(layer),
            "why": layer.detail if eligible else f"{layer.reason}: {layer.detail}",
            "block": layer.block,
        }

    def _cost_cells(self, layer: LayerPlan) -> dict[str, str]:
        if self.costs is None:
            return {}
        both = self.costs.digital.get(layer.name), self.costs.analog.get(layer.name)
        latencies = [None if cost is None else layer.steps * cost.latency_s for cost in both]
        energies = [None if cost is None else layer.steps * cost.energy_j for cost in both]
        cells = map(millionths, (*latencies, *energies))
        return dict(zip(_COSTS, cells, strict=True))

    def table(self, form: str = "table") -> str:
        """Table of the layers as text, csv, markdown or latex."""
        return self.as_table(form in GROUPED_FORMS).render(form)

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas is not a dependency
        """Data frame of the layers, one row each, where pandas is installed."""
        return data_frame(self.as_table(grouped=False))

    def __repr__(self) -> str:
        return f"<Analysis: {self.totals}>"


def _by_block(layers: Iterable[LayerPlan]) -> dict[str, tuple[LayerPlan, ...]]:
    found: dict[str, list[LayerPlan]] = {}
    for layer in layers:
        found.setdefault(layer.block, []).append(layer)
    return {block: tuple(inside) for block, inside in found.items()}


@dataclass(frozen=True, eq=False, repr=False)
class PartitionResult(Tabled):
    """A placed model.

    Attributes:
        plan: the decisions, and how they did on data.
        facts: the network's operators and the tensors between them.
        ranking: the sensitivities that the search went by, where it did.
        infeasibility: where the budget is not met, why, and what would help.
        ages: the placement at other times, calibrated at the first read alone, ascending; where they were asked for.
    """

    plan: Plan
    facts: LayerGraph
    source: OnnxModel
    notes: tuple[str, ...] = ()
    ranking: SensitivityTable | None = None
    infeasibility: Infeasibility | None = None
    ages: tuple[Evaluation, ...] = ()

    @cached_property
    def graph(self) -> "nx.MultiDiGraph[str]":
        """The layer graph for networkx, with the placement on its nodes (`lhc.layer_graph`)."""
        return placed_graph(self.facts, self.plan)

    @property
    def model(self) -> onnx.ModelProto:
        """The model with the plan in its metadata, and nothing else changed.

        Weights in other files are named as in the source; save such a model in the source's folder.
        """
        annotated = whole(annotate(self.source, self.plan, self.facts))
        path = self.source.path
        return annotated if path is None or not self.source.external else relative(annotated, path.parent)

    def to_ir(self, *, device_configurations: bool = False) -> "ir.Model":
        """`model` as an onnx-ir model.

        Args:
            device_configurations: with ONNX's device configurations, which follow when nodes and values are renamed.

        Raises:
            MissingDependencyError: these are asked for, and onnx-ir is older than 1.0.
        """
        import onnx_ir as ir

        annotated = self.model
        if device_configurations:
            from lhc.onnx_io.annotate.ir_device_configurations import check_device_configurations

            check_device_configurations()
            add_device_configurations(annotated, self.plan)
        return ir.from_proto(annotated)

    @property
    def summary(self) -> str:
        """One line."""
        return summary(self.plan, self.facts)

    @cached_property
    def cost(self) -> SystemCost | None:
        """Cost of the placement, per sample; None where the hardware describes no costs."""
        return plan_cost(self.plan, self.facts)

    @cached_property
    def digital_cost(self) -> SystemCost | None:
        """Cost of the all-digital network, per sample; None where the hardware describes no costs."""
        return digital_cost(self.plan, self.facts)

    @cached_property
    def figures(self) -> SystemFigures | None:
        """Throughput, peak power and area; None likewise."""
        return None if self.cost is None else plan_figures(self.plan, self.facts, self.cost)

    def save(
        self,
        path: str | Path,
        *,
        force: bool = False,
        external_data: ExternalData = "keep",
        layer_ann: bool = False,
        device_configurations: bool = False,
    ) -> Path:
        """Write the annotated model.

        Args:
            force: replace a file that lhc did not write for this model.
            external_data: where the source keeps weights in other files, refer to those (``keep``; the output must lie
                in their folder), or write a copy of them beside the output (``copy``).
            layer_ann: also write onnxruntime's key ``layer_ann``, analog or digital, on nodes that have none.
            device_configurations: also write ONNX's device configurations; an older file gets IR version 11.

        Raises:
            UsageError: writing would lose something, or the place cannot be written.
        """
        where = Path(path)
        check_output(where, self.source, force, external_data)
        annotated = annotate(self.source, self.plan, self.facts, layer_ann)
        if device_configurations:
            add_device_configurations(annotated, self.plan)
        save_model(annotated, where, external_data)
        return where

    def session(self, seed: int | None = None, t_inference: float | None = None) -> "HybridSession":
        """The placed model, ready to run; by default with the seed and time it was judged at."""
        outcome = self.plan.outcome
        if outcome is not None:
            seed = outcome.seed if seed is None else seed
            t_inference = outcome.t_s if t_inference is None else t_inference
        from lhc.runtime import HybridSession

        return HybridSession(self.source, placement=self.plan, seed=seed or 0, t_inference=t_inference)

    def as_table(self) -> Table:
        """One row a layer."""
        return plan_table(self.plan)

    def __repr__(self) -> str:
        return f"<PartitionResult: {self.summary}>"


def run_figures(result: PartitionResult) -> RunFigures:
    """The figures of a result of `lhc.partition`."""
    plan, outcome, cost, digital = result.plan, result.plan.outcome, result.cost, result.digital_cost
    rows = folded_rows(plan.layers)  # as the table of ``lhc partition`` counts them
    assert outcome is not None, "every partition is judged"
    return RunFigures(
        hardware=plan.hardware.name,
        metric=outcome.metric,
        percent=outcome.percent,
        digital=outcome.baseline,
        precision=None if plan.digital is None else plan.digital.text,
        precision_drop=outcome.digital_drop,
        mapped=outcome.value,
        drop=outcome.drop,
        drop_type=outcome.drop_type,
        interval=outcome.interval,
        chip_interval=outcome.chip_interval,
        sample_interval=outcome.sample_interval,
        confidence=outcome.confidence,
        max_drop=outcome.max_drop,
        within_budget=outcome.within_budget,
        held_out=outcome.held_out,
        samples=outcome.samples,
        chips=outcome.draws,
        seed=outcome.seed,
        t_s=outcome.t_s,
        analog_layers=sum(row.placement == "analog" for row in rows),
        layers=len(rows),
        analog_mac_fraction=plan.analog_mac_fraction,
        tiles=plan.tiles(result.facts),
        energy_j=None if cost is None else cost.total.energy_j,
        latency_s=None if cost is None else cost.total.latency_s,
        digital_energy_j=None if digital is None else digital.total.energy_j,
        digital_latency_s=None if digital is None else digital.total.latency_s,
        retrained=outcome.retrained is not None,
        calibrated=plan.hardware.corrects_outputs and outcome.harmful_calibration is None,
        course=()
        if outcome.retrained is None
        else tuple((point.step, point.drop) for point in outcome.retrained.curve),
    )
