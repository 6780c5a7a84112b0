"""How long the training of ``partition --retrain`` will take: a few optimiser steps are timed, and multiplied."""

import time
from dataclasses import dataclass, replace

from lhc.api.placing_trained import walk_settings
from lhc.measure import split_task
from lhc.measure.data import DataSource
from lhc.measure.estimating import Clock, Step, evaluation_step
from lhc.passes.retraining import RETRAINING_STRATEGIES, LionHeartOriginal, rounds_of
from lhc.preparing import Work
from lhc.retraining import VALIDATION_DRAWS, VALIDATION_SAMPLES, Course
from lhc.task import Task
from lhc.train import Retraining
from lhc.walking import HORIZON

__all__ = ["Asked", "training_steps"]

TIMED = 2
"""Optimiser steps that are timed, after one that is not."""


@dataclass(frozen=True)
class Asked:
    """A training that is asked for; the fields are arguments of `lhc.partition_retrained`."""

    settings: Retraining
    train_data: DataSource | None = None
    patience: int = 1
    max_rounds: int | None = None


def training_steps(
    work: Work, training: Task, strategy: str, asked: Asked, groups: int, clock: Clock = time.perf_counter
) -> list[Step]:
    """What it takes to train, all layers that may be analog being so, and to judge on the way.

    A training that ends before its last step, by patience or because candidates are accepted, takes less; the published
    walk, whose rounds have no bound, may take more.

    Args:
        work: what is placed; its samples judge.
        training: samples that train.
        strategy: how the analog set is found.
        asked: the training.
        groups: of layers that move together.
        clock: tells seconds.
    """
    everything = frozenset(work.measurable)
    select = split_task(work.task).select
    walks = strategy in RETRAINING_STRATEGIES
    settings = walk_settings(strategy, asked.settings) if walks else asked.settings
    course = Course(work, training, settings)
    one = _step_seconds(course, everything, HORIZON if walks else course.steps, clock)
    if not walks:
        bench = replace(work.bench(select.head(VALIDATION_SAMPLES)), draws=VALIDATION_DRAWS)
        validating = evaluation_step(bench, [everything] * (settings.validations + 1), "validating", clock=clock)
        return [Step("training", course.steps, 0, one * course.steps, shared=False), validating]
    published = strategy == LionHeartOriginal.name
    rounds = rounds_of(strategy, asked.patience, asked.max_rounds)
    steps = groups * rounds * course.steps
    bound = "at least" if published and asked.max_rounds is None else "at most"
    what = f"training, {bound} {rounds} rounds a candidate"
    judged = groups * (rounds if published else rounds + 1)
    judging = evaluation_step(work.bench(select), [everything] * judged, "judging candidates", clock=clock)
    return [Step(what, steps, 0, one * steps, shared=False), judging]


def _step_seconds(course: Course, analog: frozenset[str], horizon: int, clock: Clock) -> float:
    trainer = course.trainer(horizon)
    trainer.begin(analog)
    trainer.train_step(1.0)
    start = clock()
    for _ in range(TIMED):
        trainer.train_step(1.0)
    return (clock() - start) / TIMED
