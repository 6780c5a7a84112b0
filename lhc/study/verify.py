"""Verify what a search chose on samples and chips that it has not seen, and keep what is shown to hold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.graph import LayerGraph
from lhc.measure import Budget, Evaluator
from lhc.passes import damage_of, groups_of, kept_limits, objective_value, search_space
from lhc.passes.search_result import too_costly
from lhc.plan import Decision, Plan
from lhc.stats import one_sided, two_sided
from lhc.study.candidates import Candidates, Verified, verify_candidates
from lhc.study.cautions import warn_of_other_samples
from lhc.study.state import KEPT, Searched, Study, Verification
from lhc.support.numbers import counted, drop_text

__all__ = ["Verify", "verified", "verifying_chips"]

MADE_DIGITAL = "made digital after verification"
MOST_NAMED = 5
"""Layers that a note names."""
NOTHING_ANALOG = "nothing is analog: no placement that was tried was shown to hold the budget"
NARROWER = "more samples or --draws narrow the intervals, and a larger --max-drop allows more"
LARGER = "the mean drop of each is over it, so only a larger --max-drop allows more"


@dataclass(frozen=True)
class Verify:
    """Judge the placement on the samples that verify and on chips that nothing was chosen by.

    Attributes:
        share: part of the chance of error that this verification may spend; the rest is for others of the command.
    """

    share: float = 1.0
    name: ClassVar[str] = "verify"
    requires: ClassVar[frozenset[str]] = frozenset({"placement", "budget"})
    ensures: ClassVar[frozenset[str]] = frozenset({"verified"})

    def apply(self, study: Study) -> Study:
        """The study with the placement that is kept."""
        assert study.searched is not None
        verify = study.bench(study.splits.verify, limited=False)
        budget = study.allowed
        if self.share < 1:
            budget = replace(budget, confidence=two_sided(self.share * one_sided(budget.confidence)))
        found = verified(study.graph, study.plan, study.searched, verify, budget, study.follow is not None)
        warn_of_other_samples(found.verdict, budget)
        final = found.plan.with_copies(study.graph, study.copies.of(found.plan.analog))
        return replace(study, found=replace(found, plan=final)).noted(*found.notes)


def verified(
    graph: LayerGraph, plan: Plan, searched: Searched, verify: Evaluator, budget: Budget, again: bool = False
) -> Verification:
    """Verify what a search found.

    Args:
        graph: the layers.
        plan: as the search was given it.
        searched: what it found.
        verify: samples of the verification.
        budget: allowed drop.
        again: the plan comes from an earlier verification; it is judged on chips that this one did not see either.
    """
    found, judge = searched.result, searched.judge
    candidates = _candidates(graph, plan, searched)
    *failed, kept = verify_candidates(candidates, verify, budget, verifying_chips(verify.draws, again))
    costly: Mapping[str, str] = {}
    if _must_pay(searched) and not found.plan.analog <= kept.placement:
        costly = too_costly(plan, search_space(graph, plan, searched.options), kept.placement)
    final = _moved(found.plan, kept.placement, costly)
    notes = (*found.notes, *_stepped_back(plan, found.plan.analog, kept, failed, verify, budget))
    if judge.verdicts and plan.eligible and not kept.placement:
        tried = (*judge.verdicts.values(), *(one.verdict for one in failed))
        missed = any(one.evaluation.drop <= budget.max_drop for one in tried if not one.accepted)
        notes += (f"{NOTHING_ANALOG}; {NARROWER if missed else LARGER}",)
    return Verification(final, kept.verdict, notes, dict(judge.verdicts), tuple(failed))


def verifying_chips(draws: int, again: bool = False) -> range:
    """Numbers of the programmings that verify: those after the search's, or after an earlier verification's.

    Args:
        draws: programmings per placement.
        again: the plan comes from an earlier verification.
    """
    first = draws * (2 if again else 1)
    return range(first, first + draws)


def _candidates(graph: LayerGraph, plan: Plan, searched: Searched) -> Candidates:
    """What is verified; a rule is not stepped back from. Without what is in the way, the rest must still pay."""
    found, options, judge = searched.result, searched.options, searched.judge
    chosen = found.plan.analog
    if not searched.strategy.searches:
        return Candidates(chosen, found.fallbacks, judge, plan.analog)
    groups = [frozenset(group) for group in groups_of(graph, plan, options.together) if chosen.issuperset(group)]
    copies = options.copies.of(chosen)
    groups.sort(key=lambda group: -damage_of(graph, plan, group, copies))

    def value(placement: frozenset[str]) -> float:
        return objective_value(graph, plan, options.goal.objective, placement)

    def allowed(placement: frozenset[str]) -> bool:
        pays = value(placement) < value(plan.analog)
        return pays and kept_limits(graph, _moved(found.plan, placement, {}), options.goal)

    def paying(placement: frozenset[str]) -> frozenset[str]:
        if not _must_pay(searched):
            return placement
        point = search_space(graph, plan, options).paying(placement)
        return placement if point is None else point.placement

    return Candidates(chosen, found.fallbacks, judge, plan.analog, groups, allowed, paying)


def _must_pay(searched: Searched) -> bool:
    """Whether no layer may be analog that costs more than it saves."""
    return searched.strategy.follows_goal and searched.options.goal.objective != "macs"


def _moved(plan: Plan, analog: frozenset[str], costly: Mapping[str, str]) -> Plan:
    """A plan with another placement, and why; ``costly``: what layers cost more than they save beside it."""
    digital: dict[str, Decision] = {
        name: ("digital", "cost", f"{MADE_DIGITAL}; beside what is left it {costly[name]}")
        if name in costly
        else ("digital", "sensitivity", MADE_DIGITAL)
        for name in plan.analog - analog
    }
    more: dict[str, Decision] = dict.fromkeys(analog - plan.analog, ("analog", "budget", KEPT))
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
        return drop_text(value, verify.metric.percent, budget.drop_type)

    first = failed[0].verdict
    layers = counted(len(chosen), "analog layer")
    beyond = f"mean drop {drop(first.evaluation.drop)}, at most {drop(first.bound)}"
    return (
        f"stepped back after verification: {', '.join(titles)} digital",
        f"verified before that: {layers}, {beyond}; not shown to hold {drop(budget.max_drop)}",
    )
