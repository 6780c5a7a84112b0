"""How long the training of ``partition --retrain`` will take: a few optimiser steps are timed, and multiplied."""

import time
from dataclasses import replace

from lhc.options.training import TrainingOptions
from lhc.passes.retraining import RETRAINING_STRATEGIES, LionHeartOriginal, rounds_of
from lhc.study.course import VALIDATION_DRAWS, VALIDATION_SAMPLES, Course
from lhc.study.effort import Clock, EffortStep, evaluation_step
from lhc.study.state import Study
from lhc.study.train import walk_settings
from lhc.study.walk import HORIZON

__all__ = ["training_steps"]

TIMED = 2
"""Optimiser steps that are timed, after one that is not."""


def training_steps(
    study: Study,
    strategy: str,
    settings: TrainingOptions,
    rounds: int | None,
    groups: int,
    clock: Clock = time.perf_counter,
) -> list[EffortStep]:
    """What it takes to train, all layers that may be analog being so, and to judge on the way.

    A training that ends before its last step, by patience or because candidates are accepted, takes less; the published
    walk, whose rounds have no bound, may take more.

    Args:
        study: what is placed, with its samples that train.
        strategy: how the analog set is found.
        settings: how it is trained.
        rounds: most rounds of a candidate.
        groups: of layers that move together.
        clock: tells seconds.
    """
    assert study.training is not None
    everything, select = frozenset(study.measurable), study.splits.select
    walks = strategy in RETRAINING_STRATEGIES
    settings = walk_settings(strategy, settings) if walks else settings
    course = Course(study, study.training, settings)
    one = _step_seconds(course, everything, HORIZON if walks else course.steps, clock)
    if not walks:
        bench = replace(study.bench(select.head(VALIDATION_SAMPLES)), draws=VALIDATION_DRAWS)
        validating = evaluation_step(bench, [everything] * (settings.validations + 1), "validating", clock=clock)
        return [EffortStep("training", course.steps, 0, one * course.steps, shared=False), validating]
    published = strategy == LionHeartOriginal.name
    most = rounds_of(strategy, settings.patience or 1, rounds)
    steps = groups * most * course.steps
    bound = "at least" if published and rounds is None else "at most"
    what = f"training, {bound} {most} rounds a candidate"
    judged = groups * (most if published else most + 1)
    judging = evaluation_step(study.bench(select), [everything] * judged, "judging candidates", clock=clock)
    return [EffortStep(what, steps, 0, one * steps, shared=False), judging]


def _step_seconds(course: Course, analog: frozenset[str], horizon: int, clock: Clock) -> float:
    trainer = course.trainer(horizon)
    trainer.begin(analog)
    trainer.train_step(1.0)
    start = clock()
    for _ in range(TIMED):
        trainer.train_step(1.0)
    return (clock() - start) / TIMED
