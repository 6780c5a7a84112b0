"""Retraining of a placed model."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lhc.api.placing import outcome_of
from lhc.api.start import budget_of, budget_of_plan
from lhc.errors import UsageError
from lhc.measure import HERE, MIN_SPLIT_SAMPLES, Budget, Execution, Progress, silent
from lhc.measure.cautions import warn_of_doubtful_labels
from lhc.measure.data import DataSource
from lhc.measure.judge import Drop, judge_once
from lhc.metrics import UNCHOSEN, get_metric
from lhc.onnx_io import read_plan
from lhc.opening import ModelSource, open_model
from lhc.outcomes import PartitionResult
from lhc.plan import Plan, Retrained
from lhc.preparing import DEFAULT_DRAWS, HardwareSource, Request, Work, as_judged, prepare_run
from lhc.results import Verdict
from lhc.retraining import Course, check_apart, split_off
from lhc.stats import CONFIDENCE, check_confidence, one_sided, split_level
from lhc.task import Task
from lhc.train import Retraining

__all__ = ["retrain"]

TRAINING_PARTS, PARTS = 4, 5
"""Of one set of samples, four fifths train and one judges."""
DEFAULT = Retraining()


def retrain(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    verify_data: DataSource | None = None,
    settings: Retraining = DEFAULT,
    checkpoint: Path | None = None,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    max_drop: Drop | None = None,
    drop_type: Literal["absolute", "relative"] = "absolute",
    confidence: float = CONFIDENCE,
    generalize: bool = False,
    hardware: HardwareSource | None = None,
    placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
    t_inference: float | None = None,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    label_key: str = "labels",
    progress: Progress = silent,
    execution: Execution = HERE,
) -> PartitionResult:
    """Train the weights of a placed model under the noise of its analog layers; keep them if they are better.

    Args:
        model: the network, with its placement in its annotations.
        data: samples for training; targets where the loss needs them.
        verify_data: samples that judge the network before and after; by default a fifth of ``data``, which then does
            not train.
        settings: how it is trained.
        checkpoint: folder for the state of the training; a state found there is gone on with.
        metric: judges; that of the annotations by default, else as in `lhc.partition`.
        higher_is_better: direction of a metric given as ``module:function``.
        output: the output that is trained and judged; that of the annotations by default, else the first.
        max_drop: greatest mean drop over chips; that of the annotations, a zoo entry's own, else 0.01.
        drop_type: ``absolute`` in the metric's unit, or ``relative`` to the baseline.
        confidence: two-sided level of the bounds that decide.
        generalize: decide by the interval over chips and samples.
        hardware: that of the annotations by default, else ``lionheart``.
        placement: the model's annotations by default.
        t_inference: seconds after the first read, for training and judging; the hardware's own by default.
        samples: use the first so many of the data that judge.
        draws: programmings that judge, at least 2.
        label_key: key of the targets in the data.
        progress: called as work proceeds.
        execution: processes, memory, and where results are kept.

    Returns:
        The better of the two models, by the upper bound of its drop, and its plan.

    Raises:
        UsageError: no layer is analog, or the same samples are to train and to judge.
    """
    opened = open_model(model, data, label_key)
    stored = read_plan(opened.model)
    check_confidence(confidence)
    if max_drop is None and stored is not None and stored.outcome is not None:
        budget = replace(budget_of_plan(stored.outcome, metric, None, confidence), generalize=generalize)
    else:
        budget = budget_of(max_drop, drop_type, confidence, generalize, opened)
    if draws < 2:
        raise UsageError(f"--draws must be at least 2, got {draws}: one chip says nothing of others")
    asked = as_judged(
        Request(opened, data, metric=metric, higher_is_better=higher_is_better, output=output),
        None if stored is None else stored.outcome,
    )
    judge = None if asked.metric is None else get_metric(asked.metric, asked.higher_is_better)
    if verify_data is None:
        training, judging = split_off(opened.task(data, judge, None, label_key), TRAINING_PARTS, PARTS)
    else:
        training = opened.task(data, UNCHOSEN, None, label_key)
        judging = opened.task(verify_data, judge, None, label_key)
        check_apart(training, judging)
    with execution.start() as running:
        request = Request(
            opened,
            judging,
            metric=asked.metric,
            higher_is_better=asked.higher_is_better,
            output=asked.output,
            hardware=hardware,
            samples=samples,
            draws=draws,
            seed=settings.seed,
            label_key=label_key,
            progress=progress,
            running=running,
        )
        work, analog, _ = prepare_run(request, placement, None if t_inference is None else [t_inference])
        if max_drop is None and stored is not None and stored.outcome is not None:
            budget_of_plan(stored.outcome, work.task.metric.name, None, confidence)
        if not analog:
            raise UsageError(
                f"{opened.model.label}: no layer is analog, so there is no noise to train under; 'lhc partition' places"
                " layers, and with --retrain trains as well"
            )
        work = replace(work, plan=placed(work.plan, analog, stored))
        course = Course(work, training, settings, checkpoint)
        validation, verification = split_off(work.task, 1, 3)
        before = _judged(work, analog, verification, budget)
        after_work, record = course.train(analog, validation)
        after = _judged(after_work, analog, verification, budget)
    kept = _better((work, before, None), (after_work, after, record))
    held_out = len(work.task) >= MIN_SPLIT_SAMPLES
    return _result(kept, before, after, budget, held_out, stored)


def placed(plan: Plan, analog: frozenset[str], stored: Plan | None) -> Plan:
    """A plan with these layers analog; reasons and numbers as the stored one has them, where there is one.

    Numbers of other hardware, input ranges among them, are not taken.
    """
    why = "chosen by the user"
    if stored is not None and stored.analog == analog:
        if stored.hardware == plan.hardware:
            rows = {row.name: row for row in stored.layers}
            layers = tuple(rows.get(row.name, row) for row in plan.layers)
            return plan.model_copy(update={"layers": layers})
        why = f"as placed for hardware {stored.hardware.name!r}"
    chosen = {
        row.name: ("analog", "forced", why) if row.name in analog else ("digital", row.reason, row.detail)
        for row in plan.layers
    }
    return plan.decide(chosen)  # type: ignore[arg-type]  # tuples of literals


Judged = tuple[Work, Verdict, Retrained | None]


def _judged(work: Work, analog: frozenset[str], samples: Task, budget: Budget) -> Verdict:
    error = split_level(one_sided(budget.confidence), 2)[0]
    bench = work.bench(samples, limited=False)
    budget.check(bench)
    if work.original is None:
        warn_of_doubtful_labels(bench)
    what = "verifying before training" if work.original is None else "verifying after training"
    return judge_once(bench, analog, budget, range(bench.draws), error, what)


def _better(before: Judged, after: Judged) -> Judged:
    """The one whose drop has the smaller upper bound; without training where both are equal."""
    return after if after[1].bound < before[1].bound else before


def _result(
    kept: Judged, before: Verdict, after: Verdict, budget: Budget, held_out: bool, stored: Plan | None
) -> PartitionResult:
    work, verdict, record = kept
    strategy = "plan" if stored is None or stored.outcome is None else stored.outcome.strategy
    outcome = outcome_of(verdict, budget, work, held_out, strategy)
    plan = work.plan.model_copy(update={"outcome": outcome.model_copy(update={"retrained": record})})
    drops = [f"{one.evaluation.drop:.4g} (at most {one.bound:.4g})" for one in (before, after)]
    which = "the trained weights are kept" if record is not None else "the weights before training are kept"
    note = f"mean drop {drops[0]} before training, {drops[1]} after it; {which}: the smaller bound decides"
    return PartitionResult(plan, work.graph, work.model, (*work.notes, note))
