"""How long a measurement will take: a small piece of it is timed, and multiplied.

A unit of work is a few chips of one placement on one block of samples. Its time is that of programming the chips, and
that of running the network, which grows with the samples; both are timed on a few samples and one chip for a few of the
placements (chips that are measured together take no longer each).
The first run of anything, which loads libraries and opens sessions, is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from lhc.errors import ModelError
from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.scoring import Job, Scorer
from lhc.measure.sensitivity.fisher_prediction import check_gradients, chunks, gradient_blocks, predictions_kept
from lhc.measure.sensitivity.gradient_worker import corrections_alone, on_chips, weighed
from lhc.measure.sensitivity.hilal_curvature import BATCH, curvatures
from lhc.options.shared import RankingMethod
from lhc.options.training import TrainingOptions
from lhc.passes.decide.copies import Copies
from lhc.passes.strategies.lionheart_retraining import (
    RETRAINING_STRATEGIES,
    LionHeartOriginal,
    rounds_of,
    walk_settings,
)
from lhc.pipeline.inputs.training_inputs import TrainingInputs
from lhc.pipeline.pipeline_state import PreparedNetwork, TrainableNetwork
from lhc.pipeline.rewrites.low_rank_adapters import adapted
from lhc.pipeline.steps.harm_checks import CHECKING, CHIPS, compared_evaluators
from lhc.pipeline.steps.healing import DRAWS as HEALING_DRAWS
from lhc.pipeline.steps.rank import CHECKED, copies_alone, measures_all
from lhc.pipeline.training.retraining import training_plan_of, validation_evaluator
from lhc.pipeline.training.trained_placement import VERIFIES_AFTER, VERIFIES_BEFORE, judging_chips
from lhc.samples.task import Task
from lhc.support.notebook import Tabled
from lhc.support.number_formatting import counted, work_text
from lhc.support.tables import Table

if TYPE_CHECKING:  # it loads PyTorch
    from lhc.train.training_plan import TrainingPlan

__all__ = [
    "Effort",
    "EffortStep",
    "Timed",
    "calibration_steps",
    "curvature_step",
    "evaluation_step",
    "healing_steps",
    "ranking_steps",
    "retraining_steps",
    "training_steps",
]

PLACEMENTS = 3
"""Most placements that are timed."""
_PREDICTING, _MEASURING = "predicting sensitivities", "measuring sensitivities"
_FEW, _MORE = 4, 16
"""Samples of what is timed twice."""
_TIMED = 2
"""Optimiser steps that are timed, after one that is not."""


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
    """What a command is going to do."""

    layers: int
    samples: int
    draws: int
    steps: tuple[EffortStep, ...]
    processes: int = 1

    @property
    def units(self) -> int:
        """Of all steps."""
        return sum(step.units for step in self.steps)

    @property
    def kept(self) -> int:
        """Units whose results are in the cache."""
        return sum(step.kept for step in self.steps)

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
            f" {counted(self.processes, 'process', 'processes')}"
        )

    def __repr__(self) -> str:
        return f"<Effort: {self.units} units of work, about {work_text(self.seconds)}>"

    @property
    def seconds(self) -> float:
        """From beginning to end, where every process has a core of its own."""
        return sum(
            step.seconds / (max(1, min(self.processes, step.units - step.kept)) if step.shared else 1)
            for step in self.steps
        )


@dataclass(frozen=True)
class Timed:
    """Seconds of one placement.

    Attributes:
        programming: a chip.
        sample: run on one chip.
    """

    programming: float
    sample: float

    def times(self, factor: float) -> "Timed":
        """For more or fewer layers."""
        return Timed(factor * self.programming, factor * self.sample)


def evaluation_step(
    evaluator: PlacementEvaluator,
    placements: Sequence[frozenset[str]],
    what: str,
    times: Sequence[float] | None = None,
    timed: dict[frozenset[str], Timed] | None = None,
) -> EffortStep:
    """What it takes to measure placements over all draws.

    Args:
        placements: one or more; some may be the same.
        times: of inference, at each of which all are measured; the evaluator's own by default.
        timed: placements that were timed before, on other samples or chips of the same evaluator; new ones are added.
    """
    timed = {} if timed is None else timed
    at = [evaluator.t_s] if times is None else list(times)
    units = kept = 0
    for placement in placements:
        for t_s in at:
            more = evaluator.units(placement, range(evaluator.draws), t_s)
            units, kept = units + more[0], kept + more[1]
    chosen = [placements[int(place)] for place in np.linspace(0, len(placements) - 1, min(PLACEMENTS, len(placements)))]
    seconds, scorer = [], Scorer(evaluator.context)
    for placement in dict.fromkeys(chosen):
        if placement not in timed:
            timed[placement] = _timed(evaluator, scorer, placement)
        chips = evaluator.draws if evaluator.hardware.is_stochastic and placement else 1
        seconds.append(chips * (timed[placement].programming + timed[placement].sample * evaluator.samples))
    each = float(np.mean(seconds))
    return EffortStep(what, units, kept, each * len(placements) * len(at) * (units - kept) / units)


def _timed(evaluator: PlacementEvaluator, scorer: Scorer, placement: frozenset[str]) -> Timed:
    context, job = evaluator.context, Job(placement, (evaluator.draws,), evaluator.t_s)
    block, few = (
        evaluator.block(slice(0, min(evaluator.samples, n))) for n in (context.call_samples, context.batch or _FEW)
    )
    scorer.scores(job, block)  # loads what is loaded once
    start = perf_counter()
    scorer.scores(job, block)
    run = perf_counter()
    scorer.scores(replace(job, draws=(0,)), few)  # another chip
    programmed, sample = perf_counter() - run, (run - start) / block.samples
    return Timed(max(0.0, programmed - sample * few.samples), sample)


def _as_judged(judged: Mapping[frozenset[str], Timed] | None, placement: frozenset[str]) -> dict[frozenset[str], Timed]:
    """What a placement takes by the one that has most of its layers, if that is half: each takes as long.

    Args:
        judged: placements that were timed with all healing.
    """
    near = max(judged or (), key=lambda other: len(other & placement), default=frozenset())
    if not judged or not near or 2 * len(near & placement) < len(placement):
        return {}
    return {placement: judged[near].times(len(placement) / len(near))}


def calibration_steps(state: PreparedNetwork, judged: Mapping[frozenset[str], Timed] | None = None) -> list[EffortStep]:
    """What it takes to see whether calibration serves the machine.

    Args:
        judged: see `_as_judged`; a little less in truth, since half of the samples calibrate.
    """
    placement = frozenset(state.measurable)
    evaluators = compared_evaluators(state) if placement else ()
    timed = _as_judged(judged, placement)
    return _together(
        [evaluation_step(replace(one, draws=CHIPS), [placement], CHECKING, timed=timed) for one in evaluators]
    )


def healing_steps(evaluator: PlacementEvaluator, judged: Mapping[frozenset[str], Timed]) -> list[EffortStep]:
    """What it takes to judge the largest placement with less healing; with all of it, it was judged before.

    Args:
        judged: placements that were timed with all healing; one with less takes as long, or less.
    """
    placement = max(judged, key=len, default=frozenset[str]())
    kinds = bool(evaluator.copies.of(placement)) + evaluator.context.calibrates if placement else 0
    plain = replace(evaluator, draws=HEALING_DRAWS, copies=Copies(), calibration=None)
    one = evaluation_step(plain, [placement], "what healing brings", timed=dict(judged))
    return _together([one] * (2**kinds - 1))


def _together(steps: list[EffortStep]) -> list[EffortStep]:
    """As one step, where there are any."""
    units, kept = sum(step.units for step in steps), sum(step.kept for step in steps)
    return [replace(step, units=units, kept=kept, seconds=sum(s.seconds for s in steps)) for step in steps[:1]]


def ranking_steps(
    evaluator: PlacementEvaluator,
    names: Sequence[str],
    method: RankingMethod,
    half_width: float | None = None,
    judged: Mapping[frozenset[str], Timed] | None = None,
) -> tuple[EffortStep, ...]:
    """What it takes to find the sensitivities of all named layers; for ``auto``, where the prediction is confirmed.

    Args:
        half_width: see there; a layer may then need fewer draws.
        judged: see `_as_judged`: a prediction calibrates all layers of a chip as well.
    """
    copied = list(copies_alone(evaluator, names))
    one = replace(evaluator, copies=Copies()) if copied else evaluator
    steps = _ranking_steps(one, names, method, half_width, judged)
    if not copied:
        return steps
    if steps[0].what == _PREDICTING:
        again = _prediction_step(evaluator, copied, judged)
    else:
        again = evaluation_step(evaluator, [frozenset(group) for group in evaluator.graph.tied(copied)], _MEASURING)
    return (*steps, replace(again, what=f"{again.what} with copies"))


def _ranking_steps(
    evaluator: PlacementEvaluator,
    names: Sequence[str],
    method: RankingMethod,
    half_width: float | None,
    judged: Mapping[frozenset[str], Timed] | None,
) -> tuple[EffortStep, ...]:
    """What it takes with one copy of the weights of every layer."""
    placements = [frozenset(group) for group in evaluator.graph.tied(names)]
    if method == "fisher":
        return (_prediction_step(evaluator, names, judged),)
    try:
        predicting = (
            None if measures_all(evaluator, names, method, half_width) else _prediction_step(evaluator, names, judged)
        )
    except ModelError:
        predicting = None
    if predicting is None:
        return (evaluation_step(evaluator, placements, _MEASURING),)
    checked = [placements[int(place)] for place in np.linspace(0, len(placements) - 1, CHECKED)]
    return (predicting, evaluation_step(evaluator, checked, "measuring some to check"))


def _prediction_step(
    evaluator: PlacementEvaluator, names: Sequence[str], judged: Mapping[frozenset[str], Timed] | None = None
) -> EffortStep:
    """One unit; its time is linear in the samples, and programming is linear in the draws."""
    if predictions_kept(evaluator, names):
        return EffortStep(_PREDICTING, 1, 1, 0.0, shared=False)
    chips, graph = evaluator.draws if evaluator.hardware.is_stochastic else 1, evaluator.graph
    programming = running = 0.0
    context, t_s, known = evaluator.context, evaluator.t_s, _as_judged(judged, frozenset(names))
    if not known:
        corrections_alone(context, names[:1], range(1), t_s)  # loads what is loaded once
    for chunk in chunks(graph, names, chips, context.tile_bytes):
        aligned = check_gradients(evaluator, chunk)
        start = perf_counter()
        corrections = corrections_alone(context, chunk, range(1), t_s) if not known else [{}]
        network = on_chips(context, chunk, t_s, corrections, aligned)
        programming += perf_counter() - start

        def work(small: PlacementEvaluator) -> None:
            for where in gradient_blocks(small):
                weighed(network, context, chunk, small.block(where))  # noqa: B023  # called at once

        _, taken = _seconds(evaluator, work, (1, _MORE))
        running += taken
    programming = known[frozenset(names)].programming if known else programming
    seconds = programming * chips + running * evaluator.samples / _MORE
    return EffortStep(_PREDICTING, 1, 0, seconds, shared=False)


def curvature_step(evaluator: PlacementEvaluator, names: Sequence[str]) -> EffortStep:
    """What HILAL's curvatures take; their time is linear in the samples."""
    # The first loads what is loaded once.
    _, few, many = _seconds(evaluator, lambda small: curvatures(small, names), (1, _FEW, _MORE))
    more = max(0, min(BATCH, evaluator.samples) - _FEW)
    per_sample = max(0.0, many - few) / (_MORE - _FEW)
    return EffortStep("curvatures of the loss", 1, 0, few + per_sample * more, shared=False)


def _seconds(
    evaluator: PlacementEvaluator, work: Callable[[PlacementEvaluator], object], samples: Sequence[int]
) -> list[float]:
    """What work takes on so many samples each, without the cache."""
    taken = []
    for count in samples:
        start = perf_counter()
        work(replace(evaluator, task=evaluator.task.head(count), running=evaluator.running.uncached()))
        taken.append(perf_counter() - start)
    return taken


def training_steps(
    state: TrainableNetwork, strategy: str, settings: TrainingOptions, rounds: int | None, groups: int
) -> list[EffortStep]:
    """What it takes to train, all layers that may be analog being so, and to judge on the way.

    A training that ends before its last step, by patience or because candidates are accepted, takes less; the published
    walk, whose rounds have no bound, may take more.

    Args:
        state: what is placed, with its samples that train.
        strategy: how the analog set is found.
        groups: of layers that move together.
    """
    everything, select = frozenset(state.measurable), state.splits.rank
    walks = strategy in RETRAINING_STRATEGIES
    settings = walk_settings(strategy, settings) if walks else settings
    course = training_plan_of(state, state.training, settings)
    one = _step_seconds(course, everything)
    if not walks:
        return _one_training(state, course.steps, one, settings, everything, select)
    published = strategy == LionHeartOriginal.name
    most = rounds_of(strategy, settings.patience or 1, rounds)
    steps = groups * most * course.steps
    bound = "at least" if published and rounds is None else "at most"
    what = f"training, {bound} {most} rounds a candidate"
    judged = groups * (most if published else most + 1)
    judging = evaluation_step(state.evaluator(select), [everything] * judged, "judging candidates")
    return [EffortStep(what, steps, 0, one * steps, shared=False), judging]


def _one_training(
    state: PreparedNetwork,
    steps: int,
    seconds: float,
    settings: TrainingOptions,
    analog: frozenset[str],
    watching: Task,
) -> list[EffortStep]:
    """The steps of a training, each of so many seconds, and the validations on the way."""
    validations = [analog] * (settings.validations + 1)
    validating = evaluation_step(validation_evaluator(state, watching), validations, "validating")
    return [EffortStep("training", steps, 0, seconds * steps, shared=False), validating]


def retraining_steps(start: TrainingInputs, settings: TrainingOptions) -> list[EffortStep]:
    """What it takes to judge a placed network, to train it, and to judge it again.

    Where adapters may have a share of the weights, a step is timed with one beside every layer.
    What would help, where the budget is not met, is not counted.
    """
    state, analog = start.state, start.analog
    timed: dict[frozenset[str], Timed] = {}
    # Nothing is kept of weights that are not trained yet.
    later = replace(state, running=state.running.uncached())
    evaluators = [one.evaluator(start.verification, limited=False) for one in (state, later)]
    before, after = (
        evaluation_step(
            replace(evaluator, draws=judging_chips(evaluator.draws, start.budget)), [analog], what, timed=timed
        )
        for what, evaluator in zip((VERIFIES_BEFORE, VERIFIES_AFTER), evaluators, strict=True)
    )
    ranked = replace(settings, adapters=settings.adapter_rank)
    course = training_plan_of(adapted(state, analog, ranked, start.training), start.training, ranked)
    trained = _one_training(state, course.steps, _step_seconds(course, analog), settings, analog, start.validation)
    if settings.adapter_share is not None:
        choosing = _prediction_step(state.gradient_evaluator(start.training), sorted(analog))
        trained.insert(0, replace(choosing, what="choosing layers for adapters"))
    return [before, *trained, after]


def _step_seconds(course: "TrainingPlan", analog: frozenset[str]) -> float:
    """Of one step; a long training keeps the digital network's answers and takes a little less."""
    trainer = course.trainer(horizon=1)
    trainer.begin(analog)
    trainer.train_step(1.0)
    start = perf_counter()
    for _ in range(_TIMED):
        trainer.train_step(1.0)
    return (perf_counter() - start) / _TIMED
