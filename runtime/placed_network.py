"""Calls on their way through a placed network: digital segments and analog layers in turn."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from lhc.errors import DataError
from lhc.graph import LayerGraph
from lhc.onnx_io import Constants
from lhc.onnx_model import OnnxModel, Rewritten
from lhc.programmed_matrix import Correction
from lhc.runtime.engines.protocol import Position
from lhc.runtime.onnxruntime.batched_calls import Call, Correcting
from lhc.runtime.onnxruntime.segment_errors import run_failure
from lhc.runtime.onnxruntime.sessions import Array, run_session
from lhc.runtime.operators.epilogue import Following
from lhc.runtime.programmed_layers import ProgrammedLayers
from lhc.runtime.segments import NetworkStage, independent, read_by, release, steps, waiting_elements

if TYPE_CHECKING:
    from lhc.runtime.engines.protocol import Products
    from lhc.runtime.operators.analog_layers import AnalogLayer

_SMALL = 2**14
"""Bytes of a constant that is not read from the model again at every call: biases."""


class PlacedNetwork:
    """A network cut at its analog layers, ready to run; tiles are given to each run."""

    def __init__(
        self,
        model: OnnxModel,
        graph: LayerGraph,
        stages: Sequence[NetworkStage],
        constants: Constants,
        branches: Sequence[Rewritten],
    ) -> None:
        """``branches``: that calls must take."""
        self._model, self._graph, self._stages = model, graph, stages
        self._constants, self._branches = constants, branches
        self._small: dict[str, Array] = {}
        self._first = independent(stages[0].analog)
        dependent = tuple(layer for layer in stages[0].analog if layer not in self._first)
        self._steps = steps([NetworkStage(None, None, dependent), *stages[1:]])
        # From here on the network goes on call by call: what it answers may be large.
        self._last = max((n for n, step in enumerate(self._steps) if not isinstance(step, NetworkStage)), default=0)

    def open(self) -> None:
        """Make the sessions of all digital segments.

        Raises:
            ModelError: onnxruntime refuses one.
        """
        for stage in self._stages:
            _ = stage.session

    def waiting_elements(self) -> int:
        """Most elements of a sample that `finish_calls` holds between two layers."""
        segment = self._stages[0].segment
        before = [*(segment.outputs if segment else ()), *(layer.written for layer in self._first)]
        return waiting_elements(before, self._steps, self._last, self._graph)

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
        for stage in (NetworkStage(None, None, self._stages[0].analog), *self._stages[1:last]):
            every = [self._segment(stage, one, feeds) for one, (feeds, _) in zip(every, calls, strict=True)]
            for tensors, left in zip(every, waiting, strict=True):
                release(tensors, left, stage.segment.inputs if stage.segment else ())
            for layer in stage.analog:
                products = [read.together if layer in self._first else read.chips[0] for read in reads]
                correcting = corrects(layer)
                for number, (tensors, (feeds, position)) in enumerate(zip(every, calls, strict=True)):
                    (output,) = self.run_layer(layer, tensors, products[number % len(reads)], position, bias=False)
                    correcting.add(feeds, self._tensor(layer.activation, tensors), output)
                    if readers[layer.written]:  # answers of the network, which may be large, are not kept
                        tensors[layer.written] = output
                correction = correcting.found()
                if correction is not None:
                    found[layer.name] = correction
                for tensors, left in zip(every, waiting, strict=True):
                    if readers[layer.written]:
                        added, following = self._extra(layer, tensors), self._following(layer, tensors)
                        completed = layer.completed(tensors[layer.written], added, correction)
                        completed = completed.astype(tensors[layer.written].dtype, copy=False)
                        tensors[layer.written] = completed if following is None else following.of(completed)
                    if layer not in self._first:
                        release(tensors, left, read_by(layer))
        return found

    def prefix(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Everything that no analog layer comes before: the same for all draws."""
        self._check_branches(feeds)
        return self._segment(self._stages[0], dict(feeds), feeds)

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
        return (found for _, _, found in self.finish_calls([(prefix, position)], programmed, outputs))

    def finish_calls(
        self, calls: Sequence[Call], programmed: ProgrammedLayers, outputs: Sequence[str] | None = None
    ) -> Iterator[tuple[int, int, list[Array]]]:
        """Outputs of several calls, which go from layer to layer together: ``(chip, call, outputs)``.

        Args:
            calls: what `prefix` returned, and where it stands in the stream.
        """
        wanted = list(self._graph.outputs if outputs is None else outputs)
        if not any(stage.analog for stage in self._stages):
            for index, (number, (prefix, _)) in product(range(len(programmed.chips)), enumerate(calls)):
                yield index, number, [self._tensor(name, prefix) for name in wanted]
            return
        first: list[dict[str, list[Array]]] = [{} for _ in calls]
        for layer in self._first:
            products, corrections = _products(layer, programmed.together), programmed.corrections_of(layer.name)
            for found, (prefix, position) in zip(first, calls, strict=True):
                found[layer.written] = self._run_step(layer, prefix, products, position, corrections)
            del products  # not beside those of the next layer
        reads, rest = Counter(self._reads()) + Counter(wanted), self._steps[self._last :]
        for index, tiles in enumerate(programmed.chips):
            walks = [
                _CallOnChip(
                    dict(prefix) | {name: chips[index] for name, chips in found.items()}, reads.copy(), position, prefix
                )
                for (prefix, position), found in zip(calls, first, strict=True)
            ]
            for step in self._steps[: self._last]:
                products, corrections = _products(step, tiles), _corrections(step, programmed, index)
                for walk in walks:
                    self._take(step, walk, products, corrections)
                del products
            products, corrections = {}, None
            if rest:
                products, corrections = _products(rest[0], tiles), _corrections(rest[0], programmed, index)
            for number, walk in enumerate(walks):
                for step in rest:
                    self._take(step, walk, products, corrections)
                yield index, number, [self._tensor(name, walk.tensors) for name in wanted]
                walk.tensors.clear()
            del products

    def _take(
        self,
        step: "NetworkStage | AnalogLayer",
        walk: "_CallOnChip",
        products: "Mapping[str, Products]",
        corrections: Sequence[Correction | None] | None,
    ) -> None:
        """One step of a call on one chip."""
        if isinstance(step, NetworkStage):
            walk.tensors = self._segment(step, walk.tensors, walk.prefix)
        else:
            (walk.tensors[step.written],) = self._run_step(step, walk.tensors, products, walk.position, corrections)
        release(walk.tensors, walk.waiting, read_by(step))

    def _reads(self) -> Iterable[str]:
        """Every read of a tensor after the first analog layers."""
        return (name for step in self._steps for name in read_by(step))

    def _segment(self, stage: NetworkStage, tensors: dict[str, Array], feeds: Mapping[str, Array]) -> dict[str, Array]:
        if stage.session is None or stage.segment is None:
            return tensors
        given = {name: tensors[name] for name in stage.segment.inputs}
        try:
            results = run_session(stage.session, stage.segment.outputs, given, self._model.label)
        except DataError as failed:
            raise run_failure(self._model, stage.segment, stage.session, feeds, failed) from failed
        written = dict(zip(stage.segment.outputs, results, strict=True))
        self._check_branches(written)
        return tensors | written

    def _check_branches(self, tensors: Mapping[str, Array]) -> None:
        """Refuse a call that takes another branch than the one that is placed."""
        for placed in self._branches:
            condition = tensors.get(placed.node.input[0])
            if condition is not None and bool(condition.reshape(-1)[0]) != (placed.branch == "then_branch"):
                raise DataError(
                    f"{self._model.label}: these samples do not take the {placed.branch} of If {placed.node.name!r},"
                    " for which its layers are placed. Give samples that all do, or leave the branches digital:"
                    " --exclude their layers"
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
        activation, extra = self._tensor(layer.activation, tensors), self._extra(layer, tensors) if bias else None
        return layer.run(products[layer.tile_set], activation, extra, position, corrections)

    def _run_step(
        self,
        layer: "AnalogLayer",
        tensors: Mapping[str, Array],
        products: "Mapping[str, Products]",
        position: Position,
        corrections: Sequence[Correction | None] | None,
    ) -> list[Array]:
        """The same with its epilogue: what it writes in this network."""
        activation, extra = self._tensor(layer.activation, tensors), self._extra(layer, tensors)
        following = self._following(layer, tensors)
        return layer.run(products[layer.tile_set], activation, extra, position, corrections, following)

    def _extra(self, layer: "AnalogLayer", tensors: Mapping[str, Array]) -> Array | None:
        """Tensors that a layer adds to its products."""
        return next((self._tensor(name, tensors) for name in layer.digital_inputs), None)

    @staticmethod
    def _following(layer: "AnalogLayer", tensors: Mapping[str, Array]) -> Following | None:
        if layer.epilogue is None:
            return None
        addend = layer.epilogue.addend
        return Following(layer.epilogue, None if addend is None else tensors[addend])

    def _tensor(self, name: str, tensors: Mapping[str, Array]) -> Array:
        if name in tensors:
            return tensors[name]
        if name not in self._small:
            value = self._constants.value(name)
            if value.nbytes > _SMALL:
                return value
            self._small[name] = value
        return self._small[name]


@dataclass(eq=False)
class _CallOnChip:
    """A call on its way through the network, on one chip.

    Attributes:
        waiting: how often each tensor will still be read.
        prefix: what it began with: inputs of the network among it.
    """

    tensors: dict[str, Array]
    waiting: Counter[str]
    position: Position
    prefix: Mapping[str, Array]


def _products(step: "NetworkStage | AnalogLayer", tiles: "Mapping[str, Products]") -> "dict[str, Products]":
    """Programmed matrix of a step for all calls; it may be programmed now."""
    return {} if isinstance(step, NetworkStage) else {step.tile_set: tiles[step.tile_set]}


def _corrections(
    step: "NetworkStage | AnalogLayer", programmed: ProgrammedLayers, chip: int
) -> list[Correction | None] | None:
    return None if isinstance(step, NetworkStage) else programmed.corrections_of(step.name, chip)
