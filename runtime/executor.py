"""Run one placement of a network: it is cut into digital segments and analog layers, and their tiles are programmed.

The executor holds what a placement fixes (sessions, operators); what a draw fixes (programmed tiles) is given to
each run (`lhc.runtime.placed_network`), so that many draws share one executor. torch and aihwkit are loaded for the
first analog layer only: they have wheels for Linux x86-64 alone, and all-digital networks run everywhere.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from math import prod
from typing import TYPE_CHECKING

import onnx

from lhc.canonical import placed_form, written_branches
from lhc.errors import MissingDependencyError, ModelError
from lhc.graph import LayerGraph, obstacle
from lhc.hardware import Hardware
from lhc.onnx_io import Constants
from lhc.onnx_model import OnnxModel
from lhc.options.declaration.value_parsing import AskedEngine
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime.digital_precision.model_in_precision import PlacedArithmetic
from lhc.runtime.lru_cache import LruCache
from lhc.runtime.onnxruntime.segment_errors import cut_failure
from lhc.runtime.onnxruntime.sessions import create_session
from lhc.runtime.onnxruntime.tensor_types import tensor_types
from lhc.runtime.operators.epilogue import Epilogue, epilogues
from lhc.runtime.placed_network import PlacedNetwork
from lhc.runtime.programmed_layers import OnDemand, ProgrammedLayers
from lhc.runtime.segments import NetworkStage, Segment, SegmentModels, cut_graph
from lhc.samples.sample_axis import SampleAxis

if TYPE_CHECKING:
    from lhc.runtime.engines.protocol import ChipsMatrix
    from lhc.runtime.onnxruntime.library import onnxruntime
    from lhc.runtime.operators.analog_layers import AnalogLayer
    from lhc.runtime.operators.sample_axes import SamplePlace

Ranges = tuple[float, ...]

_READS_AT_LEAST = 16
"""Reads of a matrix, or of all layers, for which there is to be room: larger ones would take each other's place."""
LARGE_MATRIX = 2**16
"""Weights of a matrix that is programmed whenever it is asked for, where memory asks for that."""


class HybridExecutor(PlacedNetwork):
    """A network with a fixed set of analog layers.

    Attributes:
        arithmetic: of its digital segments; None: as in the file.
    """

    def __init__(
        self,
        model: OnnxModel,
        graph: LayerGraph,
        analog: Iterable[str],
        ranges: Mapping[str, Ranges] | None = None,
        copies: Mapping[str, int] | None = None,
        engine: AskedEngine = "auto",
        reads: LruCache[ProgrammedMatrix] | None = None,
        sample_axes: Mapping[str, SampleAxis] | None = None,
        digital: DigitalArithmetic | None = None,
    ) -> None:
        """Cut the network and prepare its segments and analog operators.

        Args:
            ranges: layer -> static input range of each row split, for hardware that has them.
            copies: layer -> copies of its weights on tiles; one by default.
            engine: how products on tiles are computed, see `lhc.options.shared.Emulating`.
            reads: of a calibration that others have made, or will ask for; none are kept by default.
            sample_axes: of inputs of which the user says where they have samples.
            digital: arithmetic of digital products; None: as in the file.

        Raises:
            ModelError: a layer is missing or cannot be analog on any hardware.
        """
        self.analog = frozenset(analog)
        unknown = sorted(name for name in self.analog if name not in graph)
        if unknown:
            raise ModelError(f"{model.label} has no layer {', '.join(map(repr, unknown[:3]))}, which is placed analog")
        self._ranges = ranges or {}
        self._copies = copies or {}
        self.engine = engine
        self._kept_reads: LruCache[ProgrammedMatrix] = LruCache(0) if reads is None else reads
        self._machines: tuple[Hardware | None, dict[str, Hashable]] = (None, {})
        constants = Constants(model.proto.graph)
        branches = written_branches(model, self.analog)
        nodes, placed = placed_form(model, graph, self.analog)
        behind = epilogues(placed, nodes, self.analog, constants) if self.analog else {}
        makes = _AnalogLayers(model, graph, constants, sample_axes)
        self._layers = {
            name: makes(nodes[name], name, behind.get(name)) for name in graph.order() if name in self.analog
        }
        self._sets = {layer.tile_set: layer for layer in reversed(self._layers.values())}
        taken = {node for epilogue in behind.values() for node in epilogue.nodes}
        self.arithmetic: PlacedArithmetic | None = None
        if digital is not None:
            ordered = (nodes[layer.name] for layer in placed.layers)
            self.arithmetic = PlacedArithmetic(digital, ordered, constants, placed.outputs, self.analog)
        cuts = cut_graph(placed, self.analog, constants, taken)
        if not self.analog:
            # The model as it is, whose inputs onnxruntime asks for even where nothing reads them.
            cuts = [(replace(segment, inputs=tuple(graph.inputs)) if segment else None, ()) for segment, _ in cuts]
        # The model's own inputs have their types.
        inner = {t for segment, _ in cuts if segment for t in segment.inputs} - set(graph.inputs)
        types = tensor_types(model, inner) if self.analog else {}
        models = SegmentModels(model, nodes, types)
        stages = []
        for segment, names in cuts:
            # Not a method: who holds himself is freed late, and sessions are large.
            session = (
                None if segment is None else partial(_session, model, models, segment, not self.analog, self.arithmetic)
            )
            stages.append(NetworkStage(segment, session, tuple(self._layers[name] for name in names)))
        super().__init__(model, graph, stages, constants, branches)
        size = 4 * sum(prod(layer.matrix_shape) * layer.groups for layer in self._sets.values())
        self._keeps_all_reads = _READS_AT_LEAST * size <= self._kept_reads.limit

    @property
    def layers(self) -> "tuple[AnalogLayer, ...]":
        """The analog layers, in topological order."""
        return tuple(self._layers.values())

    def states(self, hardware: Hardware, seed: int, draw: int, t_s: float) -> dict[str, ProgrammedMatrix]:
        """Programmed matrices of one draw after ``t_s`` seconds, by tile set."""
        return self.reads(hardware, seed, draw, t_s, (0,))[0]

    def reads(
        self,
        hardware: Hardware,
        seed: int,
        draw: int,
        t_s: float,
        numbers: Sequence[int],
        wanted: Collection[str] | None = None,
        soon: Sequence[int] = (),
    ) -> list[dict[str, ProgrammedMatrix]]:
        """Programmed matrices at each of some reads, with read noise of its own; number 0 is that of inference.

        Args:
            wanted: some tile sets; all by default.
            soon: reads that will be asked for, too. Where reads are kept they are made with these, so that a chip is
                programmed once for all of them.
        """
        result: list[dict[str, ProgrammedMatrix]] = [{} for _ in numbers]
        for tile_set in self._sets if wanted is None else wanted:
            made = self._reads_of(self._sets[tile_set], hardware, seed, draw, t_s, numbers, soon)
            for found, state in zip(result, made, strict=True):
                found[tile_set] = state
        return result

    def _reads_of(
        self,
        layer: "AnalogLayer",
        hardware: Hardware,
        seed: int,
        draw: int,
        t_s: float,
        numbers: Sequence[int],
        soon: Sequence[int],
    ) -> list[ProgrammedMatrix]:
        """Reads of one layer's tiles; those of a calibration are the same for all placements of the layer."""
        chip = (self._mapping(layer, hardware), layer.groups, seed, draw, t_s)
        known = {number: self._kept_reads.find((chip, number)) for number in numbers}
        if any(found is None for found in known.values()) and self._kept_reads.limit > 0:
            known |= {number: self._kept_reads.find((chip, number)) for number in soon if number not in known}
        missing = [number for number, found in known.items() if found is None]
        if missing:
            ranges, copies = self._ranges.get(layer.name), self._copies.get(layer.name, 1)
            tiles = layer.map_onto(hardware.for_layer(layer.name), ranges, copies)
            for number, made in zip(missing, tiles.reads(seed, draw, t_s, missing), strict=True):
                known[number] = made
                fits = _READS_AT_LEAST * made.nbytes <= self._kept_reads.limit
                if fits and (number in soon or self._keeps_all_reads):
                    self._kept_reads.keep((chip, number), made)
        return [found for number in numbers if (found := known[number]) is not None]

    def chips_kept(self, tile_sets: Collection[str], hardware: Hardware, reads: int) -> int:
        """Chips of which so many reads of all of these tile sets are kept beside each other."""
        return self._kept_reads.limit // (reads * sum(self._bytes_of(self._sets[name], hardware) for name in tile_sets))

    def _mapping(self, layer: "AnalogLayer", hardware: Hardware) -> Hashable:
        """Key of the mapping of a layer: everything but the weights that tiles depend on before programming."""
        described = self._described(layer.name, hardware)
        return layer.tile_set, described, self._ranges.get(layer.name), self._copies.get(layer.name, 1)

    def _described(self, layer: str, hardware: Hardware) -> Hashable:
        """A layer's machine as text, and the code that users bring; kept for the hardware that was asked for last."""
        known, machines = self._machines
        if known is not hardware:
            machines = {}
            self._machines = hardware, machines
        if layer not in machines:
            machine = hardware.for_layer(layer)
            machines[layer] = machine.model_dump_json(), tuple(machine.user_code.items())
        return machines[layer]

    def tile_sets(self) -> "Mapping[str, AnalogLayer]":
        """The first layer of every tile set."""
        return self._sets

    def on_chips(
        self,
        states: Sequence[Mapping[str, ProgrammedMatrix]],
        hardware: Hardware,
        seed: int,
        draws: Sequence[int],
        kept: "Callable[[Hashable, Callable[[], ChipsMatrix]], ChipsMatrix] | None" = None,
        room: int | None = None,
    ) -> ProgrammedLayers:
        """The engine on some chips.

        Args:
            states: what the tiles of each chip hold.
            draws: number of each chip's programming.
            kept: a matrix that was made before, from its mapping and how it is made.
            room: bytes of matrices that are held; others are programmed whenever they are asked for, unless that is
                slow. None: all are held.
        """
        if not self._layers:
            return ProgrammedLayers(tuple({} for _ in states), {})
        from lhc.runtime.engines.registry import matrix_on_chips

        def made(some: Sequence[int], tile_set: str) -> "ChipsMatrix":
            layer = self._sets[tile_set]
            programmed, numbers = [states[n][tile_set] for n in some], [draws[n] for n in some]
            machine, convolves = hardware.for_layer(layer.name), layer.form.window is not None
            return matrix_on_chips(self.engine, programmed, numbers, seed, machine, convolves)

        remade = frozenset() if room is None else self._remade(hardware, room // len(states))
        matrices = {}
        for tile_set, layer in self._sets.items():
            if tile_set not in remade:
                make = partial(made, range(len(states)), tile_set)
                matrices[tile_set] = make() if kept is None else kept(self._mapping(layer, hardware), make)
        later = {step.tile_set for step in self._steps if not isinstance(step, NetworkStage)}
        first = {layer.tile_set for layer in self._first}
        chips: list[Mapping[str, ChipsMatrix]] = []
        for n in range(len(states)):
            own = {name: matrices[name].alone(n) for name in later - remade}
            chips.append(OnDemand(own, later & remade, partial(made, [n])) if later & remade else own)
        together: Mapping[str, ChipsMatrix] = {name: matrices[name] for name in first - remade}
        if first & remade:
            together = OnDemand(together, first & remade, partial(made, range(len(states))))
        return ProgrammedLayers(tuple(chips), together)

    def tile_bytes(self, tile_set: str, hardware: Hardware) -> int | None:
        """Bytes of a programmed tile set; None where it is too small to be made more than once."""
        layer = self._sets[tile_set]
        rows, cols = layer.matrix_shape
        return self._bytes_of(layer, hardware) if rows * cols * layer.groups >= LARGE_MATRIX else None

    def _bytes_of(self, layer: "AnalogLayer", hardware: Hardware) -> int:
        """Bytes of a layer's programmed tiles."""
        machine, (rows, cols) = hardware.for_layer(layer.name), layer.matrix_shape
        return 4 * machine.held_rows(rows, self._copies.get(layer.name, 1)) * cols * layer.groups

    def _remade(self, hardware: Hardware, room: int) -> frozenset[str]:
        """Tile sets for which there is no room in so many bytes a chip beside the first ones."""
        sizes = {tile_set: self.tile_bytes(tile_set, hardware) for tile_set in self._sets}
        found = []
        for tile_set, size in sizes.items():
            if size is not None and size > room:
                found.append(tile_set)
            room -= 0 if size is None or size > room else size
        return frozenset(found)


class _AnalogLayers:
    """Factory of a placement's analog layers; facts that all of them need are looked up once."""

    def __init__(
        self,
        model: OnnxModel,
        graph: LayerGraph,
        constants: Constants,
        sample_axes: Mapping[str, SampleAxis] | None,
    ) -> None:
        self._model, self._graph, self._constants, self._sample_axes = model, graph, constants, sample_axes
        ties = graph.tied(layer.name for layer in graph.candidates if layer.weight is not None)
        self._uses = {name: use for tie in ties for use, name in enumerate(tie)}

    @cached_property
    def _places(self) -> "Mapping[str, SamplePlace]":
        from lhc.runtime.operators.sample_axes import sample_places

        return sample_places(self._model, self._sample_axes)

    def __call__(self, node: onnx.NodeProto, name: str, epilogue: Epilogue | None) -> "AnalogLayer":
        layer, label = self._graph[name], self._model.label
        problem = obstacle(layer) if layer.is_candidate else None
        if not layer.is_candidate or problem is not None or layer.weight is None:
            why = problem.detail if problem else f"{layer.op_type} is not a product"
            raise ModelError(f"{label}: layer {name!r} cannot be analog: {why}")
        _require_emulation(label)
        from lhc.runtime.operators.analog_layers import analog_layer

        place = self._places.get(layer.inputs[1 - layer.weight.operand])
        return analog_layer(node, layer, self._constants.value(layer.weight.name), self._uses[name], epilogue, place)


def _session(
    model: OnnxModel, models: SegmentModels, segment: Segment, whole: bool, precision: PlacedArithmetic | None
) -> "onnxruntime.InferenceSession":
    # All digital, in the file's own arithmetic, is the model as it is: plain onnxruntime, bit for bit.
    if whole and precision is None:
        return create_session(model.as_file(), model.label)
    proto = model.as_file() if whole else models.of(segment)
    try:
        if precision is not None:
            return create_session(precision.of(proto), model.label, exact_integers=True)
        return create_session(proto, model.label)
    except ModelError as failed:
        raise cut_failure(model, segment, failed) from failed


def _require_emulation(label: str) -> None:
    try:
        import aihwkit  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"{label}: emulating analog layers needs aihwkit and torch, which have wheels for Linux x86-64 only:"
            f" {error}; 'lhc analyze' and 'lhc inspect' work without them"
        ) from error
