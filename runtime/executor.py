"""Run one placement of a network: digital segments and analog layers in turn.

The executor holds what a placement fixes (sessions, operators); what a draw fixes (programmed tiles) is given to
each run, so that many draws share one executor. torch and aihwkit are loaded for the first analog layer only: they
have wheels for Linux x86-64 alone, and all-digital networks run everywhere.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import onnx

from lhc.canonical import placed_form, written_branches
from lhc.conductances import Correction, ProgrammedMatrix
from lhc.errors import DataError, MissingDependencyError, ModelError
from lhc.graph import LayerGraph, obstacle
from lhc.hardware import Hardware
from lhc.model import OnnxModel
from lhc.onnx_io import Constants
from lhc.runtime.bank import Bank
from lhc.runtime.cut import Segment, SegmentModels, cut_graph
from lhc.runtime.network_calls import Call, Correcting
from lhc.runtime.onnx_runtime import onnxruntime
from lhc.runtime.ort import Array, create_session, run_session
from lhc.runtime.programmed import ProgrammedChip, ProgrammedLayers
from lhc.runtime.stream import Position
from lhc.runtime.tensor_types import tensor_types

if TYPE_CHECKING:
    from lhc.runtime.fast import FastMatrix
    from lhc.runtime.large_matrix import LargeMatrix
    from lhc.runtime.layers import AnalogLayer
    from lhc.runtime.matrix import AnalogMatrix
    from lhc.runtime.unit_products import Products

__all__ = ["HybridExecutor", "Ranges"]

Ranges = tuple[float, ...]

_TILES_MEMORY = 2**26
"""Bytes of mapped tiles that an executor keeps, to program them again."""
_SMALL = 2**14
"""Bytes of a constant that is not read from the model again at every call: biases."""


@dataclass(frozen=True)
class _Stage:
    segment: Segment | None
    open: Callable[[], onnxruntime.InferenceSession] | None
    analog: "tuple[AnalogLayer, ...]"

    @cached_property
    def session(self) -> onnxruntime.InferenceSession | None:
        """Made for the first call: some executors only program."""
        return None if self.open is None else self.open()


class HybridExecutor:
    """A network with a fixed set of analog layers."""

    def __init__(
        self,
        model: OnnxModel,
        graph: LayerGraph,
        analog: Iterable[str],
        ranges: Mapping[str, Ranges] | None = None,
        copies: Mapping[str, int] | None = None,
    ) -> None:
        """Cut the network and prepare its segments and analog operators.

        Args:
            ranges: layer -> static input range of each row split, for hardware that has them.
            copies: layer -> copies of its weights on tiles; one by default.

        Raises:
            ModelError: a layer is missing or cannot be analog on any hardware.
        """
        self._label = model.label
        self._graph = graph
        self.analog = frozenset(analog)
        unknown = sorted(name for name in self.analog if name not in graph)
        if unknown:
            raise ModelError(f"{model.label} has no layer {', '.join(map(repr, unknown[:3]))}, which is placed analog")
        self._ranges = ranges or {}
        self._copies = copies or {}
        self._tiles: Bank[AnalogMatrix | LargeMatrix] = Bank(_TILES_MEMORY)
        self._constants = Constants(model.proto.graph)
        self._small: dict[str, Array] = {}
        self._branches = written_branches(model, self.analog)
        nodes, placed = placed_form(model, graph, self.analog)
        self._layers = {name: self._analog_layer(nodes[name], name) for name in graph.order() if name in self.analog}
        stages = cut_graph(placed, self.analog, self._constants)
        # All digital is the model as it is, and the model's own inputs have their types.
        inner = {t for segment, _ in stages if segment for t in segment.inputs} - set(graph.inputs)
        types = tensor_types(model, inner) if self.analog else {}
        models = SegmentModels(model, nodes, types)
        self._stages = []
        for segment, names in stages:
            # Not a method: who holds himself is freed late, and sessions are large.
            session = None if segment is None else partial(_session, model, models, segment, not self.analog)
            self._stages.append(_Stage(segment, session, tuple(self._layers[name] for name in names)))
        self._first = _independent(self._stages[0].analog)
        dependent = tuple(layer for layer in self._stages[0].analog if layer not in self._first)
        self._later = [_Stage(None, None, dependent), *self._stages[1:]]

    def open(self) -> None:
        """Make the sessions of all digital segments.

        Raises:
            ModelError: onnxruntime refuses one.
        """
        for stage in self._stages:
            _ = stage.session

    def _analog_layer(self, node: onnx.NodeProto, name: str) -> "AnalogLayer":
        layer = self._graph[name]
        problem = obstacle(layer) if layer.is_candidate else None
        if not layer.is_candidate or problem is not None or layer.weight is None:
            why = problem.detail if problem else f"{layer.op_type} is not a product"
            raise ModelError(f"{self._label}: layer {name!r} cannot be analog: {why}")
        _require_emulation(self._label)
        from lhc.runtime.layers import analog_layer

        users = [c.name for c in self._graph.candidates if c.weight and c.weight.tile_set == layer.weight.tile_set]
        return analog_layer(node, layer, self._constants.value(layer.weight.name), users.index(name))

    @property
    def layers(self) -> "tuple[AnalogLayer, ...]":
        """The analog layers, in topological order."""
        return tuple(self._layers.values())

    def program(self, hardware: Hardware, seed: int, draw: int, multiplies: bool = False) -> ProgrammedChip:
        """Program the tiles of all analog layers; they have not drifted. ``multiplies``: see `AnalogLayer.map_onto`."""
        matrices: dict[str, AnalogMatrix | LargeMatrix] = {}
        if self._layers:
            with _isolated():
                for layer in self.tile_sets().values():
                    matrices[layer.tile_set] = self._mapped(layer, hardware, multiplies)
                    matrices[layer.tile_set].program(seed, draw)
        return ProgrammedChip(matrices)

    def states(self, hardware: Hardware, seed: int, draw: int, t_s: float) -> dict[str, ProgrammedMatrix]:
        """What the tiles of one programming hold after ``t_s`` seconds, by tile set."""
        return self.reads(hardware, seed, draw, t_s, (0,))[0]

    def reads(
        self,
        hardware: Hardware,
        seed: int,
        draw: int,
        t_s: float,
        numbers: Sequence[int],
        wanted: Collection[str] | None = None,
    ) -> list[dict[str, ProgrammedMatrix]]:
        """The same as each of some reads finds it, with read noise of its own; number 0 is that of inference.

        ``wanted``: some tile sets; all by default.
        """
        result: list[dict[str, ProgrammedMatrix]] = [{} for _ in numbers]
        for tile_set, layer in self.tile_sets().items():
            if wanted is not None and tile_set not in wanted:
                continue
            with _isolated():
                # Programming starts from the mapped weights, whatever the tiles have held before.
                tiles = self._tiles.get(self._mapping(layer, hardware), partial(self._mapped, layer, hardware))
                tiles.program(seed, draw)
                for found, state in zip(result, tiles.reads(t_s, numbers), strict=True):
                    found[tile_set] = state
        return result

    def _mapping(self, layer: "AnalogLayer", hardware: Hardware) -> Hashable:
        """What tiles before programming depend on, beside the weights of the model."""
        machine = hardware.for_layer(layer.name).model_dump_json()
        return layer.tile_set, machine, self._ranges.get(layer.name), self._copies.get(layer.name, 1)

    def tile_sets(self) -> "dict[str, AnalogLayer]":
        """The first layer of every tile set."""
        return {layer.tile_set: layer for layer in reversed(self._layers.values())}

    def _mapped(
        self, layer: "AnalogLayer", hardware: Hardware, multiplies: bool = False
    ) -> "AnalogMatrix | LargeMatrix":
        ranges, copies = self._ranges.get(layer.name), self._copies.get(layer.name, 1)
        return layer.map_onto(hardware.for_layer(layer.name), ranges, copies, multiplies)

    def on_chips(
        self,
        states: Sequence[Mapping[str, ProgrammedMatrix]],
        hardware: Hardware,
        seed: int,
        draws: Sequence[int],
        kept: "Callable[[Hashable, Callable[[], FastMatrix]], FastMatrix] | None" = None,
    ) -> ProgrammedLayers:
        """The fast engine on some chips.

        Args:
            states: what the tiles of each chip hold.
            draws: number of each chip's programming.
            kept: a matrix that was made before, from its mapping and how it is made.
        """
        if not self._layers:
            return ProgrammedLayers(tuple({} for _ in states), {})
        from lhc.runtime.fast import FastMatrix

        def made(tile_set: str, layer: "AnalogLayer") -> FastMatrix:
            matrix = FastMatrix([state[tile_set] for state in states], draws, seed, hardware.for_layer(layer.name))
            return matrix.lay_out(layer.form.window is not None)

        first = {layer.tile_set for layer in self._first}
        later = {layer.tile_set for stage in self._later for layer in stage.analog}
        matrices = {}
        for tile_set, layer in self.tile_sets().items():
            make = partial(made, tile_set, layer)
            matrices[tile_set] = make() if kept is None else kept(self._mapping(layer, hardware), make)
        chips = tuple({tile_set: matrices[tile_set].alone(index) for tile_set in later} for index in range(len(states)))
        return ProgrammedLayers(chips, {tile_set: matrices[tile_set] for tile_set in first})

    def calibrate(
        self,
        reads: Sequence[ProgrammedLayers],
        calls: Sequence[Call],
        corrects: "Callable[[AnalogLayer], Correcting]",
        prefixes: Callable[[Call], Mapping[str, Array]] | None = None,
    ) -> dict[str, Correction]:
        """Corrections of one chip, layer after layer, in one pass of the calls.

        Args:
            reads: the chip as each of some reads finds it, without corrections; they take turns with the calls.
            calls: feeds, and where they stand in the stream.
            corrects: what finds a layer's correction.
            prefixes: what `prefix` gives for a call, kept for other chips.

        Raises:
            DataError: the network does not run on these feeds.
        """
        found: dict[str, Correction] = {}
        readers = Counter(self._reads())
        waiting = [readers.copy() for _ in calls]
        every = [dict(self.prefix(call[0]) if prefixes is None else prefixes(call)) for call in calls]
        # What follows the last analog layer corrects nothing, but may tell of another branch.
        last = None if self._branches or self._stages[-1].analog else -1
        for stage in (_Stage(None, None, self._stages[0].analog), *self._stages[1:last]):
            every = [self._segment(stage, tensors) for tensors in every]
            for tensors, left in zip(every, waiting, strict=True):
                _release(tensors, left, stage.segment.inputs if stage.segment else ())
            for layer in stage.analog:
                products = [read.together if layer in self._first else read.chips[0] for read in reads]
                correcting = corrects(layer)
                for number, (tensors, (feeds, position)) in enumerate(zip(every, calls, strict=True)):
                    (output,) = self.run_layer(layer, tensors, products[number % len(reads)], position, bias=False)
                    correcting.add(feeds, self._tensor(layer.activation, tensors), output)
                    if readers[layer.output]:  # answers of the network, which may be large, are not kept
                        tensors[layer.output] = output
                correction = correcting.found()
                if correction is not None:
                    found[layer.name] = correction
                for tensors, left in zip(every, waiting, strict=True):
                    if readers[layer.output]:
                        added = [self._tensor(name, tensors) for name in layer.digital_inputs]
                        completed = layer.completed(tensors[layer.output], added[0] if added else None, correction)
                        tensors[layer.output] = completed.astype(tensors[layer.output].dtype, copy=False)
                    if layer not in self._first:
                        _release(tensors, left, (layer.activation, *layer.digital_inputs))
        return found

    def prefix(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Everything that no analog layer comes before: the same for all draws."""
        self._check_branches(feeds)
        return self._segment(self._stages[0], dict(feeds))

    def finish(
        self,
        prefix: Mapping[str, Array],
        programmed: ProgrammedLayers,
        position: Position,
        outputs: Sequence[str] | None = None,
    ) -> Iterator[list[Array]]:
        """The outputs chip by chip, from what `prefix` returned.

        Args:
            prefix: tensors after the first digital segment.
            position: of these samples in the stream; fixes the noise.
            outputs: names; all by default.
        """
        wanted = list(self._graph.outputs if outputs is None else outputs)
        if not self._layers:
            yield from ([self._tensor(name, prefix) for name in wanted] for _ in programmed.chips)
            return
        first = {
            layer.output: self.run_layer(
                layer, prefix, programmed.together, position, programmed.corrections_of(layer.name)
            )
            for layer in self._first
        }
        reads = Counter(self._reads()) + Counter(wanted)
        for index, products in enumerate(programmed.chips):
            tensors = dict(prefix) | {name: chips[index] for name, chips in first.items()}
            waiting = reads.copy()
            for stage in self._later:
                tensors = self._segment(stage, tensors)
                _release(tensors, waiting, stage.segment.inputs if stage.segment else ())
                for layer in stage.analog:
                    corrections = programmed.corrections_of(layer.name, index)
                    (tensors[layer.output],) = self.run_layer(layer, tensors, products, position, corrections)
                    _release(tensors, waiting, (layer.activation, *layer.digital_inputs))
            yield [self._tensor(name, tensors) for name in wanted]

    def _reads(self) -> Iterable[str]:
        """Every read of a tensor after the first analog layers."""
        for stage in self._later:
            if stage.segment is not None:
                yield from stage.segment.inputs
            for layer in stage.analog:
                yield from (layer.activation, *layer.digital_inputs)

    def _segment(self, stage: _Stage, tensors: dict[str, Array]) -> dict[str, Array]:
        if stage.session is None or stage.segment is None:
            return tensors
        feeds = {name: tensors[name] for name in stage.segment.inputs}
        results = run_session(stage.session, stage.segment.outputs, feeds, self._label)
        written = dict(zip(stage.segment.outputs, results, strict=True))
        self._check_branches(written)
        return tensors | written

    def _check_branches(self, tensors: Mapping[str, Array]) -> None:
        """Refuse a call that takes another branch than the one that is placed."""
        for placed in self._branches:
            condition = tensors.get(placed.node.input[0])
            if condition is not None and bool(condition.reshape(-1)[0]) != (placed.branch == "then_branch"):
                raise DataError(
                    f"{self._label}: these samples do not take the {placed.branch} of If {placed.node.name!r}, for"
                    " which its layers are placed; give samples that do, or place it for these by themselves"
                )

    def run_layer(
        self,
        layer: "AnalogLayer",
        tensors: Mapping[str, Array],
        products: "Mapping[str, Products]",
        position: Position,
        corrections: Sequence[Correction | None] | None = None,
        bias: bool = True,
    ) -> list[Array]:
        """Output of one analog layer on every chip, from the tensors it reads; on request without its bias."""
        extra = [self._tensor(name, tensors) for name in layer.digital_inputs] if bias else []
        activation = self._tensor(layer.activation, tensors)
        return layer.run(products[layer.tile_set], activation, extra[0] if extra else None, position, corrections)

    def _tensor(self, name: str, tensors: Mapping[str, Array]) -> Array:
        if name in tensors:
            return tensors[name]
        if name not in self._small:
            value = self._constants.value(name)
            if value.nbytes > _SMALL:
                return value
            self._small[name] = value
        return self._small[name]


def _session(model: OnnxModel, models: SegmentModels, segment: Segment, whole: bool) -> onnxruntime.InferenceSession:
    # All digital is the model as it is: plain onnxruntime, bit for bit.
    return create_session(model.as_file() if whole else models.of(segment), model.label)


def _independent(layers: "tuple[AnalogLayer, ...]") -> "tuple[AnalogLayer, ...]":
    """Those that read no output of another."""
    written = {layer.output for layer in layers}
    return tuple(layer for layer in layers if written.isdisjoint((layer.activation, *layer.digital_inputs)))


def _require_emulation(label: str) -> None:
    try:
        import aihwkit  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"{label}: emulating analog layers needs aihwkit and torch, which have wheels for Linux x86-64 only:"
            f" {error}; 'lhc analyze' and 'lhc inspect' work without them"
        ) from error


def _isolated() -> AbstractContextManager[None]:
    from lhc.runtime.threads import isolated

    return isolated()


def _release(tensors: dict[str, Array], waiting: Counter[str], read: Iterable[str]) -> None:
    """Free tensors after their last use."""
    for name in read:
        waiting[name] -= 1
        if waiting[name] <= 0:
            tensors.pop(name, None)
