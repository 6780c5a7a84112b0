"""Score placements on samples: the same samples and the same devices for every placement.

For one placement the network is cut once; of every block of samples the digital prefix is computed once, then each
draw runs from the first analog layer on. What bounds the time: the products on tiles, samples x draws x analog MACs.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lhc.errors import DataError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure.measurement import Measurement, SampleScores, SetScores, evaluation
from lhc.metrics import Array, Metric, Scores
from lhc.model import OnnxModel
from lhc.onnx_io import static_batch
from lhc.results import Evaluation
from lhc.runtime import HybridExecutor, Ranges
from lhc.stats import CONFIDENCE
from lhc.task import Task

__all__ = ["Bench", "Progress", "silent"]

BLOCK_SAMPLES = 64
"""Samples in one call of onnxruntime where the model does not fix the batch."""
DRAW_BYTES = 2**29
"""Memory for programmed tiles of draws that are held at once."""
_BYTES_PER_WEIGHT = 40
"""Programmed, reference and drifted weights and drift exponents of both devices, in float32, with overhead."""

Progress = Callable[[str, int, int], None]
"""``(what, done, total)``: called as work proceeds."""


def silent(what: str, done: int, total: int) -> None:
    """Report no progress."""


@dataclass(frozen=True, eq=False)
class Bench:
    """A model, samples and hardware on which placements are scored.

    Attributes:
        model: the network.
        graph: its layers.
        hardware: tiles, converters, devices.
        task: samples and metric.
        seed: of the run.
        draws: programmings per placement.
        t_s: time of inference, in seconds.
        output: name of the output that is scored; the first by default.
        ranges: layer -> calibrated input ranges, where the hardware has static ones.
        progress: called after every block of samples.
    """

    model: OnnxModel
    graph: LayerGraph
    hardware: Hardware
    task: Task
    seed: int = 0
    draws: int = 10
    t_s: float = 0.0
    output: str | None = None
    ranges: Mapping[str, Ranges] = field(default_factory=dict)
    progress: Progress = field(default=silent)

    @property
    def metric(self) -> Metric:
        """The task's metric."""
        return self.task.metric

    @property
    def samples(self) -> int:
        """How many samples."""
        return len(self.task)

    @property
    def output_name(self) -> str:
        """The output that is scored."""
        return self.output or self.graph.outputs[0]

    @cached_property
    def digital_output(self) -> Array:
        """The scored output of the digital network for all samples.

        Raises:
            DataError: it is not finite, or has no sample axis.
        """
        executor = HybridExecutor(self.model, self.graph, ())
        name = self.output_name
        blocks = []
        for where, feeds in self.blocks():
            output = executor.prefix(feeds)[name]
            if output.ndim == 0 or len(output) < where.stop - where.start:
                raise DataError(f"output {name!r} has shape {output.shape}; its first axis must count samples")
            blocks.append(output[: where.stop - where.start])
        result = np.concatenate(blocks)
        if result.dtype.kind == "f" and not np.isfinite(result).all():
            raise DataError(f"the digital network gives NaN or infinite values in {name!r} on these samples")
        return result

    @cached_property
    def reference(self) -> Array:
        """What outputs are scored against: targets, or the digital output."""
        targets = self.task.targets if self.metric.needs_targets is not False else None
        return self.digital_output if targets is None else targets

    @cached_property
    def digital_score(self) -> Scores | float:
        """Score of the digital network per sample, shape ``(samples,)``; one number with a set metric.

        Raises:
            DataError: it is not finite.
        """
        score = self.metric.score(self.digital_output, self.reference)
        if not np.isfinite(score).all():
            raise DataError(f"{self.metric.name} of the digital network is NaN or infinite on these samples")
        return score

    @property
    def baseline(self) -> float:
        """Value of the digital network."""
        return float(np.mean(self.digital_score))

    def measure(
        self, placement: frozenset[str], draws: range, what: str = "measuring", t_s: float | None = None
    ) -> Measurement:
        """Scores of a placement on these chips.

        Args:
            placement: the analog layers.
            draws: numbers of the programmings.
            what: for progress.
            t_s: time of inference; the bench's own by default.
        """
        digital = self.digital_score
        if isinstance(digital, float):
            return SetScores(
                self.metric, self._scored(placement, draws, what, t_s), self.digital_output, self.reference
            )
        if not placement:
            return SampleScores(self.metric, np.tile(digital, (len(draws), 1)), digital, exact=True)
        if not self.hardware.is_stochastic and len(draws) > 1:
            one = self.measure(placement, range(1), what, t_s)
            assert isinstance(one, SampleScores)
            return SampleScores(self.metric, np.repeat(one.scores, len(draws), axis=0), digital, exact=True)
        scores = np.empty((len(draws), self.samples))
        index = self.graph.outputs.index(self.output_name)
        for draw, where, outputs in self.outputs(placement, draws, what, t_s):
            scores[draw - draws.start, where] = self.metric.score(outputs[index], self.reference[where])
        return SampleScores(self.metric, scores, digital, exact=not self.hardware.is_stochastic)

    def _scored(self, placement: frozenset[str], draws: range, what: str, t_s: float | None) -> Array:
        """The scored output per draw and sample, ``(draws, samples, ...)``."""
        if not placement:
            return np.repeat(self.digital_output[None], len(draws), axis=0)
        result = np.empty((len(draws), *self.digital_output.shape), self.digital_output.dtype)
        index = self.graph.outputs.index(self.output_name)
        for draw, where, outputs in self.outputs(placement, draws, what, t_s):
            result[draw - draws.start, where] = outputs[index]
        return result

    def outputs(
        self, placement: frozenset[str], draws: range, what: str = "measuring", t_s: float | None = None
    ) -> Iterator[tuple[int, slice, list[Array]]]:
        """All outputs, block by block: ``(draw, samples, outputs in the model's order)``.

        Args:
            placement: the analog layers.
            draws: numbers of the programmings.
            what: for progress.
            t_s: time of inference; the bench's own by default.
        """
        executor = HybridExecutor(self.model, self.graph, placement, self.ranges)
        time = self.t_s if t_s is None else t_s
        blocks, done = -(-self.samples // self._block_size), 0
        for group in self._draw_groups(placement, draws):
            programmed = [executor.program(self.hardware, self.seed, draw, time) for draw in group]
            for where, feeds in self.blocks():
                prefix = executor.prefix(feeds)
                for draw, tiles in zip(group, programmed, strict=True):
                    outputs = executor.finish(prefix, tiles, where.start, self._fed(feeds))
                    yield draw, where, [output[: where.stop - where.start] for output in outputs]
                    done += 1
                    self.progress(what, done, blocks * len(draws))

    def evaluate(
        self,
        placement: frozenset[str],
        relative: bool = False,
        what: str = "measuring",
        t_s: float | None = None,
        confidence: float = CONFIDENCE,
    ) -> Evaluation:
        """Value and drop of a placement over all draws, paired with the digital network sample by sample.

        Args:
            placement: the analog layers.
            relative: drops relative to the magnitude of the baseline.
            what: for progress.
            t_s: time of inference; the bench's own by default.
            confidence: two-sided level of the intervals.

        Raises:
            DataError: the mapped network gives values that are not finite.
        """
        measured = self.measure(placement, range(self.draws), what, t_s)
        return evaluation(measured, self, relative, confidence, t_s)

    @cached_property
    def _static_batch(self) -> int | None:
        return static_batch(self.model)

    @property
    def _block_size(self) -> int:
        return self._static_batch or BLOCK_SAMPLES

    def blocks(self) -> Iterator[tuple[slice, Mapping[str, Array]]]:
        """Blocks of samples as ``(position, feeds)``; a fixed batch is filled up with the last sample."""
        for where, feeds in self.task.blocks(self._block_size):
            short = self._block_size - (where.stop - where.start)
            if self._static_batch and short:
                feeds = {name: np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) for name, a in feeds.items()}
            yield where, feeds

    @staticmethod
    def _fed(feeds: Mapping[str, Array]) -> int:
        return len(next(iter(feeds.values())))

    def _draw_groups(self, placement: frozenset[str], draws: range) -> Iterator[range]:
        """Draws in groups whose programmed tiles fit in memory together."""
        matrices = [self.graph[name].matrix for name in placement]
        weights = sum(matrix.parameters for matrix in matrices if matrix is not None)
        size = max(1, DRAW_BYTES // max(weights * _BYTES_PER_WEIGHT, 1))
        for start in range(draws.start, draws.stop, size):
            yield range(start, min(start + size, draws.stop))
