"""Search placements worth testing, on the samples that rank."""

from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.errors import OutOfTimeError
from lhc.graph import LayerGraph
from lhc.measure import PlacementJudge, steadied
from lhc.passes import STRATEGIES, Objective, PassResult, SearchOptions, Strategy, objective_value
from lhc.pipeline.inputs.objective import search_options
from lhc.pipeline.measurement_warnings import warn_of_doubtful_labels, warn_of_few_samples
from lhc.pipeline.pipeline_state import KEPT, BudgetedNetwork, BudgetedT, SearchedNetwork, SearchResult
from lhc.plan import Decision, Plan


@dataclass(frozen=True)
class Search:
    """Let a strategy find a placement; the judge asks chips of the search on the samples that rank."""

    strategy: type[Strategy]
    requires: ClassVar[frozenset[str]] = frozenset({"parity", "ranges", "samples", "sensitivities", "budget"})
    ensures: ClassVar[frozenset[str]] = frozenset({"placement"})

    @property
    def name(self) -> str:
        """With that of the strategy."""
        return f"search:{self.strategy.name}"

    def apply(self, state: BudgetedNetwork) -> SearchedNetwork:
        """The network with the placements that the search found."""
        if state.late:
            found = _searched(state, STRATEGIES["all-digital"])
            return state.advanced(SearchedNetwork, searched=replace(found, result=_out_of_time(found.result)))
        best, found = state, _searched(state, self.strategy)
        for digital in state.precisions if self.strategy.follows_goal else ():
            other = replace(state, plan=state.plan.model_copy(update={"digital": digital}))
            try:
                tried = _searched(other, self.strategy)
                if _rank(other, tried) < _rank(best, found):
                    best, found = other, tried
            except OutOfTimeError:
                break
        return best.advanced(SearchedNetwork, searched=found)


def _searched(state: BudgetedNetwork, strategy: type[Strategy]) -> SearchResult:
    """Placements for a network whose digital products compute as its plan has it."""
    curved = state.splits.rank if "curvatures" in strategy.requires and state.follow is None else None
    return search(state.graph, state.plan, strategy, judge_of_search(state), search_options(state, curved))


def _rank(state: BudgetedNetwork, found: SearchResult) -> tuple[bool, float, int]:
    """What is less is better: within the budget on the samples of the search, the objective, fewer products raised."""
    plan = found.result.plan
    accepted = found.judge.within(plan.analog).accepted
    return not accepted, objective_value(state.graph, plan, state.goal.objective, plan.analog), len(plan.raised)


def _out_of_time(result: PassResult) -> PassResult:
    """A result that is all digital since the time was over: no rule of the user's strategy placed it."""
    detail = "not every layer was ranked before the time was over (--timeout); run again to go on"
    why: Decision = ("digital", "time", detail)
    rows = [row.name for row in result.plan.layers if row.reason == "strategy"]
    return replace(result, plan=result.plan.decide(dict.fromkeys(rows, why)))


def judge_of_search(state: BudgetedNetwork) -> PlacementJudge:
    """Judges by the samples that rank, and chips of the search.

    What a retrained network loses without any analog layer is the same for all placements, and differs by more than a
    budget from one thousand samples to another. It is taken from all samples, unless the budget is to hold for others
    too: on these samples it is no matter of chance.
    """
    evaluator = state.judging_evaluator(state.splits.rank)
    if not (state.budget.generalize or state.further):
        evaluator = steadied(evaluator, state.judging_evaluator(state.splits.verify))
    return PlacementJudge(evaluator, state.budget, "searching:", layers_in=state.layers_in)


@dataclass(frozen=True)
class CheckBudget:
    """Refuse a budget that has no meaning for the samples, and warn of samples that can show little."""

    name: ClassVar[str] = "check-budget"
    requires: ClassVar[frozenset[str]] = frozenset({"samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"budget"})

    def apply(self, state: BudgetedT) -> BudgetedT:
        """The same network."""
        verify = state.judging_evaluator(state.splits.verify, limited=False)
        state.budget.check(verify)
        if state.original is None:
            warn_of_doubtful_labels(verify)
            warn_of_few_samples(verify, state.budget)
        return state


def search(
    graph: LayerGraph, plan: Plan, strategy: type[Strategy], judge: PlacementJudge, options: SearchOptions
) -> SearchResult:
    """Search placements; when the time is over, the best that was accepted by then.

    Args:
        plan: qualified, with sensitivities where the strategy needs them.
        judge: of the search, with its samples and the budget.
    """
    try:
        found = strategy(judge, options).run(graph, plan)
    except OutOfTimeError:
        found = _best_so_far(judge, graph, plan, options.goal.objective)
    return SearchResult(found, strategy, judge, options)


def _best_so_far(judge: PlacementJudge, graph: LayerGraph, plan: Plan, objective: Objective) -> PassResult:
    """Placements that the search had accepted when the time was over, the best by the objective first."""
    accepted = [placement for placement, verdict in judge.verdicts.items() if verdict.accepted]
    accepted.sort(key=lambda placement: objective_value(graph, plan, objective, placement))
    best = accepted[0] if accepted else plan.analog
    decisions: dict[str, Decision] = {
        name: ("analog", "budget", KEPT)
        if name in best
        else ("digital", "sensitivity", "not found to fit before the time was over")
        for name in plan.eligible
    }
    note = f"--timeout ended the search after {len(judge.verdicts)} placements; run again to go on"
    return PassResult(plan.decide(decisions), fallbacks=tuple(accepted[1:]), notes=(note,))
