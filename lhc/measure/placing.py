"""Search a placement, then verify it on samples and chips that the search has not seen (`lhc.measure.verify`)."""

from dataclasses import dataclass

from lhc.errors import OutOfTimeError
from lhc.exploration import Calibration
from lhc.graph import LayerGraph
from lhc.measure.judge import Budget, PlacementJudge
from lhc.measure.measurement import Evaluator
from lhc.measure.verify import Candidates, Verified, verify_candidates
from lhc.passes import (
    Objective,
    PassResult,
    SearchOptions,
    Strategy,
    damage_of,
    kept_limits,
    objective_value,
    search_space,
)
from lhc.passes.search_base import groups_of
from lhc.plan import Placement, Plan, Reason
from lhc.results import Verdict
from lhc.summary import format_drop

__all__ = ["Found", "place", "verifying_chips"]

MOST_NAMED = 5
"""Layers that a note names."""
KEPT = "within the budget together with the other analog layers"
NOTHING_ANALOG = (
    "nothing is analog: no placement that was tried was shown to hold the budget; more samples or --draws narrow the"
    " intervals, and a larger --max-drop allows more"
)


@dataclass(frozen=True)
class Found:
    """A placement and how it did when it was verified.

    Attributes:
        plan: the placement that is kept: the best that was shown to hold the budget, else the one with the least drop.
        verdict: its verification.
        failed: what else was verified, and not shown to hold; the one that the search chose comes first.
        notes: sentences for the user.
        evaluations: placements that the search judged.
        calibration: their drops against their estimated damages; None where sensitivities were not measured.
    """

    plan: Plan
    verdict: Verdict
    notes: tuple[str, ...]
    failed: tuple[Verified, ...] = ()
    evaluations: int = 0
    calibration: Calibration | None = None


def place(
    graph: LayerGraph,
    plan: Plan,
    strategy: type[Strategy],
    judge: PlacementJudge,
    verify: Evaluator,
    again: bool = False,
    options: SearchOptions | None = None,
) -> Found:
    """Find and verify a placement.

    Args:
        graph: the layers.
        plan: qualified, with sensitivities where the strategy needs them.
        strategy: how it is searched.
        judge: of the search, with its samples and the budget.
        verify: samples of the verification.
        again: the plan comes from an earlier verification; it is judged on chips that this one did not see either.
        options: what the strategy is told.
    """
    budget = judge.budget
    wanted = SearchOptions(max_drop=budget.max_drop) if options is None else options
    try:
        found = strategy(judge, wanted).run(graph, plan)
    except OutOfTimeError:
        found = _best_so_far(judge, graph, plan, wanted.goal.objective)
    candidates = _candidates(graph, found, plan, strategy, judge, wanted)
    *failed, kept = verify_candidates(candidates, verify, budget, verifying_chips(verify.draws, again))
    final = _moved(found.plan, kept.placement)
    notes = (*found.notes, *_stepped_back(plan, found.plan.analog, kept, failed, verify, budget))
    if judge.verdicts and plan.eligible and not kept.placement:
        notes += (NOTHING_ANALOG,)
    judged = {placement: verdict.evaluation.drop for placement, verdict in judge.verdicts.items()}
    damages = [damage_of(graph, plan, placement) for placement in judged]
    calibration = Calibration.of(damages, list(judged.values()))
    return Found(final, kept.verdict, notes, tuple(failed), len(judged), calibration)


def verifying_chips(draws: int, again: bool = False) -> range:
    """Numbers of the programmings that verify: those after the search's, or after an earlier verification's.

    Args:
        draws: programmings per placement.
        again: the plan comes from an earlier verification.
    """
    first = draws * (2 if again else 1)
    return range(first, first + draws)


def _candidates(
    graph: LayerGraph,
    found: PassResult,
    plan: Plan,
    strategy: type[Strategy],
    judge: PlacementJudge,
    options: SearchOptions,
) -> Candidates:
    """What is verified; a rule is not stepped back from. Without what is in the way, the rest must still pay."""
    chosen = found.plan.analog
    if not strategy.searches:
        return Candidates(chosen, found.fallbacks, judge, plan.analog)
    groups = [frozenset(group) for group in groups_of(graph, plan, options.together) if chosen.issuperset(group)]
    groups.sort(key=lambda group: -damage_of(graph, plan, group))

    def value(placement: frozenset[str]) -> float:
        return objective_value(graph, plan, options.goal.objective, placement)

    def allowed(placement: frozenset[str]) -> bool:
        pays = value(placement) < value(plan.analog)
        return pays and kept_limits(graph, _moved(found.plan, placement), options.goal)

    def paying(placement: frozenset[str]) -> frozenset[str]:
        if not strategy.follows_goal or options.goal.objective == "macs":
            return placement
        point = search_space(graph, plan, options).paying(placement)
        return placement if point is None else point.placement

    return Candidates(chosen, found.fallbacks, judge, plan.analog, groups, allowed, paying)


def _moved(plan: Plan, analog: frozenset[str]) -> Plan:
    """A plan with another placement, and why."""
    digital: dict[str, tuple[Placement, Reason, str]] = dict.fromkeys(
        plan.analog - analog, ("digital", "sensitivity", "made digital after verification")
    )
    more: dict[str, tuple[Placement, Reason, str]] = dict.fromkeys(analog - plan.analog, ("analog", "budget", KEPT))
    return plan.decide(digital | more)


def _stepped_back(
    plan: Plan, chosen: frozenset[str], kept: Verified, failed: list[Verified], verify: Evaluator, budget: Budget
) -> tuple[str, ...]:
    """What was made digital after the verification, and what was found of that which was not kept."""
    dropped = sorted(chosen - kept.placement)
    if not dropped:
        return ()
    titles = [plan.titles[name] for name in dropped]
    if len(titles) > MOST_NAMED:
        titles[MOST_NAMED:] = [f"{len(titles) - MOST_NAMED} more"]

    def drop(value: float) -> str:
        return format_drop(value, verify.metric.percent or budget.relative, 2)

    first = failed[0].verdict
    layers = f"{len(chosen)} analog layer{'' if len(chosen) == 1 else 's'}"
    beyond = f"mean drop {drop(first.evaluation.drop)}, at most {drop(first.bound)}"
    return (
        f"stepped back after verification: {', '.join(titles)} digital",
        f"verified before that: {layers}, {beyond}; not shown to hold {drop(budget.max_drop)}",
    )


def _best_so_far(judge: PlacementJudge, graph: LayerGraph, plan: Plan, objective: Objective) -> PassResult:
    """What the search had accepted when the time was over, the best by the objective first."""
    accepted = [placement for placement, verdict in judge.verdicts.items() if verdict.accepted]
    accepted.sort(key=lambda placement: objective_value(graph, plan, objective, placement))
    best = accepted[0] if accepted else plan.analog
    decisions: dict[str, tuple[Placement, Reason, str]] = {
        name: ("analog", "budget", KEPT)
        if name in best
        else ("digital", "budget", "not found to fit before the time was over")
        for name in plan.eligible
    }
    note = f"--timeout ended the search after {len(judge.verdicts)} placements; run again to go on"
    return PassResult(plan.decide(decisions), fallbacks=tuple(accepted[1:]), notes=(note,))
