"""Train the weights of a placed model under the noise of its tiles, and keep them if they are better."""

from dataclasses import replace

from lhc.errors import UsageError
from lhc.measure import Budget, Running
from lhc.measure.judge import judge_in_looks
from lhc.options.command_line import made_by
from lhc.options.commands import RetrainOptions
from lhc.options.declare import part
from lhc.options.signature import keywords
from lhc.options.training import TrainingOptions
from lhc.passes import STRATEGIES
from lhc.plan import Decision, Outcome, Plan, Retrained
from lhc.results import Verdict
from lhc.samples.apart import check_apart, split_off
from lhc.samples.metrics import UNCHOSEN, get_metric
from lhc.samples.task import Task
from lhc.stats import check_confidence, one_sided, split_level
from lhc.study.cautions import warn_of_doubtful_labels
from lhc.study.check_calibration import with_useful_calibration
from lhc.study.goal import ample_chips, budget_of, budget_of_plan, with_yield
from lhc.study.outcome import PartitionResult
from lhc.study.prepare import as_judged, read_placed, stored_plan
from lhc.study.record import outcome_of
from lhc.study.source import Opened, open_model
from lhc.study.state import KEPT, Study
from lhc.study.train import VALIDATION_SAMPLES, trained_for
from lhc.support.numbers import drop_text

__all__ = ["retrain"]

TRAINING_PARTS, PARTS = 4, 5
"""Of one set of samples, four fifths train and one judges."""
JUDGED = ("budget", "sensitivity", "strategy")
"""Reasons that rest on the samples and chips of an earlier command."""
WHEN_PLACED = "when it was placed: "
NOT_MET = "as it was placed; judged anew, the placement does not meet the budget"


@keywords(RetrainOptions)
def retrain(options: RetrainOptions) -> PartitionResult:
    """Train the weights of a placed model under the noise of its analog layers; keep them if they are better.

    Budget, metric and output are those of the annotations by default.

    Returns:
        The better of the two models, by the upper bound of its drop, and its plan.

    Raises:
        UsageError: no layer is analog, or the same samples are to train and to judge.
    """
    opened = open_model(options.model, options.data, options.label_key, options.dequantize)
    stored = stored_plan(options, opened)
    check_confidence(options.confidence)
    budget = _budget(options, stored, opened)
    training, judging = _samples(as_judged(options, None if stored is None else stored.outcome), opened)
    times = None if options.t_inference is None else [options.t_inference]
    with Running(options) as running:
        study, analog, _ = read_placed(options, running, times, opened=opened, task=judging, least_draws=2)
        if options.max_drop is None and stored is not None and stored.outcome is not None:
            budget_of_plan(stored.outcome, study.task.metric.name, None, options.confidence)
        if not analog:
            raise UsageError(
                f"{opened.model.label}: no layer is analog, so there is no noise to train under; 'lhc partition' places"
                " layers, and with --retrain trains as well"
            )
        study = replace(study, plan=placed(study.plan, analog, stored))
        settings = part(options, TrainingOptions)
        validation, verification = split_off(study.task, 1, 3)
        study = replace(study, calibrating=validation)
        if stored is None or options.hardware is not None:
            study = with_useful_calibration(study, analog)
        before = _judged(study, analog, verification, budget)
        trained, record = trained_for(study, training, settings, options.checkpoint, analog, validation)
        after = _judged(trained, analog, verification, budget)
    kept = better((study, before, None), (trained, after, record))
    sizes = len(training), min(len(validation), VALIDATION_SAMPLES), len(verification)
    result = _result(kept, before, after, budget, stored)
    notes = (_samples_note(sizes, None if stored is None else stored.outcome), *result.notes)
    command = made_by("retrain", replace(options, model=opened.model.label))
    return replace(result, plan=result.plan.model_copy(update={"command": command}), notes=notes)


def _samples_note(sizes: tuple[int, int, int], placed_by: Outcome | None) -> str:
    """Which samples are for what, and whether figures can be compared with those of the placement."""
    train, watch, judge = sizes
    note = f"{train} samples train, {watch} others watch the training, {judge} others judge before and after it"
    if placed_by is None:
        return note
    before = f"'lhc partition' verified the placement on {placed_by.samples}"
    return f"{note}; {before}: other samples, so its figures cannot be compared with these"


def _budget(options: RetrainOptions, stored: Plan | None, opened: Opened) -> Budget:
    if options.max_drop is not None or stored is None or stored.outcome is None:
        return with_yield(budget_of(options, options.confidence, opened), options)
    budget = budget_of_plan(stored.outcome, options.metric, options.drop_type, options.confidence)
    return with_yield(replace(budget, generalize=options.generalize), options)


def _samples(options: RetrainOptions, opened: Opened) -> tuple[Task, Task]:
    """What trains, and what judges; ``--samples`` bounds each set that is given."""
    judge = None if options.metric is None else get_metric(options.metric, options.higher_is_better)
    if options.verify_data is None:
        whole = opened.task(options.data, judge, None, options).head(options.samples)
        return split_off(whole, TRAINING_PARTS, PARTS)
    training = opened.task(options.data, UNCHOSEN, None, options).head(options.samples)
    judging = opened.task(options.verify_data, judge, None, options).head(options.samples)
    check_apart(training, judging)
    return training, judging


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
    chosen: dict[str, Decision] = {
        row.name: ("analog", "forced", why) if row.name in analog else ("digital", row.reason, row.detail)
        for row in plan.layers
    }
    return plan.decide(chosen)


Judged = tuple[Study, Verdict, Retrained | None]


def _judged(study: Study, analog: frozenset[str], samples: Task, budget: Budget) -> Verdict:
    """By the chips that the user names; by more, until it is decided, where a share of all is to hold the budget."""
    error = split_level(one_sided(budget.confidence), 2)[0]
    bench = study.bench(samples, limited=False)
    budget.check(bench)
    if study.original is None:
        warn_of_doubtful_labels(bench)
    what = "verifying before training" if study.original is None else "verifying after training"
    chips = range(max(bench.draws, ample_chips(budget.share, error)))
    return judge_in_looks(bench, analog, budget, chips, error, what)


def better(before: Judged, after: Judged) -> Judged:
    """The one that holds the budget, then the one with the smaller upper bound; else the one without training."""

    def rank(one: Judged) -> tuple[bool, float]:
        return one[1].accepted, -one[1].bound

    return after if rank(after) > rank(before) else before


def _result(kept: Judged, before: Verdict, after: Verdict, budget: Budget, stored: Plan | None) -> PartitionResult:
    study, verdict, record = kept
    placed_by = None if stored is None else stored.outcome
    # Without a placement of its own, or by a rule, no samples chose the layers.
    kind = None if placed_by is None else STRATEGIES.get(placed_by.strategy)
    searched = placed_by is not None and (kind is None or kind.searches)
    outcome = outcome_of(verdict, budget, study, not searched, "plan" if placed_by is None else placed_by.strategy)
    apart = "not used to train"
    search: dict[str, object] = {
        "samples_note": f"{apart}, perhaps by the search of the placement" if searched else apart
    }
    if placed_by is not None and stored is not None and stored.analog == study.plan.analog:
        search |= {name: getattr(placed_by, name) for name in ("objective", "limits", "groups")}
    percent, drop_type = verdict.evaluation.percent, budget.drop_type
    drops = [
        f"{drop_text(one.evaluation.drop, percent, drop_type)} (at most {drop_text(one.bound, percent, drop_type)})"
        for one in (before, after)
    ]
    which = "kept" if record is not None else "not kept"
    decides = "the smaller bound" if budget.share is None else "what holds the budget, then the smaller bound"
    told = f"trained weights {which}: mean drop {drops[0]} before training, {drops[1]} after it; {decides} decides"
    search |= {"retrained": record, "training_note": told}
    plan = judged_anew(study.plan, verdict.accepted)
    plan = plan.model_copy(update={"outcome": outcome.model_copy(update=search)})
    return PartitionResult(plan, study.graph, study.model, study.notes)


def judged_anew(plan: Plan, accepted: bool) -> Plan:
    """The plan with reasons that say which judgement they are of: that of the placement, or this one."""
    decisions: dict[str, Decision] = {}
    for row in plan.layers:
        if row.reason == "budget" and row.placement == "analog":
            decisions[row.name] = ("analog", "budget", KEPT) if accepted else ("analog", "forced", NOT_MET)
        elif row.reason in JUDGED and not row.detail.startswith(WHEN_PLACED):
            decisions[row.name] = (row.placement, row.reason, f"{WHEN_PLACED}{row.detail}")
    return plan.decide(decisions)
