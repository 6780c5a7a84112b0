"""Duration of a command: one unit of its work is timed, and multiplied.

A unit is one chip of a placement on the samples of a call, a gradient of a few samples, or a step of a training. Time
is taken to be linear in chips and samples. Of placements that are measured one after the other the middle one stands
for all, and a placement with less healing, or with its chips uncalibrated, takes as long as with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import NamedTuple

from lhc.errors import ModelError
from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.sensitivity.fisher_prediction import check_gradients, chunks, gradient_blocks, predictions_kept
from lhc.measure.sensitivity.gradient_worker import corrections_alone, on_chips, weighed
from lhc.measure.work_unit import Scorer
from lhc.options.shared import RankingMethod
from lhc.passes.decide.copies import Copies
from lhc.pipeline.steps.rank import CHECKED, measures_all
from lhc.support.notebook import Tabled
from lhc.support.number_formatting import counted, work_text
from lhc.support.tables import Table

FEW = 16
"""Samples that gradients are timed on, at most."""


@dataclass(frozen=True)
class EffortStep:
    """A part of the work of a command.

    Attributes:
        kept: units whose results are in the cache.
        seconds: for the others, in one process.
        shared: whether several processes share the units.
    """

    what: str
    units: int
    kept: int
    seconds: float
    shared: bool = True


@dataclass(frozen=True, repr=False)
class Effort(Tabled):
    """Work of a command, step by step."""

    layers: int
    samples: int
    draws: int
    steps: tuple[EffortStep, ...]
    processes: int = 1

    @property
    def units(self) -> int:
        """Units of all steps."""
        return sum(step.units for step in self.steps)

    @property
    def kept(self) -> int:
        """Units whose results are in the cache."""
        return sum(step.kept for step in self.steps)

    @property
    def seconds(self) -> float:
        """Seconds from beginning to end, where every process has a core of its own."""
        return sum(
            step.seconds / (max(1, min(self.processes, step.units - step.kept)) if step.shared else 1)
            for step in self.steps
        )

    def as_table(self) -> Table:
        """Rows of ``--dry-run``, one a step."""
        rows = [[step.what, str(step.units), str(step.kept), work_text(step.seconds)] for step in self.steps]
        return Table(["step", "units", "finished before", "in one process"], rows, right=(1, 2, 3))

    @property
    def summary(self) -> str:
        """The line that sums the steps up."""
        layers, draws = counted(self.layers, "layer"), counted(self.draws, "draw")
        return (
            f"{layers}, {counted(self.samples, 'sample')}, {draws}: {self.units} units of work,"
            f" {self.kept} of them finished before; about {work_text(self.seconds)} in"
            f" {counted(self.processes, 'process', 'processes')}, without reading, checks and reports"
        )

    def __repr__(self) -> str:
        return f"<Effort: {self.units} units of work, about {work_text(self.seconds)}>"


class UnitTime(NamedTuple):
    """Seconds of one placement: to program a chip, and to run a sample on it."""

    programming: float
    sample: float


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds of work that was done once before, so that what is loaded once is left out."""
    work()
    start = perf_counter()
    work()
    return perf_counter() - start


def few_of(evaluator: PlacementEvaluator) -> PlacementEvaluator:
    """The evaluator on a few samples, without the cache."""
    return replace(evaluator, task=evaluator.task.head(FEW), running=evaluator.running.uncached())


def repeated(step: EffortStep, times: int) -> list[EffortStep]:
    """A step that is done so often, as one; none where it is never done."""
    often = replace(step, units=times * step.units, kept=times * step.kept, seconds=times * step.seconds)
    return [often] if times else []


def evaluation_step(
    evaluator: PlacementEvaluator,
    placements: Sequence[frozenset[str]],
    what: str,
    times: Sequence[float] | None = None,
    timed: dict[frozenset[str], UnitTime] | None = None,
    first: int = 0,
) -> EffortStep:
    """Step of measuring placements, one or more, over all draws.

    Args:
        times: of inference, at each of which all are measured; the evaluator's own by default.
        first: number of the first programming.
        timed: placements that were timed before, on other samples, chips or healing; a new one is added.
    """
    at = [evaluator.t_s] if times is None else times
    chips = range(first, first + evaluator.draws)
    counts = [evaluator.units(one, chips, t_s) for one in placements for t_s in at]
    units, kept = (sum(count) for count in zip(*counts, strict=True))
    middle, timed = placements[len(placements) // 2], {} if timed is None else timed
    if middle not in timed:
        timed[middle] = _timed(evaluator, middle)
    programmed = evaluator.draws if evaluator.hardware.is_stochastic and middle else 1
    each = programmed * (timed[middle].programming + timed[middle].sample * evaluator.samples)
    return EffortStep(what, units, kept, each * len(counts) * (units - kept) / units)


def _timed(evaluator: PlacementEvaluator, placement: frozenset[str]) -> UnitTime:
    """Times of one chip on the samples of a call, and of another on one sample or the batch that the model fixes."""
    context, job = evaluator.context, evaluator.job(placement, range(evaluator.draws, evaluator.draws + 1))
    block, few = (
        evaluator.block(slice(0, min(evaluator.samples, n))) for n in (context.call_samples, context.batch or 1)
    )
    scorer = Scorer(context)
    sample = seconds_of(lambda: scorer.scores(job, block)) / block.samples
    start = perf_counter()
    scorer.scores(replace(job, draws=(0,)), few)
    return UnitTime(max(0.0, perf_counter() - start - sample * few.samples), sample)


def prediction_step(evaluator: PlacementEvaluator, names: Sequence[str]) -> EffortStep:
    """Step of predicting sensitivities, one unit; the first layers whose gradients fit in memory are timed."""
    if predictions_kept(evaluator, names):
        return EffortStep("predicting sensitivities", 1, 1, 0.0, shared=False)
    context, t_s, few = evaluator.context, evaluator.t_s, few_of(evaluator)
    chips = evaluator.draws if evaluator.hardware.is_stochastic else 1
    parts = list(chunks(evaluator.graph, names, chips, context.tile_bytes))
    aligned = check_gradients(evaluator, parts[0])
    corrections_alone(context, names[:1], range(1), t_s)  # loads what is loaded once
    start = perf_counter()
    network = on_chips(context, parts[0], t_s, corrections_alone(context, parts[0], range(1), t_s), aligned)
    programming = perf_counter() - start
    block = few.block(next(gradient_blocks(few)))
    sample = seconds_of(lambda: weighed(network, context, parts[0], block)) / block.samples
    seconds = len(parts) * (chips * programming + sample * evaluator.samples)
    return EffortStep("predicting sensitivities", 1, 0, seconds, shared=False)


def ranking_steps(
    evaluator: PlacementEvaluator, names: Sequence[str], method: RankingMethod, half_width: float | None = None
) -> list[EffortStep]:
    """Steps of finding the sensitivities of all named layers; for ``auto``, with a prediction that is confirmed.

    Args:
        half_width: see there; a layer may then need fewer draws.
    """
    copied = list(evaluator.copies.alone(evaluator.graph.tied(names)))
    plain = replace(evaluator, copies=Copies()) if copied else evaluator
    groups = [frozenset(group) for group in evaluator.graph.tied(names)]
    steps: list[EffortStep] = []
    if method == "fisher" or not measures_all(plain, names, method, half_width):
        try:
            steps.append(prediction_step(plain, names))
        except ModelError:
            if method == "fisher":
                raise
    predicts = bool(steps)
    if not predicts:
        steps.append(evaluation_step(plain, groups, "measuring sensitivities"))
    elif method != "fisher":
        some = [groups[place * (len(groups) - 1) // (CHECKED - 1)] for place in range(CHECKED)]
        steps.append(evaluation_step(plain, some, "measuring some to check"))
    if copied:
        few = [frozenset(group) for group in evaluator.graph.tied(copied)]
        again = prediction_step(evaluator, copied) if predicts else evaluation_step(evaluator, few, steps[0].what)
        steps.append(replace(again, what=f"{again.what} with copies"))
    return steps
