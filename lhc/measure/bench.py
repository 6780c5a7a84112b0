"""Score placements on samples: the same samples and the same devices for every placement.

For one placement the network is cut once; of every block of samples the digital prefix is computed once, then each
draw runs from the first analog layer on. What bounds the time: the products on tiles, samples x draws x analog MACs.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.model import OnnxModel
from lhc.onnx_io import static_batch
from lhc.results import Evaluation
from lhc.runtime import HybridExecutor
from lhc.stats import CONFIDENCE, summarize
from lhc.task import Array, Metric, Task

__all__ = ["Bench", "Progress", "silent"]

BLOCK_SAMPLES = 64
"""Samples in one call of onnxruntime where the model does not fix the batch."""
DRAW_BYTES = 2**29
"""Memory for programmed tiles of draws that are held at once."""
_BYTES_PER_WEIGHT = 40
"""Programmed, reference and drifted weights and drift exponents of both devices, in float32, with overhead."""

Scores = npt.NDArray[np.float64]
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
        confidence: two-sided level of intervals over draws.
        progress: called after every block of samples.
    """

    model: OnnxModel
    graph: LayerGraph
    hardware: Hardware
    task: Task
    seed: int = 0
    draws: int = 10
    t_s: float = 0.0
    confidence: float = CONFIDENCE
    progress: Progress = field(default=silent)

    @property
    def metric(self) -> Metric:
        """The task's metric."""
        return self.task.metric

    @cached_property
    def digital_output(self) -> Array:
        """First output of the digital network for all samples.

        Raises:
            DataError: it is not finite, or has no sample axis.
        """
        executor = HybridExecutor(self.model, self.graph, ())
        name = self.graph.outputs[0]
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
        if not self.metric.needs_targets:
            return self.digital_output
        assert self.task.targets is not None
        return self.task.targets

    @cached_property
    def digital_scores(self) -> Scores:
        """Score of the digital network per sample, shape ``(samples,)``."""
        return self.metric.score(self.digital_output, self.reference)

    @property
    def baseline(self) -> float:
        """Value of the digital network: the mean of its scores."""
        return float(self.digital_scores.mean())

    def scores(self, placement: frozenset[str], what: str = "measuring", t_s: float | None = None) -> Scores:
        """Score per draw and sample with these layers analog, shape ``(draws, samples)``."""
        if not placement:
            return np.broadcast_to(self.digital_scores, (self.draws, len(self.task))).copy()
        if not self.hardware.is_stochastic and self.draws > 1:
            return np.repeat(replace(self, draws=1).scores(placement, what, t_s), self.draws, axis=0)
        result = np.empty((self.draws, len(self.task)))
        for draw, where, outputs in self.outputs(placement, what, t_s):
            result[draw, where] = self.metric.score(outputs[0], self.reference[where])
        return result

    def outputs(
        self, placement: frozenset[str], what: str = "measuring", t_s: float | None = None
    ) -> Iterator[tuple[int, slice, list[Array]]]:
        """All outputs, block by block: ``(draw, samples, outputs in the model's order)``.

        Args:
            placement: the analog layers.
            what: for progress.
            t_s: time of inference; the bench's own by default.
        """
        executor = HybridExecutor(self.model, self.graph, placement)
        time = self.t_s if t_s is None else t_s
        blocks, done = -(-len(self.task) // self._block_size), 0
        for draws in self._draw_groups(placement):
            programmed = [executor.program(self.hardware, self.seed, draw, time) for draw in draws]
            for where, feeds in self.blocks():
                prefix = executor.prefix(feeds)
                for draw, tiles in zip(draws, programmed, strict=True):
                    outputs = executor.finish(prefix, tiles, where.start, self._fed(feeds))
                    yield draw, where, [output[: where.stop - where.start] for output in outputs]
                    done += 1
                    self.progress(what, done, blocks * self.draws)

    def evaluate(
        self,
        placement: frozenset[str],
        relative: bool = False,
        what: str = "measuring",
        t_s: float | None = None,
    ) -> Evaluation:
        """Value and drop of a placement over draws, paired with the digital network sample by sample.

        Args:
            placement: the analog layers.
            relative: drops relative to the magnitude of the baseline.
            what: for progress.
            t_s: time of inference; the bench's own by default.

        Raises:
            UsageError: relative to a baseline of 0.
            DataError: the mapped network gives values that are not finite.
        """
        scores = self.scores(placement, what, t_s)
        return self.summarize(scores, relative, self.t_s if t_s is None else t_s)

    def summarize(self, scores: Scores, relative: bool, t_s: float) -> Evaluation:
        """The evaluation that scores of shape ``(draws, samples)`` give."""
        if not np.isfinite(scores).all():
            raise DataError("the mapped network gives NaN or infinite values on some samples; its drop is undefined")
        if relative and self.baseline == 0:
            raise UsageError("the baseline is 0, so a relative drop is undefined; use --drop-type absolute")
        drops = self.metric.damage(self.digital_scores, scores).mean(axis=1)
        drops = drops / abs(self.baseline) if relative else drops
        values = scores.mean(axis=1)
        value, drop = summarize(values, self.confidence), summarize(drops, self.confidence)
        return Evaluation(
            metric=self.metric.name,
            percent=self.metric.percent,
            baseline=self.baseline,
            values=tuple(values.tolist()),
            mean=value.mean,
            std=value.std,
            interval=value.interval,
            drop=drop.mean,
            drop_interval=drop.interval,
            drops=tuple(drops.tolist()),
            samples=len(self.task),
            seed=self.seed,
            t_s=t_s,
            confidence=self.confidence,
        )

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

    def _draw_groups(self, placement: frozenset[str]) -> Iterator[range]:
        """Draws in groups whose programmed tiles fit in memory together."""
        matrices = [self.graph[name].matrix for name in placement]
        weights = sum(matrix.parameters for matrix in matrices if matrix is not None)
        size = max(1, min(self.draws, DRAW_BYTES // max(weights * _BYTES_PER_WEIGHT, 1)))
        for start in range(0, self.draws, size):
            yield range(start, min(start + size, self.draws))
