"""When a budget cannot be met: how near one can come, what stands in the way, and what would help, all measured.

Every figure comes from the samples and chips of the verification, which the search has not looked at. What was verified
is told as it was then; what is measured beside it is judged at the level of the placement that is explained.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.errors import OutOfTimeError
from lhc.graph import LayerGraph
from lhc.measure.bench import Bench
from lhc.measure.judge import Budget, PlacementJudge
from lhc.measure.measurement import evaluation
from lhc.passes import SearchOptions, damage_of, search_space
from lhc.plan import Plan
from lhc.results import Evaluation, Infeasibility, Remedy
from lhc.study.candidates import Verified, fewest_in_the_way
from lhc.study.state import Study
from lhc.study.verify import verifying_chips

__all__ = ["Explain", "explain_infeasibility"]

SHORTER_TIMES_S = (3600.0, 0.0)
MORE_BITS = 2


@dataclass(frozen=True)
class Explain:
    """Where the budget is not met, measure what stands in the way and what would help."""

    name: ClassVar[str] = "explain"
    requires: ClassVar[frozenset[str]] = frozenset({"verified"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, study: Study) -> Study:
        """The study with the explanation, where there is something to explain."""
        unexplained = _unexplained(study)
        if not unexplained:
            return study
        assert study.searched is not None
        verify = study.bench(study.splits.verify)
        chips = verifying_chips(verify.draws, study.follow is not None)
        options, judge = study.searched.options, study.searched.judge
        try:
            found = explain_infeasibility(study.graph, study.plan, unexplained, options, judge, verify, chips)
        except OutOfTimeError:
            return study.noted("--timeout: what stands in the way of the budget was not measured; run again to go on")
        return replace(study, infeasibility=found)


def _unexplained(study: Study) -> tuple[Verified, ...]:
    """What is to be explained, with all else that was verified: the placement that fails, or fell through to nothing.

    Nothing where the search itself ended with nothing analog: then no placement was verified.
    """
    found = study.found
    assert found is not None
    kept = Verified(found.plan.analog, found.verdict)
    if not found.verdict.accepted and study.plan.layers:
        return (kept, *found.failed)
    if found.failed and found.plan.analog == study.plan.analog:
        return (*found.failed, kept)
    return ()


@dataclass(frozen=True, eq=False)
class _Case:
    graph: LayerGraph
    plan: Plan
    options: SearchOptions
    judge: PlacementJudge
    verify: Bench
    budget: Budget
    chips: range
    verified: Mapping[frozenset[str], Evaluation]

    def evaluate(self, placement: frozenset[str], what: str, bench: Bench | None = None) -> Evaluation:
        if bench in (None, self.verify) and placement in self.verified:
            return self.verified[placement]
        chosen = bench or self.verify
        measured = chosen.measure(placement, self.chips, f"infeasible: {what}")
        return evaluation(measured, chosen, self.budget.relative, self.budget.confidence)

    def holds(self, found: Evaluation) -> bool:
        return self.budget.status(found) == "accepted"

    def order(self, placement: frozenset[str]) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.plan.layers if layer.name in placement)


def explain_infeasibility(
    graph: LayerGraph,
    plan: Plan,
    verified: Sequence[Verified],
    options: SearchOptions,
    judge: PlacementJudge,
    verify: Bench,
    chips: range,
) -> Infeasibility:
    """Explain why a placement that was verified does not hold the budget.

    Args:
        graph: the layers.
        plan: qualified, with what the user fixed, and with sensitivities where these were measured.
        verified: the placement, and others that were verified with it.
        options: limits.
        judge: of the search, for the search of layers in the way.
        verify: samples of the verification.
        chips: numbers of its programmings.

    Raises:
        OutOfTimeError: the time that the user gave was over before there was anything to tell.
    """
    analog, found = verified[0].placement, verified[0].verdict.evaluation
    budget = replace(judge.budget, confidence=found.confidence)
    known = {one.placement: one.verdict.evaluation for one in verified}
    case = _Case(graph, plan, options, judge, verify, budget, chips, known)
    safest = search_space(graph, plan, options).safest()
    least = plan.analog if safest is None else safest.placement
    least_found = case.evaluate(least, "the safest placement")
    interval = budget.interval(found)
    try:
        in_the_way, without = _in_the_way(case, analog)
    except OutOfTimeError:
        in_the_way, without = (), None
    return Infeasibility(
        analog=case.order(analog),
        least=least_found,
        nearest_budget=found.drop if interval is None else max(interval[1], 0.0),
        in_the_way=in_the_way,
        without=without,
        remedies=tuple(_remedies(case, analog)),
    )


def _in_the_way(case: _Case, analog: frozenset[str]) -> tuple[tuple[str, ...], Evaluation | None]:
    """The fewest most damaging layers without which the rest holds, by bisection on the search's samples."""
    ties = sorted(case.graph.tied(case.order(analog)), key=lambda tie: -damage_of(case.graph, case.plan, tie))
    removed = frozenset[str]().union(*fewest_in_the_way(case.judge, analog, list(map(frozenset, ties))))
    if not removed:
        return (), None
    return case.order(removed), case.evaluate(analog - removed, f"without {len(removed)} layers")


def _remedies(case: _Case, analog: frozenset[str]) -> Iterator[Remedy]:
    """Changes of the machine, each measured; as many as there is time for."""
    for change, placement, bench in (*_times(case, analog), *_bits(case, analog), *_tiles(case)):
        try:
            found = case.evaluate(placement, change, bench)
        except OutOfTimeError:
            return
        yield Remedy(change, case.order(placement), found, case.holds(found))


Change = tuple[str, frozenset[str], Bench]


def _times(case: _Case, analog: frozenset[str]) -> Iterator[Change]:
    shorter = [t for t in SHORTER_TIMES_S if t < case.verify.t_s and _known(case.verify, t)]
    for t_s in shorter:
        yield f"--t-inference {case.verify.t_s:g} -> {t_s:g}", analog, replace(case.verify, t_s=t_s)


def _known(bench: Bench, t_s: float) -> bool:
    devices = bench.hardware.devices
    return devices is not None and devices.time_problem(t_s) is None


def _bits(case: _Case, analog: frozenset[str]) -> Iterator[Change]:
    machine = case.verify.hardware
    if machine.adc.bits is not None:
        more = machine.adc.bits + MORE_BITS
        finer = machine.model_copy(update={"adc": machine.adc.model_copy(update={"bits": more})})
        yield f"adc.bits {machine.adc.bits} -> {more}", analog, replace(case.verify, hardware=finer)


def _tiles(case: _Case) -> Iterator[Change]:
    """Twice the tiles, where that gives a safer placement."""
    goal, count = case.options.goal, case.plan.hardware.tiles.count
    bounds = [bound for bound in (count, goal.max_tiles) if bound is not None]
    if not bounds:
        return
    doubled = 2 * min(bounds)
    tiles = case.plan.hardware.tiles.model_copy(update={"count": doubled})
    roomy = case.plan.model_copy(update={"hardware": case.plan.hardware.model_copy(update={"tiles": tiles})})
    more = replace(case.options, goal=replace(goal, max_tiles=doubled))
    before = search_space(case.graph, case.plan, case.options).safest()
    after = search_space(case.graph, roomy, more).safest()
    if after is not None and (before is None or after.placement != before.placement):
        yield f"tiles {min(bounds)} -> {doubled}", after.placement, case.verify
