"""Which layers become analog, with retraining: what ``lhc partition --retrain`` does."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lhc.api.placing import budget_of, partition
from lhc.errors import OutOfTimeError, UsageError
from lhc.measure import HERE, Budget, Execution, Progress, silent, split_task
from lhc.measure.data import DataSource
from lhc.measure.judge import Drop
from lhc.metrics import UNCHOSEN, Metric, get_metric
from lhc.opening import ModelSource, Opened, open_model
from lhc.outcomes import PartitionResult
from lhc.passes import STRATEGIES, Pass, PassResult, Select, objective_value
from lhc.passes.retraining import (
    RETRAINING_STRATEGIES,
    LionHeartOriginal,
    LionHeartRetrained,
    already_walked,
    rounds_of,
)
from lhc.plan import Retrained
from lhc.preparing import DEFAULT_DRAWS, EVERYTHING, HardwareSource, Request, Work, prepare
from lhc.retraining import Course, check_apart, split_off, winnable
from lhc.stats import CONFIDENCE, check_confidence
from lhc.task import Task
from lhc.train import Retraining
from lhc.walking import WalkRetrainer

__all__ = ["check_walk", "partition_retrained", "samples_apart", "untrained", "walk_settings"]

DEFAULT = Retraining()
TRAINING_PARTS, PARTS = 3, 5
"""Where there is one set of samples, three fifths train; the others rank, select and verify."""
PUBLISHED_RATES = (1e-3, 1e-2)
"""LionHeart's learning rates for ResNet20: weights of analog layers, everything else."""
PUBLISHED_MOMENTUM = 0.85

_NOT_IN_WALKS = ("max_tiles", "max_latency", "max_energy", "group")


def partition_retrained(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    train_data: DataSource | None = None,
    settings: Retraining = DEFAULT,
    checkpoint: Path | None = None,
    patience: int = 1,
    max_rounds: int | None = None,
    strategy: str = "sensitivity",
    max_drop: Drop | None = None,
    confidence: float = CONFIDENCE,
    hardware: HardwareSource = "lionheart",
    t_inference: float | None = None,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    selection: Select = EVERYTHING,
    passes: Sequence[Pass] = (),
    progress: Progress = silent,
    execution: Execution = HERE,
    **options: Any,  # noqa: ANN401 - those of `partition`
) -> PartitionResult:
    """Place every layer, with weights that are trained under the noise of the analog ones, where that is better.

    By default the network is trained once with all layers analog that can be and that pay (`partition`, objective),
    unless they would do more damage than training can be hoped to mend; then without those that do most damage for what
    they bring. The strategy searches a placement
    for the trained weights as it does for the given ones: what is too sensitive becomes digital. The strategies
    ``lionheart`` and ``lionheart-original`` train for every layer that they try (`lhc.passes.retraining`). Without
    training, the same strategy is run as well (for ``lionheart-original`` that is ``lionheart``), and the better of
    both results is returned: the one that holds the budget, then the one that is better by the objective, then the one
    with the smaller upper bound of its drop.

    Args:
        model: the network.
        data: samples that rank, select and verify.
        train_data: samples that train; by default three fifths of ``data``, which then do not judge.
        settings: how it is trained; ``steps`` or ``epochs`` are those of one round where a strategy trains in rounds
            (one epoch by default).
        checkpoint: folder for states of the training; states found there are gone on with.
        patience: rounds without a better one that end a candidate, where a strategy trains in rounds; a single training
            has its own in ``settings``.
        max_rounds: most rounds of a candidate; by default 4 (``lionheart``), no bound (``lionheart-original``).
        strategy: how the analog set is found.
        max_drop: as for `partition`; for ``lionheart-original`` also the published algorithm's threshold.
        confidence: as for `partition`, as all that follows.
        hardware: tiles, converters, devices.
        t_inference: seconds after the first read.
        metric: judges.
        higher_is_better: its direction.
        output: the output that is trained and judged.
        samples: use the first so many of ``data``.
        draws: programmings.
        seed: fixes devices and noise of what judges; that of the training is in ``settings``.
        label_key: key of the targets.
        selection: which layers are looked at and which are fixed.
        passes: run after that, before anything is measured or trained.
        progress: called as work proceeds.
        execution: processes, memory, and where results are kept.
        options: others of `partition`.

    Raises:
        UsageError: an unknown strategy, or the same samples are to train and to judge.
    """
    check_walk(strategy, patience, max_rounds)
    started = time.monotonic()
    _check_options(strategy, options)
    opened = open_model(model, data, label_key)
    budget = budget_of(
        max_drop,
        options.get("drop_type", "absolute"),
        check_confidence(confidence),
        options.get("generalize", False),
        opened,
    )
    judge = None if metric is None else get_metric(metric, higher_is_better)
    training, judging = samples_apart(opened, data, train_data, judge, samples, label_key)
    shared: dict[str, Any] = {
        **options,
        "max_drop": max_drop,
        "confidence": confidence,
        "hardware": hardware,
        "t_inference": t_inference,
        "output": output,
        "draws": draws,
        "seed": seed,
        "selection": selection,
        "passes": passes,
        "progress": progress,
        "execution": execution,
    }
    before = partition(opened, judging, strategy=untrained(strategy), **shared)
    if _leaves_nothing(before):
        pays = " and that pays" if any(row.reason == "cost" for row in before.plan.layers) else ""
        note = f"every layer that can be{pays} is analog within the budget: not trained"
        return replace(before, notes=(*before.notes, note))
    try:
        with execution.since(started).start() as running:
            request = Request(
                opened,
                judging,
                output=output,
                hardware=hardware,
                draws=draws,
                seed=seed,
                label_key=label_key,
                selection=selection,
                progress=progress,
                running=running,
                passes=tuple(passes),
            )
            course = Course(prepare(request, t_inference), training, settings, checkpoint)
            found, trained, record = _trained(course, before, budget, strategy, patience, max_rounds)
    except OutOfTimeError:
        note = "--timeout: the time was over before training was; this is the result without it"
        return replace(before, notes=(*before.notes, note))
    learned = {name: trained.plan.ranges[name] for name in record.layers if name in trained.plan.ranges}
    again = Opened(trained.model, opened.entry, before=opened, ranges=learned)
    searched = strategy if found is None else already_walked(found, strategy)
    shared["execution"] = execution.since(started)
    after = partition(again, judging, strategy=searched, **shared)
    return _better(budget, before, _recorded(after, record))


def untrained(strategy: str) -> str:
    """The strategy that is run without training beside one with it."""
    return LionHeartRetrained.name if strategy == LionHeartOriginal.name else strategy


def check_walk(strategy: str, patience: int, max_rounds: int | None) -> None:
    """Refuse what a search with retraining cannot do.

    Raises:
        UsageError: an unknown strategy, or fewer than one round.
    """
    if strategy not in STRATEGIES and strategy not in RETRAINING_STRATEGIES:
        raise UsageError(f"unknown strategy {strategy!r}; with --retrain also {LionHeartOriginal.name}")
    if patience < 1 or (max_rounds is not None and max_rounds < 1):
        raise UsageError(f"--patience and --rounds must be at least 1, got {patience} and {max_rounds}")


def _check_options(strategy: str, options: Mapping[str, Any]) -> None:
    if options.get("follow") is not None:
        raise UsageError(
            "a plan says where every layer goes, and retraining searches it; 'lhc retrain' trains a placed model"
        )
    elsewhere = options.get("objective") not in (None, "macs")
    if strategy in RETRAINING_STRATEGIES and (elsewhere or any(options.get(name) for name in _NOT_IN_WALKS)):
        raise UsageError(
            f"strategy {strategy!r} with --retrain walks by MACs within the machine's tiles: --objective, --max-tiles,"
            " --max-latency, --max-energy and --group cannot go with it"
        )


def samples_apart(
    opened: Opened,
    data: DataSource | None,
    train_data: DataSource | None,
    judge: Metric | None,
    samples: int | None,
    label_key: str,
) -> tuple[Task, Task]:
    """What trains, and what judges by this metric."""
    task = opened.task(data, judge, samples, label_key)
    if train_data is None:
        return split_off(task, TRAINING_PARTS, PARTS)
    training = opened.task(train_data, UNCHOSEN, None, label_key)
    check_apart(training, task)
    return training, task


def _leaves_nothing(result: PartitionResult) -> bool:
    outcome = result.plan.outcome
    held = outcome is not None and outcome.within_budget
    return held and not any(
        row.reason in ("sensitivity", "strategy", "budget") for row in result.plan.layers if row.placement == "digital"
    )


def _trained(
    course: Course, before: PartitionResult, budget: Budget, strategy: str, patience: int, max_rounds: int | None
) -> tuple[PassResult | None, Work, Retrained]:
    """What a walk found, if the strategy is one; the network with trained weights, and how these came about."""
    select = split_task(course.work.task).select
    if strategy in RETRAINING_STRATEGIES:
        return _walked(course, select, budget, strategy, patience, max_rounds)
    analog = winnable(course.work.graph, before.plan, course.work.measurable, budget.max_drop)
    return None, *course.train(analog, select)


def _walked(
    course: Course, select: Task, budget: Budget, strategy: str, patience: int, max_rounds: int | None
) -> tuple[PassResult, Work, Retrained]:
    """Walk over the layers, training for each."""
    settings = walk_settings(strategy, course.settings)
    course = replace(course, settings=settings)
    retrainer = WalkRetrainer(course, select, budget)
    walk = (
        LionHeartOriginal(retrainer, patience, threshold=_threshold(budget, retrainer), max_rounds=max_rounds)
        if strategy == LionHeartOriginal.name
        else LionHeartRetrained(retrainer, patience, max_rounds=rounds_of(strategy, patience, max_rounds))
    )
    found = walk.run(course.work.graph, course.work.plan)
    trained = course.work_with(retrainer.weights)
    record = Retrained(
        source=course.work.model.source,
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


def walk_settings(strategy: str, settings: Retraining) -> Retraining:
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


def _recorded(result: PartitionResult, record: Retrained) -> PartitionResult:
    assert result.plan.outcome is not None
    outcome = result.plan.outcome.model_copy(update={"retrained": record})
    return replace(result, plan=result.plan.model_copy(update={"outcome": outcome}))


def _better(budget: Budget, before: PartitionResult, after: PartitionResult) -> PartitionResult:
    """The better result, with a sentence on the other."""

    def rank(result: PartitionResult) -> tuple[bool, float, float]:
        outcome = result.plan.outcome
        assert outcome is not None
        bound = outcome.drop if outcome.interval is None else outcome.interval[1]
        value = objective_value(result.graph, result.plan, outcome.objective, result.plan.analog)
        return outcome.within_budget, -value if outcome.within_budget else 0.0, -bound

    trained = rank(after) > rank(before)
    kept, other = (after, before) if trained else (before, after)
    which = ("before training", "after training")
    note = f"{which[trained]} the result is better, and it is kept; {which[not trained]}: {other.summary}"
    return replace(kept, notes=(*kept.notes, note))
