"""The unit of work: score a placement on some chips and one block of samples.

A unit is pure. Its result depends on the setting, the job and the block alone, so the same units run in this process,
in others and on other machines, in any order, and a result that was kept can stand for any of them.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from lhc.conductances import Correction
from lhc.errors import DataError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure.counted import counted_positions, counts_samples
from lhc.measure.recently_used import CallTensors, RecentlyUsed
from lhc.model import OnnxModel
from lhc.onnx_io import static_batch
from lhc.passes.copies import Copies
from lhc.runtime import Bank, HybridExecutor, Position, ProgrammedLayers, Ranges
from lhc.runtime.network_calls import Call, calibration_calls, call_samples
from lhc.runtime.on_demand import chip_on_demand
from lhc.runtime.ort import check_digital, give_back_pool
from lhc.samples.class_axis import classes_last
from lhc.samples.metrics import Array, Metric
from lhc.samples.task import Task, count_samples, cut

if TYPE_CHECKING:
    from lhc.runtime.chip_calibration import Moments
    from lhc.runtime.fast import FastMatrix

__all__ = [
    "DEFAULT_MEMORY",
    "Block",
    "Job",
    "Scorer",
    "Setting",
    "calibration_block",
    "job_groups",
]

BLOCK_SAMPLES = 512
"""Aimed number of samples in a block."""
DEFAULT_MEMORY = 2**31
"""Bytes for programmed tiles and outputs that are kept."""
CHIPS_TOGETHER = 4
"""Most chips whose first products are computed together."""
BYTES_PER_WEIGHT = 5
"""Of a chip's tiles as products take them: float32, filled up to blocks. Measured: 4.4 on a BERT of 25 million weights
on tiles."""
_KEPT_PLACEMENTS = 4
"""Most placements whose sessions are kept, beside the digital network's; one at least."""
_KEPT_CORRECTIONS = 256
_SESSION_SHARE = 16
"""The part of the memory that is for weights of kept sessions."""
BANK_SHARE = 4
"""The part of the memory that is for programmed tiles; another one is for tensors of the digital network."""
LEAST_KEPT = 2**27
"""Bytes of tiles that are kept of any network where the memory allows it: programming small ones anew is not small
beside computing with them."""
_WAITING_SHARE = 8
"""The part of the memory that is for tensors of calls that wait between layers, where tiles do not fit."""
_LARGE = 2**24
"""Bytes of weights that may go on tiles."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What all units of a bench share.

    Attributes:
        ranges: layer -> calibrated input ranges, where the hardware has static ones.
        metric: scores the outputs.
        by_targets: outputs are scored against the targets, not against the digital network.
        output: name of the output that is scored.
        copies: of weights on tiles, of every placement.
        calibration: samples that chips are calibrated on, apart from those that are scored; None: they are not.
        frozen: they are calibrated on the read noise of inference.
        class_axis: axis of the output with the scores of classes, where the metric reads classes and it is not the
            last: outputs are scored, and given, with that axis last.
        memory: bytes for programmed tiles and outputs that are kept.
    """

    model: OnnxModel
    graph: LayerGraph
    hardware: Hardware
    ranges: Mapping[str, Ranges]
    metric: Metric
    by_targets: bool
    output: str
    seed: int
    copies: Copies = field(default_factory=Copies)
    calibration: "Block | None" = None
    frozen: bool = False
    class_axis: int | None = None
    memory: int = DEFAULT_MEMORY

    @property
    def calibrates(self) -> bool:
        """Whether the outputs of chips are calibrated."""
        return self.calibration is not None and self.hardware.is_stochastic

    @property
    def calibration_calls(self) -> list[Call]:
        """The calls of the network that calibrate a chip."""
        assert self.calibration is not None
        reads = self.hardware.compensation.reads
        return calibration_calls(self.calibration.inputs, reads, self.call_samples, self.batch is not None)

    @cached_property
    def batch(self) -> int | None:
        """The batch that the model fixes, if it does."""
        return static_batch(self.model)

    @cached_property
    def call_samples(self) -> int:
        """Samples in one call of the network: a power of two, fewer where its products are large."""
        return self.batch or call_samples(self.graph)

    @property
    def block_samples(self) -> int:
        """Samples of a block: whole calls, a number that fixed computing units divide where the batch allows it."""
        return self.call_samples * max(1, BLOCK_SAMPLES // self.call_samples)

    @cached_property
    def tile_bytes(self) -> int:
        """For programmed tiles: a share of the memory, and no more than the network's own weights take."""
        return min(self.memory // BANK_SHARE, max(LEAST_KEPT, self._network_bytes))

    @property
    def is_large(self) -> bool:
        """Whether giving memory back, some milliseconds, is worth it whenever chips are programmed."""
        return self._network_bytes >= _LARGE

    @property
    def _network_bytes(self) -> int:
        """Of the weights that may go on tiles, in float32."""
        return 4 * self._weights(frozenset(layer.name for layer in self.graph.candidates))

    def chips_together(self, placement: frozenset[str]) -> int:
        """How many chips fit in memory together."""
        return max(1, min(CHIPS_TOGETHER, self.tile_bytes // max(self.chip_bytes(placement), 1)))

    def keeps_chips(self, placement: frozenset[str], chips: int) -> bool:
        """Whether the tiles of that many chips stay in memory once they are programmed."""
        return 2 * self.chip_bytes(placement) * chips <= self.tile_bytes

    @property
    def room(self) -> int:
        """Bytes for the tiles of a chip that is at work; those that do not fit are programmed layer by layer."""
        return self.memory // BANK_SHARE

    def chip_bytes(self, placement: frozenset[str]) -> int:
        """Of the tiles of one chip, as products take them."""
        copies = self.copies.of(placement)
        found = 0
        for name in placement:
            matrix, machine = self.graph[name].matrix, self.hardware.for_layer(name)
            if matrix is not None:
                found += machine.held_rows(matrix.rows, copies.get(name, 1)) * matrix.cols * matrix.groups
        return BYTES_PER_WEIGHT * found

    @property
    def kept_placements(self) -> int:
        """Placements whose digital segments fit in memory; onnxruntime packs their weights anew for each."""
        return max(1, min(_KEPT_PLACEMENTS, self.memory // _SESSION_SHARE // max(self._network_bytes, 1)))

    def _weights(self, placement: frozenset[str]) -> int:
        return sum(matrix.parameters for name in placement if (matrix := self.graph[name].matrix) is not None)


@dataclass(frozen=True)
class Job:
    """What is scored on a block.

    Attributes:
        placement: the analog layers; none: the digital network.
        draws: numbers of the programmings.
        t_s: time of inference, in seconds.
        outputs: give the scored output itself instead of its scores.
    """

    placement: frozenset[str]
    draws: tuple[int, ...]
    t_s: float
    outputs: bool = False


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive samples of a task.

    Attributes:
        first: index of the first, which fixes the noise.
        inputs: input name -> ``(samples, ...)``.
        targets: ``(samples, ...)`` or None.
        digest: of their content.
    """

    first: int
    samples: int
    inputs: Mapping[str, Array]
    targets: Array | None
    digest: str

    def calls(self, size: int, fill: bool) -> Iterator[tuple[slice, Mapping[str, Array]]]:
        """Feeds of at most ``size`` samples with their place in the block; ``fill``: repeat the last one up to it."""
        return cut(self.inputs, self.samples, size, fill)


def calibration_block(samples: Task) -> Block:
    """Samples that chips are calibrated on, without targets."""
    inputs, _ = samples.read(0, len(samples))
    return Block(0, len(samples), inputs, None, samples.digest)


class Scorer:
    """Does units of one setting, keeping what the next ones may need."""

    def __init__(self, setting: Setting) -> None:
        """Prepare nothing yet; sessions and tiles come with the first unit that needs them."""
        self.setting = setting
        self._bank: Bank[FastMatrix] = Bank(setting.tile_bytes)
        self._executors = RecentlyUsed(setting.kept_placements)
        self._chips = RecentlyUsed(1)
        self._corrections = RecentlyUsed(_KEPT_CORRECTIONS)
        self._digital: dict[str, Moments] = {}
        self._prefixes, self._calibrating = CallTensors(setting.memory // 8), CallTensors(setting.memory // 8)
        self._references: Bank[Array] = Bank(setting.memory // 4)

    def scores(self, job: Job, block: Block) -> list[Array]:
        """One array a chip: scores ``(samples,)`` in float64, or the scored output where the job asks for it.

        Raises:
            DataError: the outputs cannot be scored.
        """
        index = self.setting.graph.outputs.index(self.setting.output)
        if job.placement and not job.outputs and not self.setting.by_targets and self.setting.metric.summary is None:
            self._answer_digitally(job, block)
        results: list[list[Array]] = [[] for _ in job.draws]
        for chip, where, outputs in self.run(job, block):
            output = outputs[index]
            if not counts_samples(output, where.stop - where.start):
                shape = getattr(output, "shape", None)  # a sequence or a map has none
                what = "is no tensor" if shape is None else f"has shape {shape}"
                raise DataError(
                    f"output {self.setting.output!r} {what}; the first axis of what is scored must count samples:"
                    " choose another output with --output"
                )
            if not job.placement:
                check_digital(output, self.setting.output)
            output = classes_last(output, self.setting.class_axis)
            if not job.outputs:
                output = self._scored(output, block, where)
            results[chip].append(output)
        return [np.concatenate(parts) for parts in results]

    def run(self, job: Job, block: Block) -> Iterator[tuple[int, slice, list[Array]]]:
        """All outputs, call by call: ``(index of the chip, samples in the block, outputs in the model's order)``."""
        digital, make = not job.placement, partial(self._executor, job.placement)
        if not digital and job not in self._chips:
            # Sessions and chips are large, and the weights of a session are held twice while it is made. What the
            # digital network answered is kept where that fits.
            self.__dict__.pop("_network", None)
            self._chips.make_room()
        # The digital network, which others are scored against call by call, takes nobody's place.
        executor = self._network if digital else self._executors.get(job.placement, make)
        if not digital and self.setting.calibrates:
            self._observe_digitally(executor)  # a session of the whole network, which goes before others are made
        executor.open()
        chips = (
            self._programmed(executor, job)
            if digital
            else self._chips.get(job, lambda: self._programmed(executor, job))
        )
        places = list(block.calls(self.setting.call_samples, self.setting.batch is not None))
        together = 1 if chips.holds_all else self._calls_together(executor)
        for start in range(0, len(places), together):
            calls: list[Call] = []
            for where, feeds in places[start : start + together]:
                key = (job.placement, block.digest, block.first)
                run = partial(executor.prefix, feeds)
                prefix = run() if digital else self._prefixes.get(key, where.start, run)
                calls.append((prefix, Position(block.first + where.start, count_samples(feeds))))
            for index, number, outputs in executor.finish_calls(calls, chips):
                where, samples = places[start + number][0], calls[number][1].samples
                count = where.stop - where.start
                # What does not count the samples of the call is left whole, so that it is told from what does.
                yield index, where, [o[:count] if counts_samples(o, samples) else o for o in outputs]

    def _calls_together(self, executor: HybridExecutor) -> int:
        """Calls whose tensors between layers fit in memory: what is programmed for a call serves them all."""
        size = 4 * executor.waiting_elements() * self.setting.call_samples
        return max(1, self.setting.memory // _WAITING_SHARE // max(size, 1))

    @cached_property
    def _network(self) -> HybridExecutor:
        """All digital."""
        return self._executor(frozenset())

    def _executor(self, placement: frozenset[str]) -> HybridExecutor:
        setting = self.setting
        return HybridExecutor(setting.model, setting.graph, placement, setting.ranges, setting.copies.of(placement))

    def _programmed(self, executor: HybridExecutor, job: Job) -> ProgrammedLayers:
        hardware, seed = self.setting.hardware, self.setting.seed
        if self.setting.is_large:
            size = min(self.setting.chip_bytes(job.placement) * len(job.draws), self.setting.room)
            self._bank.make_room(size, lambda key: isinstance(key, tuple) and key[1:] == (job.draws, job.t_s))
            give_back_pool()
        corrections: tuple[Mapping[str, Correction], ...] = ()
        if self.setting.calibrates and job.placement:  # before the chips are programmed, which are large
            t_s = hardware.compensation.calibrated_at(job.t_s)
            corrections = tuple(
                self._corrections.get((job.placement, draw, t_s), partial(self.calibrated, executor, draw, t_s))
                for draw in job.draws
            )

        if self.setting.is_large and corrections:
            give_back_pool()

        def kept(mapping: Hashable, make: "Callable[[], FastMatrix]") -> "FastMatrix":
            return self._bank.get((mapping, job.draws, job.t_s), make)

        states = [chip_on_demand(executor, hardware, seed, draw, job.t_s) for draw in job.draws]
        programmed = executor.on_chips(states, hardware, seed, job.draws, kept, self.setting.room)
        return replace(programmed, corrections=corrections)

    def calibrated(self, executor: HybridExecutor, draw: int, t_s: float) -> Mapping[str, Correction]:
        """Corrections of one chip that is calibrated at a time, by layer."""
        setting = self.setting
        calls = setting.calibration_calls
        from lhc.runtime.chip_calibration import calibrated

        self._observe_digitally(executor)
        reads = (0,) if setting.frozen else None

        def prefixes(call: Call) -> Mapping[str, Array]:
            feeds, position = call
            return self._calibrating.get(executor.analog, position.first, partial(executor.prefix, feeds))

        return calibrated(
            executor, self._digital, setting.hardware, setting.seed, draw, t_s, calls, reads, prefixes, setting.room
        )

    def _observe_digitally(self, executor: HybridExecutor) -> None:
        """Know the moments that outputs of its layers have without errors."""
        from lhc.runtime.chip_calibration import digital_moments

        setting = self.setting
        new = [layer for layer in executor.layers if layer.name not in self._digital]
        if new:
            self._digital |= digital_moments(setting.model, setting.graph, new, setting.calibration_calls)

    def _scored(self, output: Array, block: Block, where: slice) -> Array:
        """Scores of some samples of a block, or what the metric's summary keeps of them."""
        setting, summary = self.setting, self.setting.metric.summary
        score = setting.metric.score if summary is None else summary.of_samples
        targets = None if block.targets is None else block.targets[where]
        if setting.by_targets:
            assert targets is not None
            return np.asarray(score(output, targets), np.float64)
        digital = self._digital_output(block, where)
        counted = counted_positions(output, targets)
        if counted is None:
            return np.asarray(score(output, digital), np.float64)
        # One by one: of every sample other positions count, and a metric knows none that do not.
        rows = (score(o[c][None], d[c][None]) for o, d, c in zip(output, digital, counted, strict=True))
        return np.concatenate([np.asarray(row, np.float64) for row in rows])

    def _answer_digitally(self, job: Job, block: Block) -> None:
        """Have the digital network's answers, as many as are kept, before chips are programmed: it is large too."""
        if job not in self._chips:
            self._chips.make_room()
        for where, _ in block.calls(self.setting.call_samples, False):
            if not self._references.keeps(self._digital_output(block, where).nbytes):
                return

    def _digital_output(self, block: Block, where: slice) -> Array:
        """The scored output of the digital network for the samples of one call, kept where there is room."""
        digital = Job(frozenset(), (0,), 0.0, outputs=True)

        def made() -> Array:
            inputs = {name: array[where] if array.ndim else array for name, array in block.inputs.items()}
            part = Block(block.first + where.start, where.stop - where.start, inputs, None, block.digest)
            return self.scores(digital, part)[0]

        return self._references.get((block.digest, where.start), made)


def job_groups(draws: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Draws in groups of at most so many; the cut depends on the draws alone."""
    return [tuple(draws[start : start + most]) for start in range(0, len(draws), most)]
