"""A placement judged before its network is trained under the noise of its tiles, and after; the better one is kept."""

from typing import NamedTuple

from lhc.measure import Budget, PlacementJudge
from lhc.measure.budget_test import sequential_test
from lhc.passes import STRATEGIES, SearchOptions
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.objective import ample_chips
from lhc.pipeline.measurement_warnings import warn_of_doubtful_labels
from lhc.pipeline.pipeline_state import KEPT, PreparedNetwork
from lhc.pipeline.plan_record import outcome_of
from lhc.pipeline.steps.explain.infeasibility import Case, explained
from lhc.pipeline.steps.verify.earlier_budget_tests import with_earlier
from lhc.pipeline.steps.verify.fixed_sequence_test import Verified
from lhc.pipeline.steps.verify.verify import FIRST_CHIP_OF_A_TRAINING
from lhc.plan import Decision, Outcome, Plan, Reason, Retrained
from lhc.results import Infeasibility, Verdict
from lhc.samples.task import Task
from lhc.stats import one_sided
from lhc.support.number_formatting import counted_samples, drop_text

JUDGED = ("budget", "sensitivity", "strategy")
"""Reasons that rest on the samples and chips of an earlier command."""
WHEN_PLACED = "when it was placed: "
VERIFIES_BEFORE, VERIFIES_AFTER = "verifying before training", "verifying after training"
NOT_MET = "as it was placed; judged anew, the placement does not meet the budget"


class Judged(NamedTuple):
    """A network with the verdict on its placement.

    Attributes:
        record: of its training; None for the weights as given.
        infeasibility: where the budget is not met, why, and what would help.
        notes: sentences for the user.
    """

    state: PreparedNetwork
    verdict: Verdict
    record: Retrained | None = None
    infeasibility: Infeasibility | None = None
    notes: tuple[str, ...] = ()


def placed(plan: Plan, analog: frozenset[str], stored: Plan | None) -> Plan:
    """A plan with these layers analog; reasons and numbers as the stored one has them, where there is one.

    Numbers of other hardware, input ranges among them, are not taken.
    """
    reason: Reason = "forced"
    why = "chosen by the user"
    if stored is not None and stored.analog == analog:
        if stored.hardware.infers_as(plan.hardware):
            rows = {row.name: row for row in stored.layers}
            layers = tuple(rows.get(row.name, row) for row in plan.layers)
            return plan.model_copy(update={"layers": layers})
        reason, why = "placed", f"as placed for hardware {stored.hardware.name!r}"
    chosen: dict[str, Decision] = {
        row.name: ("analog", reason, why) if row.name in analog else ("digital", row.reason, row.detail)
        for row in plan.layers
    }
    return plan.decide(chosen)


def judging_chips(draws: int, budget: Budget) -> range:
    """Numbers of the programmings that judge, which no search and no validation has seen.

    As many as the user names, at most; more where a share of all is to hold the budget.
    """
    most = max(draws, ample_chips(budget.share, _error(budget)))
    return range(FIRST_CHIP_OF_A_TRAINING, FIRST_CHIP_OF_A_TRAINING + most)


def _error(budget: Budget) -> float:
    """Error of each of the two tests, before and after the training."""
    return one_sided(budget.confidence) / 2


def judged(state: PreparedNetwork, analog: frozenset[str], samples: Task, budget: Budget) -> Verdict:
    """By as many chips as the user names; by more, until it is decided, where a share of all is to hold the budget."""
    evaluator = state.evaluator(samples, limited=False)
    budget.check(evaluator)
    if state.original is None:
        warn_of_doubtful_labels(evaluator)
    what = VERIFIES_BEFORE if state.original is None else VERIFIES_AFTER
    return sequential_test(evaluator, analog, budget, judging_chips(evaluator.draws, budget), _error(budget), what)


def better(before: Judged, after: Judged) -> Judged:
    """The one that holds the budget, then the one with the smaller upper bound; else the one without training."""

    def rank(one: Judged) -> tuple[bool, float]:
        return one.verdict.accepted, -one.verdict.bound

    return after if rank(after) > rank(before) else before


def with_remedies(kept: Judged, analog: frozenset[str], watching: Task, judging: Task, budget: Budget) -> Judged:
    """The placement with remedies where the budget is not met; samples that watched choose the layers in the way."""
    state, verdict = kept.state, kept.verdict
    if verdict.accepted:
        return kept
    tested = Verified(analog, verdict, judging_chips(verdict.evaluation.draws, budget)[: verdict.evaluation.draws])
    judge = PlacementJudge(state.evaluator(watching), budget, "in the way:", layers_in=state.layers_in)
    case = Case(state, (tested,), judge, SearchOptions(), state.evaluator(judging), watching)
    infeasibility, notes = explained(case)
    return kept._replace(infeasibility=infeasibility, notes=notes)


def result_of(
    kept: Judged, before: Verdict, after: Verdict, budget: Budget, stored: Plan | None, earlier: Outcome | None = None
) -> PartitionResult:
    """The result that is kept, with what both verifications came to.

    Args:
        earlier: of a test of the weights before training, by the same budget. Where they passed it and are kept, its
            verdict stays: other samples, which may be fewer, do not make it worse.
    """
    state, verdict, record, infeasibility, remarks = kept
    notes = (*state.notes, *remarks)
    passed = earlier is not None and earlier.within_budget
    told = _comparison(before, after, budget, record is not None)
    if stored is not None and earlier is not None and passed and record is None:
        on = counted_samples(earlier.samples, earlier.documents)
        told += f"; the verdict is that of the test which the given weights passed before, on {on}"
        stands = earlier.model_copy(update={"training_note": told})
        return PartitionResult(stored.model_copy(update={"outcome": stands}), state.graph, state.model, notes)
    placed_by = None if stored is None else stored.outcome
    # Without a placement of its own, or by a rule, no samples chose the layers.
    kind = None if placed_by is None else STRATEGIES.get(placed_by.strategy)
    searched = placed_by is not None and (kind is None or kind.searches)
    outcome = outcome_of(verdict, budget, state, not searched, "plan" if placed_by is None else placed_by.strategy)
    apart = "not used to train"
    search: dict[str, object] = {
        "samples_note": f"{apart}, perhaps by the search of the placement" if searched else apart,
        "first_draw": FIRST_CHIP_OF_A_TRAINING,
    }
    if placed_by is not None and stored is not None and stored.analog == state.plan.analog:
        search |= {name: getattr(placed_by, name) for name in ("objective", "limits", "groups", "copies")}
    first = "" if budget.share is None and earlier is None else "holding the budget comes first, then "
    search |= {"retrained": record, "training_note": f"{told}; {first}the smaller bound decides"}
    plan = judged_anew(state.plan, verdict.accepted)
    failed = None if passed else earlier
    counted = with_earlier(outcome.model_copy(update=search), one_sided(budget.confidence), failed)
    plan = plan.model_copy(update={"outcome": counted})
    return PartitionResult(plan, state.graph, state.model, notes, infeasibility=infeasibility)


def _comparison(before: Verdict, after: Verdict, budget: Budget, trained: bool) -> str:
    """Which weights are kept, and the drops of both."""
    drops = [
        f"{drop_text(one.evaluation.drop, one.evaluation.percent, budget.drop_type)}"
        f" (at most {drop_text(one.bound, one.evaluation.percent, budget.drop_type)})"
        for one in (before, after)
    ]
    word = "kept" if trained else "not kept"
    return f"trained weights {word}: mean {before.evaluation.drop_word} {drops[0]} before training, {drops[1]} after it"


def judged_anew(plan: Plan, accepted: bool) -> Plan:
    """The plan with reasons that say which judgement they are of: that of the placement, or this one."""
    decisions: dict[str, Decision] = {}
    for row in plan.layers:
        if row.reason in ("budget", "placed") and row.placement == "analog":
            decisions[row.name] = ("analog", "budget", KEPT) if accepted else ("analog", "placed", NOT_MET)
        elif row.reason in JUDGED and not row.detail.startswith(WHEN_PLACED):
            decisions[row.name] = (row.placement, row.reason, f"{WHEN_PLACED}{row.detail}")
    return plan.decide(decisions)


def samples_note(sizes: tuple[int, int, int], placed_by: Outcome | None) -> str:
    """Note on what samples are for, and whether figures can be compared with those of the placement."""
    train, watch, judge = sizes
    note = (
        f"{train} samples train; on {watch} others training is watched, on {judge} others the network is"
        " judged before and after it"
    )
    if placed_by is None:
        return note
    before = f"'lhc partition' verified the placement on {placed_by.samples}"
    return f"{note}; {before}: other samples, so its figures cannot be compared with these"
