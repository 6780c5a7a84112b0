"""Search a placement, then verify it on samples and chips that the search has not seen.

The search may be lucky: among many placements the best-looking one looks better than it is. So the chosen one is
judged again, on other samples (where there are enough) and on other chips. If it fails, safer placements from the
search's path are tried, at most three. The chance of error is divided over these tests: three fifths for the first, the
rest for the others together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lhc.errors import OutOfTimeError
from lhc.exploration import Calibration
from lhc.graph import LayerGraph
from lhc.measure.judge import Budget, PlacementJudge, judge_once
from lhc.measure.measurement import Evaluator
from lhc.passes import PassResult, SearchOptions, Strategy, damage_of
from lhc.plan import Placement, Plan, Reason
from lhc.results import Verdict
from lhc.stats import one_sided, split_level

__all__ = ["Found", "place"]

MAX_STEPS_BACK = 3
FIRST_SHARE = 0.6
NOTHING_ANALOG = (
    "nothing is analog: no placement that was tried was shown to hold the budget; more samples or --draws narrow the"
    " intervals, and a larger --max-drop allows more"
)


@dataclass(frozen=True)
class Found:
    """A placement and how it did when it was verified.

    Attributes:
        plan: the placement that is kept: the first that holds the budget, else the one with the least drop.
        verdict: its verification.
        notes: sentences for the user.
        evaluations: placements that the search judged.
        calibration: their drops against their estimated damages; None where sensitivities were not measured.
    """

    plan: Plan
    verdict: Verdict
    notes: tuple[str, ...]
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
        found = _best_so_far(judge, plan)
    fallbacks = found.fallbacks[:MAX_STEPS_BACK]
    analog, verdict = _verify(found.plan.analog, fallbacks, verify, budget, again)
    dropped = found.plan.analog - analog
    notes = found.notes
    if dropped:
        titles = ", ".join(plan.titles[name] for name in sorted(dropped))
        notes += (f"stepped back after verification: {titles} digital",)
    if judge.verdicts and plan.eligible and not analog:
        notes += (NOTHING_ANALOG,)
    detail = "made digital after verification"
    final = found.plan.decide(dict.fromkeys(dropped, ("digital", "sensitivity", detail)))
    judged = {placement: verdict.evaluation.drop for placement, verdict in judge.verdicts.items()}
    damages = [damage_of(graph, plan, placement) for placement in judged]
    return Found(final, verdict, notes, len(judged), Calibration.of(damages, list(judged.values())))


def _best_so_far(judge: PlacementJudge, plan: Plan) -> PassResult:
    """What the search had accepted when the time was over, safer ones behind it."""
    macs = {layer.name: layer.macs for layer in plan.layers}
    accepted = [placement for placement, verdict in judge.verdicts.items() if verdict.accepted]
    accepted.sort(key=lambda placement: -sum(macs[name] for name in placement))
    best = accepted[0] if accepted else plan.analog
    decisions: dict[str, tuple[Placement, Reason, str]] = {
        name: ("analog", "budget", "within the budget together with the other analog layers")
        if name in best
        else ("digital", "budget", "not found to fit before the time was over")
        for name in plan.eligible
    }
    note = f"--timeout ended the search after {len(judge.verdicts)} placements; run again to go on"
    return PassResult(plan.decide(decisions), fallbacks=tuple(accepted[1:]), notes=(note,))


def _verify(
    chosen: frozenset[str], fallbacks: Sequence[frozenset[str]], verify: Evaluator, budget: Budget, again: bool
) -> tuple[frozenset[str], Verdict]:
    first = verify.draws * (2 if again else 1)
    chips = range(first, first + verify.draws)
    errors = split_level(one_sided(budget.confidence), 1 + len(fallbacks), FIRST_SHARE)
    tried: list[tuple[frozenset[str], Verdict]] = []
    for placement, error in zip([chosen, *fallbacks], errors, strict=True):
        what = f"verifying {len(placement)} analog layers"
        tried.append((placement, judge_once(verify, placement, budget, chips, error, what)))
        if tried[-1][1].accepted:
            return tried[-1]
    return min(tried, key=lambda one: one[1].evaluation.drop)
