"""Test what a search proposes on samples and chips that it has not seen, and keep the best that is shown to hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import ClassVar

from lhc.errors import OutOfTimeError
from lhc.graph import LayerGraph, columns_of
from lhc.measure import Budget, Evaluator
from lhc.measure.budget_test import sequential_test
from lhc.passes import NOT_MET, damage_of, groups_of, kept_limits, objective_value, search_space
from lhc.passes.search.reasons_and_fallbacks import too_costly
from lhc.pipeline.measurement_warnings import warn_of_other_samples, warn_of_wrong_direction
from lhc.pipeline.pipeline_state import KEPT, SearchedNetwork, SearchResult, Verification, VerifiedNetwork
from lhc.pipeline.steps.verify.fixed_sequence_test import Path, Verified, fixed_sequence_test
from lhc.plan import Decision, LayerPlan, Plan
from lhc.plan.recurrent_steps import folded_titles
from lhc.results import Verdict
from lhc.stats import chips_needed, enough, one_sided, two_sided
from lhc.support.number_formatting import counted, drop_text

FIRST_CHIP, FIRST_CHIP_OF_A_PLAN, FIRST_CHIP_OF_A_TRAINING = 10_000, 10_000_000, 20_000_000
"""Number of the first programming that tests: what was searched, a plan of an earlier command, what was trained.

Those of searches and validations lie before all of them, and no command tests as many as lie between them."""
MOST_BEYOND = 2.0
"""Budgets that a search may have seen of what is tested all the same."""
MOST_NAMED = 5
"""Layers that a note names."""
MOST_TIMES_MORE = 100
"""Times the chips or samples of a test that a remedy may ask for."""
NOTHING_ANALOG = "nothing is analog: no placement that was tested meets the budget"
SEVERAL = (
    "several outputs are judged: a drop in these notes is the greatest of theirs as a share of its budget, in the unit"
    " of the first"
)
NOT_SHOWN = "not shown to hold the budget; of what was tested and keeps to the limits, this has the least drop"
NARROWER = "more samples or --max-draws narrow the intervals, and a larger --max-drop allows more"
LARGER = "the mean of each is over it, so a larger --max-drop allows more, and more samples or chips do not"


@dataclass(frozen=True)
class Verify:
    """Test placements on the samples that verify and on chips that nothing was chosen by.

    Attributes:
        most: chips for a test.
        share: part of the chance of error that these tests may spend; the rest is for others of the command.
    """

    most: int = 100
    share: float = 1.0
    name: ClassVar[str] = "verify"
    requires: ClassVar[frozenset[str]] = frozenset({"placement", "budget"})
    ensures: ClassVar[frozenset[str]] = frozenset({"verified"})

    def apply(self, state: SearchedNetwork) -> VerifiedNetwork:
        """The network with the placement that is kept."""
        budget = state.budget
        if self.share < 1:
            budget = replace(budget, confidence=two_sided(self.share * one_sided(budget.confidence)))
        verifier = Verifier(
            state.judging_evaluator(state.splits.verify),
            state.judging_evaluator(state.splits.verify, limited=False),
            budget,
            self.most,
            state.follow is not None,
            state.layers_in,
        )
        found = verified(state.graph, state.plan, state.searched, verifier, base_drop(state))
        warn_of_other_samples(found.verdict, budget)
        if state.original is None:  # training may improve a network by far
            warn_of_wrong_direction(found.verdict, budget)
        final = found.plan.with_copies(state.graph, state.copies.of(found.plan.analog))
        notes = (SEVERAL, *found.notes) if state.further else found.notes
        return state.advanced(VerifiedNetwork, found=replace(found, plan=final)).noted(*notes)


def base_drop(state: SearchedNetwork) -> float:
    """Drop of the network without the free layers: where it is another one; 0 where there is no time to look."""
    if state.original is None and state.plan.digital is None:
        return 0.0
    try:
        return state.searched.judge.within(state.plan.analog).evaluation.drop
    except OutOfTimeError:
        return 0.0


@dataclass(frozen=True, eq=False)
class Verifier:
    """Samples and chips that placements are tested on.

    Attributes:
        verify: samples, and the least number of chips.
        sure: the same, even where the time that the user gave is over.
        most: chips for a test.
        again: the plan comes from an earlier command; it is tested on chips that this one did not see either.
        layers_in: how many layers a placement has as people count them, for the progress.
    """

    verify: Evaluator
    sure: Evaluator
    budget: Budget
    most: int = 100
    again: bool = False
    layers_in: Callable[[frozenset[str]], int] = len

    def test(self, placement: frozenset[str], number: int, error: float, begin: bool) -> Verified:
        """See `lhc.pipeline.steps.verify.fixed_sequence_test.Trial`."""
        chips = _verifying_chips(number, self.most, self.again)
        what = f"testing {counted(self.layers_in(placement), 'analog layer')}"
        first = self.sure if begin else None
        verdict = sequential_test(self.verify, placement, self.budget, chips, error, what, first)
        return Verified(placement, verdict, chips[: verdict.evaluation.draws])


def _verifying_chips(number: int, most: int, again: bool = False) -> range:
    """Numbers of the programmings of a test: each has its own.

    Args:
        most: chips for each.
        again: the plan comes from an earlier command.
    """
    first = (FIRST_CHIP_OF_A_PLAN if again else FIRST_CHIP) + number * most
    return range(first, first + most)


def verified(
    graph: LayerGraph, plan: Plan, searched: SearchResult, verifier: Verifier, base: float = 0.0
) -> Verification:
    """Test what a search found.

    Args:
        base: the drop of the network without analog layers, where it was retrained.
    """
    found, judge, budget = searched.result, searched.judge, verifier.budget
    path, error = path_of(graph, plan, searched, base), one_sided(budget.confidence)
    *others, kept = fixed_sequence_test(path, verifier.test, budget.max_drop, verifier.most, error, budget.share)
    failed = tuple(one for one in others if not one.verdict.accepted)
    final = found.plan
    if kept.placement != final.analog:
        pays = _must_pay(searched)
        costly = too_costly(plan, search_space(graph, plan, searched.options), kept.placement) if pays else {}
        final = _moved(final, kept.placement, costly)
    if searched.strategy.searches:
        tests = {one.placement: one.verdict.accepted for one in (*others, kept)}
        final = final.decide(
            _why_digital(final, groups_of(graph, plan, searched.options.together), judge.verdicts, tests)
        )
        if not kept.verdict.accepted:
            final = final.decide({row.name: ("analog", "placed", NOT_SHOWN) for row in final.layers if _is_within(row)})
    notes = (*found.notes, *_beyond(plan, kept, failed, verifier))
    tried = (*judge.verdicts.items(), *((one.placement, one.verdict) for one in failed))
    missed = [verdict.evaluation.drop for placement, verdict in tried if placement and not verdict.accepted]
    if missed and plan.eligible and not kept.placement:
        notes += (f"{NOTHING_ANALOG}; {NARROWER if min(missed) <= budget.max_drop else LARGER}",)
    return Verification(final, kept.verdict, notes, dict(judge.verdicts), failed, (*others, kept), kept.chips)


def path_of(graph: LayerGraph, plan: Plan, searched: SearchResult, base: float = 0.0) -> Path:
    """Path of tests from a search: safer placements, the chosen one, and bolder ones.

    A rule is tested as it is, and nothing beside it.
    """
    found, chosen, ground = searched.result, searched.result.plan.analog, plan.analog
    if not searched.strategy.searches:
        return Path(ground, (chosen,), (0.0,), grounded=False)
    bolder = found.bolder or _judged_bolder(graph, plan, searched)
    whole = dict.fromkeys((*reversed(found.fallbacks), chosen, *bolder))
    steps = tuple(placement for placement in whole if placement != ground)
    # A search that ran out of time, or one of the user's own, may not name what is safest.
    grounded = ground in whole or kept_limits(graph, _moved(found.plan, ground, {}), searched.options.goal)
    known = any(layer.sensitivity is not None for layer in plan.layers)

    def damage(placement: frozenset[str]) -> float:
        """Without sensitivities every layer counts the same."""
        if not known:
            return float(len(placement - ground))
        return damage_of(graph, plan, placement, searched.options.copies.of(placement))

    damages = tuple(accumulate(map(damage, steps), max))
    judged = [
        (
            damage(placement),
            verdict.evaluation.drop,
            _standard_error(verdict.evaluation.sample_interval, verdict.evaluation.drop),
        )
        for placement, verdict in searched.judge.verdicts.items()
    ]
    adapts = not searched.judge.budget.generalize
    return Path(ground, steps, damages, judged, base, grounded, adapts)


def _judged_bolder(graph: LayerGraph, plan: Plan, searched: SearchResult) -> list[frozenset[str]]:
    """Placements that a search judged and did not take, each better than the one before, the least drop first.

    A few chips and samples may have been unlucky.
    """
    goal, judge = searched.options.goal, searched.judge
    better: list[frozenset[str]] = []
    best = objective_value(graph, plan, goal.objective, searched.result.plan.analog)
    judged = sorted(judge.verdicts.items(), key=lambda one: (one[1].evaluation.drop, len(one[0])))
    for placement, verdict in judged:
        value = objective_value(graph, plan, goal.objective, placement)
        allowed = kept_limits(graph, _moved(searched.result.plan, placement, {}), goal)
        if value < best and allowed and verdict.evaluation.drop <= MOST_BEYOND * judge.budget.max_drop:
            best = value
            better.append(placement)
    return better


def _standard_error(interval: tuple[float, float] | None, drop: float) -> float:
    """About that of a mean with such an interval, whose lower end is cut at what can be; 0 where none is known."""
    return 0.0 if interval is None else (interval[1] - drop) / 2


def _must_pay(searched: SearchResult) -> bool:
    """Whether no layer may be analog that costs more than it saves."""
    return searched.strategy.follows_goal and searched.options.goal.objective != "macs"


def _moved(plan: Plan, analog: frozenset[str], costly: Mapping[str, str]) -> Plan:
    """A plan with another placement, and why; ``costly``: what layers cost more than they save beside it."""
    cost = {row.name for row in plan.layers if row.reason == "cost"}
    digital: dict[str, Decision] = {
        name: ("digital", "cost", costly[name]) if name in costly else ("digital", "sensitivity", NOT_MET)
        for name in (plan.analog | cost) - analog
    }
    more: dict[str, Decision] = dict.fromkeys(analog - plan.analog, ("analog", "budget", KEPT))
    return plan.decide(digital | more)


def _why_digital(
    plan: Plan,
    groups: Sequence[tuple[str, ...]],
    judged: Mapping[frozenset[str], Verdict],
    tests: Mapping[frozenset[str], bool],
) -> dict[str, Decision]:
    """Why layers stay digital: each was tried alone beside the analog ones, with others, or not at all.

    Args:
        plan: with the placement that is kept.
        groups: layers that move together.
        judged: by the search.
        tests: placement -> whether it was shown to hold.
    """
    analog = plan.analog
    tries = [(one, "") for one, held in tests.items() if not held]
    tries += [(one, " in the search") for one, verdict in judged.items() if not verdict.accepted and one not in tests]
    tries.sort(key=lambda one: len(one[0] ^ analog))  # the nearest first, tests before what the search judged
    tied, titles = {name: group for group in groups for name in group}, folded_titles(plan)
    digital = [f" and {_named(titles, gone)} digital" if (gone := analog - placement) else "" for placement, _ in tries]

    def why(name: str) -> str:
        for (placement, where), without in zip(tries, digital, strict=True):
            if name in placement:
                others = (placement - analog).difference(tied.get(name, (name,)))
                if others:
                    return f"tried only with {_named(titles, others)} on tiles too{without}: budget not met{where}"
                return f"with it analog{without} the budget is not met{where}" if without else f"{NOT_MET}{where}"
        return "not tested beside the layers that are analog" if analog else "not tested"

    return {
        row.name: ("digital", row.reason, why(row.name))
        for row in plan.layers
        if row.placement == "digital" and row.detail == NOT_MET
    }


def _is_within(row: LayerPlan) -> bool:
    """Whether a search has it analog as within the budget."""
    return row.placement == "analog" and row.reason == "budget"


def _named(titles: Mapping[str, str], names: frozenset[str]) -> str:
    """The first of some layers; ``titles``: see `folded_titles`."""
    found = list(dict.fromkeys(titles[name] for name in sorted(names)))
    if len(found) > MOST_NAMED:
        found[MOST_NAMED:] = [f"{len(found) - MOST_NAMED} more"]
    return ", ".join(found)


def _beyond(plan: Plan, kept: Verified, failed: Sequence[Verified], verifier: Verifier) -> tuple[str, ...]:
    """Bolder placements that failed their test, with their figures, and what would show that they hold."""
    word = "programming" if plan.hardware.faults.one_chip else "chip"
    if not kept.verdict.accepted:
        remedy = f"{_too_few_chips(kept, verifier.budget, word)}{_remedy(kept, verifier.budget, word)}"
        return (f"the budget is not met{remedy}",) if remedy else ()
    if not failed:
        return ()
    nearest = min(failed, key=lambda one: (len(one.placement), one.verdict.evaluation.drop))
    found, budget = nearest.verdict.evaluation, verifier.budget

    def drop(value: float) -> str:
        return drop_text(value, found.percent, budget.drop_type, budget.max_drop)

    mean = f"mean {found.drop_word} {drop(found.drop)}, at most {drop(nearest.verdict.bound)}"
    what, why = _difference(plan, kept.placement, nearest.placement), _too_few_chips(nearest, budget, word)
    beyond = f"{mean}, {counted(found.draws, word)}"
    return (f"tested too: {what}: {beyond}; {drop(budget.max_drop)} not met{why}{_remedy(nearest, budget, word)}",)


def _difference(plan: Plan, kept: frozenset[str], other: frozenset[str]) -> str:
    """Layers that differ between a placement and the kept one."""
    added, removed = other - kept, kept - other
    layers, titles = other.difference(map(columns_of, plan.digital_columns)), folded_titles(plan)
    text = counted(len({titles[name] for name in layers}), "analog layer")
    if added:
        text += f", with {_named(titles, added)}"
    return f"{text}, without {_named(titles, removed)}" if removed else text


def _too_few_chips(failed: Verified, budget: Budget, word: str) -> str:
    """Note that the chips which hold the budget do not show the wanted share of all chips; else empty."""
    if failed.verdict.yield_shown is not False or budget.share is None:
        return ""
    drops = failed.verdict.evaluation.drops
    holding = sum(drop <= budget.max_drop for drop in drops)
    return f"; {holding} of {len(drops)} {word}s hold it, which does not show {100 * budget.share:g} % of all"


def _remedy(failed: Verified, budget: Budget, word: str) -> str:
    """How many chips or samples would show it, if its mean drop is what it seems; nothing where none would."""
    found = failed.verdict.evaluation
    room, interval = budget.max_drop - found.drop, budget.interval(found)
    if room <= 0 or interval is None or interval[1] <= budget.max_drop:
        return ""
    half, most, what = interval[1] - found.drop, MOST_TIMES_MORE * found.draws, f"{word}s (--max-draws)"
    needed = chips_needed(found.draws, half, room, most, found.confidence)
    if budget.generalize:
        count, what = (found.samples, "samples") if found.documents is None else (found.documents, "documents")
        most, needed = MOST_TIMES_MORE * count, enough(count, half, room)
    if needed is None or needed > most:
        left = f"the mean {found.drop_word} is {drop_text(room, found.percent, budget.drop_type)} below the budget"
        return f"; {left}, and to show that it is met would take more than {most:,} {what}"
    return f"; about {needed} {what} would show that the budget is met, if that is its mean {found.drop_word}"
