"""Train a network under the noise of the layers that are to be analog, and keep what is better."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from lhc import __version__
from lhc.errors import LhcError, OutOfTimeError, UsageError
from lhc.graph import LayerGraph
from lhc.measure import Budget
from lhc.model import OnnxModel
from lhc.onnx_io import load_model, read_plan
from lhc.options.training import TrainingOptions
from lhc.passes import (
    STRATEGIES,
    Goal,
    PassResult,
    Pipeline,
    SearchOptions,
    Strategy,
    by_worth,
    damage_of,
    initial_plan,
    objective_value,
    search_space,
)
from lhc.passes.retraining import (
    RETRAINING_STRATEGIES,
    LionHeartOriginal,
    LionHeartRetrained,
    already_walked,
    rounds_of,
)
from lhc.plan import Plan, Retrained
from lhc.samples.task import Task
from lhc.study.course import Course
from lhc.study.state import Study
from lhc.study.walk import WalkRetrainer
from lhc.summary import summary

__all__ = ["Train", "check_walk", "retrained_from", "walk_settings", "winnable"]

WINNABLE = 4.0
"""Most estimated drop, in budgets, to train with: training was seen to take away 45 to 90 % of a drop."""
PUBLISHED_RATES = (1e-3, 1e-2)
"""LionHeart's learning rates for ResNet20: weights of analog layers, everything else."""
PUBLISHED_MOMENTUM = 0.85


@dataclass(frozen=True)
class Train:
    """Place the network as it is given, train it, place it again, and keep the better of both.

    Attributes:
        settings: how it is trained.
        strategy: name of the one that searches; those in `RETRAINING_STRATEGIES` train for every layer that they try.
        rounds: most rounds of training a layer, for these.
        checkpoint: folder for states of the training; states found there are gone on with.
        prepare: what comes before a placement is searched.
        judge: makes the pipeline that searches and verifies; both placements share the chance of error.
    """

    settings: TrainingOptions
    strategy: str
    rounds: int | None
    checkpoint: Path | None
    prepare: Pipeline[Study]
    judge: Callable[[type[Strategy]], Pipeline[Study]]
    name: ClassVar[str] = "train"
    requires: ClassVar[frozenset[str]] = frozenset({"parity", "ranges", "samples", "training samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"placement", "verified", "outcome"})

    def apply(self, study: Study) -> Study:
        """The study of the better placement, with a sentence on the other."""
        before = self.judge(STRATEGIES[untrained(self.strategy)]).apply(study)
        if _leaves_nothing(before):
            pays = " and that pays" if any(row.reason == "cost" for row in before.plan.layers) else ""
            return before.noted(f"every layer that can be{pays} is analog within the budget: not trained")
        try:
            found, trained, record = self._trained(study, before)
        except OutOfTimeError:
            return before.noted("--timeout: the time was over before training was; this is the result without it")
        searched = STRATEGIES[self.strategy] if found is None else already_walked(found, self.strategy)
        after = self.judge(searched).apply(self._again(trained, record))
        return _better(before, _recorded(after, record))

    def _trained(self, study: Study, before: Study) -> tuple[PassResult | None, Study, Retrained]:
        """What a walk found, if the strategy is one; the network with trained weights, and how these came about."""
        assert study.training is not None
        course = Course(study, study.training, self.settings, self.checkpoint)
        select = study.splits.select
        if self.strategy in RETRAINING_STRATEGIES:
            return self._walked(course, select)
        analog = winnable(study.graph, before.plan, study.measurable, study.allowed.max_drop)
        return None, *course.train(analog, select)

    def _walked(self, course: Course, select: Task) -> tuple[PassResult, Study, Retrained]:
        """Walk over the layers, training for each."""
        budget, patience = course.study.allowed, self.settings.patience or 1
        settings = walk_settings(self.strategy, self.settings)
        course = replace(course, settings=settings)
        retrainer = WalkRetrainer(course, select, budget)
        walk = (
            LionHeartOriginal(retrainer, patience, threshold=_threshold(budget, retrainer), max_rounds=self.rounds)
            if self.strategy == LionHeartOriginal.name
            else LionHeartRetrained(retrainer, patience, max_rounds=rounds_of(self.strategy, patience, self.rounds))
        )
        found = walk.run(course.study.graph, course.study.plan)
        trained = course.with_weights(retrainer.weights)
        record = Retrained(
            source=course.study.model.source,
            layers=tuple(sorted(found.plan.analog)),
            steps=retrainer.steps,
            batch_size=settings.batch_size,
            loss=settings.loss,
            seed=settings.seed,
            samples=len(course.samples),
            data=course.samples.digest,
            curve=tuple(retrainer.curve),
        )
        return found, trained, record

    def _again(self, trained: Study, record: Retrained) -> Study:
        """The trained network prepared as a new one, with the ranges that were trained."""
        ranges = {name: trained.plan.ranges[name] for name in record.layers if name in trained.plan.ranges}
        plan = initial_plan(trained.graph, trained.plan.hardware, trained.model.source, __version__)
        return self.prepare.apply(replace(trained, plan=plan.with_ranges(ranges), notes=()))


def untrained(strategy: str) -> str:
    """The strategy that is run without training beside one with it."""
    return LionHeartRetrained.name if strategy == LionHeartOriginal.name else strategy


def check_walk(strategy: str, patience: int | None, rounds: int | None) -> None:
    """Refuse what a search with retraining cannot do.

    Raises:
        UsageError: an unknown strategy, or fewer than one round.
    """
    if strategy not in STRATEGIES and strategy not in RETRAINING_STRATEGIES:
        raise UsageError(f"unknown strategy {strategy!r}; with --retrain also {LionHeartOriginal.name}")
    if (patience is not None and patience < 1) or (rounds is not None and rounds < 1):
        raise UsageError(f"--patience and --rounds must be at least 1, got {patience} and {rounds}")


def walk_settings(strategy: str, settings: TrainingOptions) -> TrainingOptions:
    """How a walk trains in a round: one epoch by default, and the published one as it was published."""
    if settings.steps is None and settings.epochs is None:
        settings = replace(settings, epochs=1)
    if strategy != LionHeartOriginal.name:
        return settings
    return replace(
        settings,
        optimizer="sgd",
        momentum=PUBLISHED_MOMENTUM,
        noise="preset",
        learning_rate=settings.learning_rate or PUBLISHED_RATES[0],
        digital_learning_rate=settings.digital_learning_rate or PUBLISHED_RATES[1],
    )


def _threshold(budget: Budget, retrainer: WalkRetrainer) -> float:
    return budget.max_drop * abs(retrainer.baseline) if budget.relative else budget.max_drop


def _leaves_nothing(study: Study) -> bool:
    outcome = study.plan.outcome
    held = outcome is not None and outcome.within_budget
    return held and not any(
        row.reason in ("sensitivity", "strategy", "budget") for row in study.plan.layers if row.placement == "digital"
    )


def _recorded(study: Study, record: Retrained) -> Study:
    assert study.plan.outcome is not None
    outcome = study.plan.outcome.model_copy(update={"retrained": record})
    return replace(study, plan=study.plan.model_copy(update={"outcome": outcome}))


def _better(before: Study, after: Study) -> Study:
    """The better result, with a sentence on the other."""

    def rank(study: Study) -> tuple[bool, float, float]:
        outcome = study.plan.outcome
        assert outcome is not None
        bound = outcome.drop if outcome.interval is None else outcome.interval[1]
        value = objective_value(study.graph, study.plan, outcome.objective, study.plan.analog)
        return outcome.within_budget, -value if outcome.within_budget else 0.0, -bound

    trained = rank(after) > rank(before)
    kept, other = (after, before) if trained else (before, after)
    which = ("before training", "after training")
    beside = summary(other.plan, other.graph)
    return kept.noted(f"{which[trained]} the result is better, and it is kept; {which[not trained]}: {beside}")


def retrained_from(path: Path, model: OnnxModel) -> bool:
    """Whether a file is what retraining this very model wrote."""
    if not path.is_file():
        return False
    try:
        plan = read_plan(load_model(path))
    except LhcError:
        return False
    outcome = None if plan is None else plan.outcome
    return outcome is not None and outcome.retrained is not None and outcome.retrained.source == model.source


def winnable(graph: LayerGraph, plan: Plan, names: Collection[str], max_drop: float) -> frozenset[str]:
    """The layers to train as analog: all that pay, or without those that do most damage for what they bring.

    Without these where all would do too much: else a network that many analog layers ruin would be trained away from
    what it knows, for a placement that no training can save. Layers that share their weights are taken or left
    together.

    Args:
        graph: of the network.
        plan: of the network as it was given, with its sensitivities and outcome.
        names: the layers that can be analog.
        max_drop: the budget.
    """
    outcome = plan.outcome
    goal = Goal() if outcome is None else Goal(outcome.objective)
    forced = plan.forced.intersection(names)
    opened = plan.decide({name: ("digital", "eligible", "") for name in names if name not in forced})
    groups = by_worth(search_space(graph, opened, SearchOptions(goal)))
    everything = forced.union(*groups)
    unknown = {row.name for row in plan.layers if row.sensitivity is None}
    if outcome is None or outcome.estimate is None or max_drop <= 0 or not unknown.isdisjoint(everything):
        return everything
    fixed = damage_of(graph, plan, forced)
    drops = outcome.estimate.factor * (fixed + np.cumsum([damage_of(graph, plan, group) for group in groups]))
    within = max(int(np.sum(drops <= WINNABLE * max_drop)), 1)
    return forced.union(*groups[:within])
