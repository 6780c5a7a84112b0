"""Run one placement of a network: digital segments and analog layers in turn.

The executor holds what a placement fixes (sessions, operators); what a draw fixes (programmed tiles) is given to
each run, so that many draws share one executor. torch and aihwkit are loaded for the first analog layer only: they
have wheels for Linux x86-64 alone, and all-digital networks run everywhere.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime

from lhc.errors import MissingDependencyError, ModelError
from lhc.graph import LayerGraph, obstacle
from lhc.hardware import Hardware
from lhc.model import OnnxModel
from lhc.onnx_io import Constants
from lhc.runtime.cut import Segment, cut_graph, segment_model
from lhc.runtime.ort import Array, create_session, run_session, with_outputs
from lhc.runtime.stream import Position

if TYPE_CHECKING:
    from lhc.runtime.layers import AnalogLayer
    from lhc.runtime.matrix import AnalogMatrix, Engine

__all__ = ["HybridExecutor", "ProgrammedLayers", "Ranges"]

Ranges = tuple[float, ...]


@dataclass(frozen=True)
class ProgrammedLayers:
    """The tiles of all analog layers in one draw, by tile set.

    Attributes:
        matrices: tile set -> programmed tiles.
        seed: of the run.
        draw: number of the programming.
    """

    matrices: "Mapping[str, AnalogMatrix]"
    seed: int
    draw: int

    def drift_to(self, t_s: float) -> None:
        """Let all devices drift to ``t_s`` seconds after the first read."""
        if not self.matrices:
            return
        with _isolated():
            for matrix in self.matrices.values():
                matrix.drift_to(t_s, self.seed, self.draw)


@dataclass(frozen=True)
class _Stage:
    segment: Segment | None
    session: onnxruntime.InferenceSession | None
    analog: "tuple[AnalogLayer, ...]"


class HybridExecutor:
    """A network with a fixed set of analog layers."""

    def __init__(
        self, model: OnnxModel, graph: LayerGraph, analog: Iterable[str], ranges: Mapping[str, Ranges] | None = None
    ) -> None:
        """Cut the network and prepare its segments and analog operators.

        Args:
            model: the network.
            graph: its layers.
            analog: names of the analog layers.
            ranges: layer -> static input range of each row split, for hardware that has them.

        Raises:
            ModelError: onnxruntime refuses a segment, or a layer is missing or cannot be analog on any hardware.
        """
        self._label = model.label
        self._graph = graph
        self.analog = frozenset(analog)
        unknown = sorted(name for name in self.analog if name not in graph)
        if unknown:
            raise ModelError(f"{model.label} has no layer {', '.join(map(repr, unknown[:3]))}, which is placed analog")
        self._ranges = ranges or {}
        self._constants = Constants(model.proto.graph)
        nodes = {node.name: node for node in model.proto.graph.node}
        self._layers = {name: self._analog_layer(nodes[name], name) for name in graph.order() if name in self.analog}
        cut = cut_graph(graph, self.analog, self._constants)
        types = _element_types(model, {t for segment, _ in cut.stages if segment for t in segment.inputs})
        self._stages = []
        for segment, names in cut.stages:
            session = None
            if segment is not None:
                # All digital is the model as it is: plain onnxruntime, bit for bit.
                proto = segment_model(model, segment, nodes, types) if self.analog else model.proto
                session = create_session(proto, model.label)
            self._stages.append(_Stage(segment, session, tuple(self._layers[name] for name in names)))

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

    def program(
        self, hardware: Hardware, seed: int, draw: int, t_s: float | None, engine: "Engine" = "fast"
    ) -> ProgrammedLayers:
        """Program the tiles of all analog layers; drift them to ``t_s`` seconds unless that is None."""
        matrices: dict[str, AnalogMatrix] = {}
        if self._layers:
            with _isolated():
                for layer in self._layers.values():
                    if layer.tile_set not in matrices:
                        matrices[layer.tile_set] = layer.map_onto(
                            hardware.for_layer(layer.name), self._ranges.get(layer.name), engine
                        )
                        matrices[layer.tile_set].program(seed, draw)
        programmed = ProgrammedLayers(matrices, seed, draw)
        if t_s is not None:
            programmed.drift_to(t_s)
        return programmed

    def prefix(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Everything that no analog layer comes before: the same for all draws."""
        return self._segment(self._stages[0], dict(feeds))

    def finish(
        self,
        prefix: Mapping[str, Array],
        programmed: ProgrammedLayers,
        first_sample: int,
        samples: int,
        outputs: Sequence[str] | None = None,
    ) -> list[Array]:
        """The outputs, from what `prefix` returned.

        Args:
            prefix: tensors after the first digital segment.
            programmed: the draw.
            first_sample: index of the first sample in the draw's stream; fixes the noise.
            samples: how many samples the feeds hold.
            outputs: names; all by default.
        """
        wanted = list(self._graph.outputs if outputs is None else outputs)
        position = Position(programmed.seed, programmed.draw, first_sample, samples)
        tensors = dict(prefix)
        waiting = Counter(self._reads()) + Counter(wanted)
        for number, stage in enumerate(self._stages):
            if number > 0:
                tensors = self._segment(stage, tensors)
                _release(tensors, waiting, stage.segment.inputs if stage.segment else ())
            for layer in stage.analog:
                tensors[layer.output] = self.run_layer(layer, tensors, programmed, position)
                _release(tensors, waiting, (layer.activation, *layer.digital_inputs))
        return [self._tensor(name, tensors) for name in wanted]

    def _reads(self) -> Iterable[str]:
        """Every read of a tensor after the prefix."""
        for number, stage in enumerate(self._stages):
            if number > 0 and stage.segment is not None:
                yield from stage.segment.inputs
            for layer in stage.analog:
                yield from (layer.activation, *layer.digital_inputs)

    def _segment(self, stage: _Stage, tensors: dict[str, Array]) -> dict[str, Array]:
        if stage.session is None or stage.segment is None:
            return tensors
        feeds = {name: tensors[name] for name in stage.segment.inputs}
        results = run_session(stage.session, stage.segment.outputs, feeds, self._label)
        return tensors | dict(zip(stage.segment.outputs, results, strict=True))

    def run_layer(
        self,
        layer: "AnalogLayer",
        tensors: Mapping[str, Array],
        programmed: ProgrammedLayers,
        position: Position,
    ) -> Array:
        """Output of one analog layer from the tensors it reads."""
        extra = [self._tensor(name, tensors) for name in layer.digital_inputs]
        matrix = programmed.matrices[layer.tile_set]
        activation = self._tensor(layer.activation, tensors)
        with _isolated():
            return layer.run(matrix, activation, extra[0] if extra else None, position)

    def _tensor(self, name: str, tensors: Mapping[str, Array]) -> Array:
        return tensors[name] if name in tensors else self._constants.value(name)


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


def _element_types(model: OnnxModel, tensors: Iterable[str]) -> dict[str, int]:
    """ONNX element types, by inference, else as onnxruntime finds them."""
    inferred = onnx.shape_inference.infer_shapes(model.proto).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    known = {v.name: v.type.tensor_type.elem_type for v in values if v.type.tensor_type.elem_type}
    unknown = sorted(set(tensors) - set(known))
    if unknown:
        session = create_session(with_outputs(model.proto, unknown), model.label)
        names = {"float": "float32", "double": "float64", "string": "object"}
        for info in session.get_outputs():
            if not info.type.startswith("tensor("):
                raise ModelError(
                    f"{model.label}: {info.name!r} passes between digital segments and is a {info.type}, not a tensor;"
                    " keep the analog layers before or after it digital"
                )
            dtype = info.type.removeprefix("tensor(").removesuffix(")")
            known[info.name] = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(names.get(dtype, dtype)))
    return known
