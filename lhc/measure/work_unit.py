"""The unit of work: score a placement on some chips and one block of samples.

A unit is pure. Its result depends on the context, the job and the block alone, so the same units run in this process,
in others and on other machines, in any order, and a result that was kept can stand for any of them.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from lhc.errors import DataError
from lhc.measure.evaluation_context import Block, WorkContext
from lhc.programmed_matrix import Correction
from lhc.runtime import HybridExecutor, LruCache, Position, ProgrammedLayers
from lhc.runtime.lazy_programming import lazily_programmed_chip
from lhc.runtime.lru_cache import single
from lhc.runtime.onnxruntime.batched_calls import Call
from lhc.runtime.onnxruntime.sessions import check_digital, give_back_pool
from lhc.samples.class_probabilities import classes_last
from lhc.samples.metrics import Array
from lhc.samples.sample_axis import samples_first
from lhc.samples.targets import are_answers, counted_positions, counts_samples

if TYPE_CHECKING:
    from lhc.runtime.calibration.chip_outputs import Moments
    from lhc.runtime.engines.protocol import ChipsMatrix

__all__ = ["BlockWork", "Job", "Scorer", "job_groups", "reference_job"]

T = TypeVar("T")

_KEPT_CORRECTIONS = 256
_WAITING_SHARE = 8
"""The part of the memory that is for tensors of calls that wait between layers, where tiles do not fit."""


class BlockWork(Protocol):
    """Protocol of work on a block of samples; equal work gives equal results."""

    @property
    def shared(self) -> tuple[Hashable, Hashable | None]:
        """Keys of what a worker makes and keeps: a placement, and its own chips."""
        ...

    def done(self, scorer: "Scorer", block: Block) -> list[Array]:
        """Do it."""
        ...


@dataclass(frozen=True)
class Job:
    """Placement and chips that are scored on a block.

    Attributes:
        placement: the analog layers; none: the digital network.
        draws: numbers of the programmings.
        t_s: time of inference, in seconds.
        outputs: give the scored output itself instead of its scores.
        as_given: digital products compute as in the file, whatever the machine's arithmetic; of the digital network.
        raised: exactly these products are in the high precision; None: those of the context's arithmetic. Of the
            network without analog layers.
    """

    placement: frozenset[str]
    draws: tuple[int, ...]
    t_s: float
    outputs: bool = False
    as_given: bool = False
    raised: frozenset[str] | None = None

    @property
    def shared(self) -> tuple[Hashable, Hashable | None]:
        """See `BlockWork`."""
        return self.network, self.draws if self.placement else None

    @property
    def network(self) -> Hashable:
        """Key of the network that computes it."""
        return self.placement, self.as_given, self.raised

    def done(self, scorer: "Scorer", block: Block) -> list[Array]:
        """See `BlockWork`."""
        return scorer.scores(self, block)


def reference_job(context: WorkContext, outputs: bool = False) -> Job:
    """Job of the digital network that outputs are compared with; ``outputs``: see `Job`."""
    return Job(frozenset(), (0,), 0.0, outputs, as_given=context.base_differs)


class Scorer:
    """Does units of one context, keeping what the next ones may need."""

    def __init__(self, context: WorkContext) -> None:
        """Prepare nothing yet; sessions and tiles come with the first unit that needs them."""
        self.context = context
        self._bank: LruCache[ChipsMatrix] = LruCache(context.tile_bytes)
        self._executors: LruCache[HybridExecutor] = LruCache(context.kept_placements, single)
        self._networks: LruCache[HybridExecutor] = LruCache(2, single)
        self._chips: LruCache[ProgrammedLayers] = LruCache(1, single)
        self._corrections: LruCache[Mapping[str, Correction]] = LruCache(_KEPT_CORRECTIONS, single)
        self._digital: dict[str, Moments] = {}
        self._prefixes, self._calibrating = _CallTensors(context.memory // 8), _CallTensors(context.memory // 8)
        self._references: LruCache[Array] = LruCache(context.memory // 4)
        self._other: LruCache[object] = LruCache(1, single)

    def held(self, key: Hashable, make: Callable[[], T]) -> T:
        """Value shared by units of another kind until others are scored; ``make`` makes it anew."""
        if key not in self._other:
            self._networks.forget(2)  # sessions are large beside it
            self._chips.forget(1)
        value: T = self._other.get(key, make)  # type: ignore[assignment]
        return value

    def let_go(self) -> None:
        """Forget what `held` gave."""
        self._other.forget(1)

    def scores(self, job: Job, block: Block) -> list[Array]:
        """One array a chip: scores ``(samples,)`` in float64, or the scored output where the job asks for it.

        Raises:
            DataError: the outputs cannot be scored.
        """
        self.let_go()
        index = self.context.graph.outputs.index(self.context.output)
        if job.placement and not job.outputs and not self.context.by_targets and self.context.metric.summary is None:
            self._answer_digitally(job, block)
        results: list[list[Array]] = [[] for _ in job.draws]
        for chip, where, outputs in self.run(job, block):
            output = outputs[index]
            if not counts_samples(output, where.stop - where.start):
                shape = getattr(output, "shape", None)  # a sequence or a map has none
                what = "is no tensor" if shape is None else f"has shape {shape}"
                raise DataError(
                    f"output {self.context.output!r} {what}, and {where.stop - where.start} samples went in: none of"
                    " its axes is known to count them; say which (--sample-axis), or score another output (--output)"
                )
            if not job.placement:
                check_digital(output, self.context.output)
            output = classes_last(output, self.context.class_axis)
            if self.context.class_axis is not None and output.dtype.kind in "iu":
                output = output.astype(np.float32)  # scores, whatever their type, are no answers
            if not job.outputs:
                output = _undefined_where_nan(self._scored(output, block, where), output)
            results[chip].append(output)
        return [_joined(parts, self.context.output) for parts in results]

    def run(self, job: Job, block: Block) -> Iterator[tuple[int, slice, list[Array]]]:
        """All outputs, call by call: ``(index of the chip, samples in the block, outputs in the model's order)``.

        Outputs have samples first, where the layout says where they are.
        """
        digital, make = not job.placement, partial(self.context.executor, job.placement, job.as_given, job.raised)
        if not digital and job not in self._chips:
            # Sessions and chips are large, and the weights of a session are held twice while it is made. What the
            # digital network answered is kept where that fits.
            self._networks.forget(2)
            self._chips.forget(1)
        # The digital network, which others are scored against call by call, takes nobody's place.
        known = self._networks if digital else self._executors
        executor = known.get(job.network, make)
        if not digital and self.context.calibrates:
            self._observe_digitally(executor)  # a session of the whole network, which goes before others are made
        executor.open()
        chips = (
            self._programmed(executor, job)
            if digital
            else self._chips.get(job, lambda: self._programmed(executor, job))
        )
        places = list(block.calls(self.context.call_samples, self.context.batch is not None))
        together = 1 if chips.holds_all else self._calls_together(executor)
        for start in range(0, len(places), together):
            calls: list[Call] = []
            for where, feeds in places[start : start + together]:
                key = (job.placement, block.digest, block.first)
                run = partial(executor.prefix, feeds)
                prefix = run() if digital else self._prefixes.get(key, where.start, run)
                calls.append((prefix, Position(block.first + where.start, self.context.taken(where))))
            for index, number, outputs in executor.finish_calls(calls, chips):
                where, samples = places[start + number][0], calls[number][1].samples
                count = where.stop - where.start
                laid_out = map(self._samples_first, self.context.graph.outputs, outputs)
                # What does not count the samples of the call is left whole, so that it is told from what does.
                yield index, where, [o[:count] if counts_samples(o, samples) else o for o in laid_out]

    def _samples_first(self, name: str, output: Array) -> Array:
        if name in self.context.class_maps and isinstance(output, list):
            output = self.context.class_maps[name].rows(output)
        axis = self.context.layout.of_output(name)
        return output if axis == 0 or not isinstance(output, np.ndarray) else samples_first(output, axis)

    def _calls_together(self, executor: HybridExecutor) -> int:
        """Calls whose tensors between layers fit in memory: what is programmed for a call serves them all."""
        size = 4 * executor.waiting_elements() * self.context.call_samples
        return max(1, self.context.memory // _WAITING_SHARE // max(size, 1))

    def _programmed(self, executor: HybridExecutor, job: Job) -> ProgrammedLayers:
        hardware, seed = self.context.hardware, self.context.seed
        if self.context.is_large:
            size = min(self.context.chip_bytes(job.placement) * len(job.draws), self.context.room)
            self._bank.make_room(size, lambda key: isinstance(key, tuple) and key[1:] == (job.draws, job.t_s))
            give_back_pool()
        corrections: tuple[Mapping[str, Correction], ...] = ()
        if self.context.calibrates and job.placement:  # before the chips are programmed, which are large
            t_s = hardware.compensation.calibrated_at(job.t_s)
            corrections = tuple(
                self._corrections.get((job.placement, draw, t_s), partial(self.calibrated, executor, draw, t_s))
                for draw in job.draws
            )

        if self.context.is_large and corrections:
            give_back_pool()

        def kept(mapping: Hashable, make: "Callable[[], ChipsMatrix]") -> "ChipsMatrix":
            return self._bank.get((mapping, job.draws, job.t_s), make)

        states = [lazily_programmed_chip(executor, hardware, seed, draw, job.t_s) for draw in job.draws]
        programmed = executor.on_chips(states, hardware, seed, job.draws, kept, self.context.room)
        return replace(programmed, corrections=corrections)

    def calibrated(self, executor: HybridExecutor, draw: int, t_s: float) -> Mapping[str, Correction]:
        """Corrections of one chip that is calibrated at a time, by layer."""
        context = self.context
        calls = context.calibration_calls
        from lhc.runtime.calibration.chip_outputs import calibrated

        self._observe_digitally(executor)
        reads = (0,) if context.frozen else None

        def prefixes(call: Call) -> Mapping[str, Array]:
            feeds, position = call
            return self._calibrating.get(executor.analog, position.first, partial(executor.prefix, feeds))

        return calibrated(
            executor, self._digital, context.hardware, context.seed, draw, t_s, calls, reads, prefixes, context.room
        )

    def _observe_digitally(self, executor: HybridExecutor) -> None:
        """Know the moments that outputs of its layers have without errors."""
        from lhc.runtime.calibration.chip_outputs import digital_moments

        context = self.context
        new = [layer for layer in executor.layers if layer.name not in self._digital]
        if new:
            self._digital |= digital_moments(context.model, context.graph, new, context.calibration_calls)

    def _scored(self, output: Array, block: Block, where: slice) -> Array:
        """Scores of some samples of a block, or what the metric's summary keeps of them."""
        context, summary = self.context, self.context.metric.summary
        score = context.metric.score if summary is None else summary.of_samples
        targets = None if block.targets is None else block.targets[where]
        if context.by_targets:
            assert targets is not None
            return np.asarray(score(output, targets), np.float64)
        digital = self._digital_output(block, where)
        if output.shape != digital.shape:
            raise DataError(
                f"output {context.output!r} has shape {output.shape} on tiles and {digital.shape} digitally, so the two"
                " cannot be compared; score another output (--output)"
            )
        if targets is not None and are_answers(output, targets):
            output, digital = output.astype(np.int64), digital.astype(np.int64)  # of the type that tells answers
        counted = counted_positions(output, targets)
        if counted is None:
            return np.asarray(score(output, digital), np.float64)
        # One by one: of every sample other positions count, and a metric knows none that do not.
        rows = (score(o[c][None], d[c][None]) for o, d, c in zip(output, digital, counted, strict=True))
        return np.concatenate([np.asarray(row, np.float64) for row in rows])

    def _answer_digitally(self, job: Job, block: Block) -> None:
        """Have the digital network's answers, as many as are kept, before chips are programmed: it is large too."""
        if job not in self._chips:
            self._chips.forget(1)
        for where, _ in block.calls(self.context.call_samples, False):
            if not self._references.fits(self._digital_output(block, where).nbytes):
                return

    def _digital_output(self, block: Block, where: slice) -> Array:
        """The scored output of the digital network for the samples of one call, kept where there is room."""
        digital = reference_job(self.context, outputs=True)

        def made() -> Array:
            inputs = {name: array[where] if array.ndim else array for name, array in block.inputs.items()}
            first, samples = block.first + where.start, where.stop - where.start
            part = Block(first, samples, inputs, None, block.digest, block.layout)
            return self.scores(digital, part)[0]

        return self._references.get((block.digest, where.start), made)


def _undefined_where_nan(scores: Array, output: Array) -> Array:
    """Scores of samples, which are NaN where the answer holds one: the greatest class is none then."""
    if output.dtype.kind != "f" or scores.ndim == 0:
        return scores
    without = np.isnan(output.reshape(len(output), -1)).any(axis=1)
    if without.any():
        scores = scores.copy()
        scores[without] = np.nan
    return scores


class _CallTensors:
    """Tensors before all analog layers of a placement, for the calls of one block: the same for all chips."""

    def __init__(self, limit: int) -> None:
        """``limit``: bytes that may be kept."""
        self._limit = limit
        self._key: Hashable = None
        self._calls: dict[int, Mapping[str, Array]] = {}
        self._bytes = 0

    def get(self, key: Hashable, call: int, make: Callable[[], Mapping[str, Array]]) -> Mapping[str, Array]:
        """The tensors of a call; those of another block or placement are forgotten."""
        if key != self._key:
            self._key, self._calls, self._bytes = key, {}, 0
        if call in self._calls:
            return self._calls[call]
        made = make()
        size = sum(getattr(array, "nbytes", 0) for array in made.values())  # a sequence has none
        if self._bytes + size <= self._limit:
            self._calls[call] = made
            self._bytes += size
        return made


def _joined(parts: Sequence[Array], output: str) -> Array:
    """Outputs of the calls, joined."""
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = " and ".join(map(str, dict.fromkeys(part.shape for part in parts)))
        raise DataError(
            f"output {output!r} has shapes that differ from call to call, e.g. {shapes}; score another output"
            " (--output)"
        )
    return np.concatenate(parts)


def job_groups(draws: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Draws in groups of at most so many; the cut depends on the draws alone."""
    return [tuple(draws[start : start + most]) for start in range(0, len(draws), most)]
