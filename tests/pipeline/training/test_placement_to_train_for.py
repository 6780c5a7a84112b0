"""What a network is trained for, and whether once more."""

from dataclasses import replace

import pytest

from lhc.commands.partition import begin, preparation, strategy_for
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure import Budget, PlacementJudge, Running
from lhc.options.by_command import PartitionOptions
from lhc.passes import STRATEGIES, Goal, PassResult, SearchOptions
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.pipeline_state import SearchedNetwork, SearchResult
from lhc.pipeline.steps.rank import Rank
from lhc.pipeline.steps.search import CheckBudget, Search
from lhc.pipeline.training.placement_to_train_for import (
    LEFT,
    falls_short,
    fits_as_given,
    proposed,
    reached,
    training_target,
)
from tests.passes.costly_networks import mobile

pytestmark = pytest.mark.analog

UNHEALED = Hardware.load("lionheart").with_drift_compensation_alone()
"""On which some layers of digits-narrow do damage that training could not make good."""


@pytest.fixture(scope="module")
def searched() -> SearchedNetwork:
    """Digits-narrow, ranked and searched."""
    options = PartitionOptions(
        "digits-narrow", hardware=UNHEALED, max_drop=0.02, draws=2, samples=200, objective="macs"
    )
    kind = strategy_for(options)
    state = preparation(options).apply(begin(options, Running(), open_model("digits-narrow")))
    return Search(kind).apply(Rank("auto", kind).apply(CheckBudget().apply(state)))


def with_budget(state: SearchedNetwork, max_drop: float) -> SearchedNetwork:
    """The same search, for another budget."""
    return replace(state, budget=replace(state.budget, max_drop=max_drop))


def test_it_is_trained_for_what_is_at_the_budget_once_it_is_trained(searched: SearchedNetwork) -> None:
    """Least damage for what they bring first, up to the drop of which training leaves the budget."""
    names = frozenset(searched.measurable)
    assert training_target(with_budget(searched, 0.5)) == names
    drops = {p: v.evaluation.drop for p, v in searched.searched.judge.verdicts.items()}

    some = training_target(with_budget(searched, LEFT * drops[names] / 3))

    damage = {row.name: row.sensitivity.mean for row in searched.plan.layers if row.sensitivity is not None}
    macs = {row.name: row.macs for row in searched.plan.layers}
    assert 0 < len(some) < len(names)
    assert sum(damage[name] for name in some) <= 0.8 * sum(damage.values()), "a third of the drop, give or take"
    assert max(damage[name] / macs[name] for name in some) <= min(damage[n] / macs[n] for n in names - some)
    rows = tuple(row.model_copy(update={"sensitivity": None}) for row in searched.plan.layers)
    unranked = replace(searched, plan=searched.plan.model_copy(update={"layers": rows}))
    assert training_target(with_budget(unranked, 0.001)) == names, "of no layer is it known what it does"


def test_layers_that_share_weights_are_trained_as_analog_together_or_not_at_all(searched: SearchedNetwork) -> None:
    names = frozenset(searched.measurable)
    first = training_target(with_budget(searched, 0.002))
    one, other = min(first), min(names - first)
    apart = searched.graph
    shared = [replace(layer, weight=apart[one].weight) if layer.name == other else layer for layer in apart.layers]
    tied = replace(searched, graph=LayerGraph(shared, apart.inputs, apart.outputs))

    for budget in (0.0005, 0.002, 0.008):
        some = training_target(with_budget(tied, budget))
        assert (one in some) == (other in some)


def test_layers_that_do_not_pay_are_not_trained_as_analog(searched: SearchedNetwork) -> None:
    graph, plan = mobile()
    names = plan.eligible
    judge = PlacementJudge(searched.evaluator(searched.task.head(2)), Budget())

    def target(objective: str, forced: str | None = None) -> frozenset[str]:
        placed = plan if forced is None else plan.decide({forced: ("analog", "forced", "")})
        options = SearchOptions(Goal("energy" if objective == "energy" else "macs"))
        found = SearchResult(PassResult(placed), STRATEGIES["sensitivity"], judge, options)
        return training_target(replace(searched, graph=graph, plan=placed, searched=found))

    assert target("energy") == {name for name in names if "depthwise" not in name}
    assert target("macs") == set(names)
    assert "block0.depthwise" in target("energy", "block0.depthwise")


def test_a_rule_says_itself_what_is_trained(searched: SearchedNetwork) -> None:
    found = searched.searched
    rule = replace(searched, searched=replace(found, strategy=STRATEGIES["first-last"]))
    assert training_target(rule) == proposed(rule) < frozenset(searched.measurable)


def test_a_second_training_is_for_weights_that_hold_far_less_than_they_were_trained_for(
    searched: SearchedNetwork,
) -> None:
    names = frozenset(searched.measurable)
    judge = PlacementJudge(searched.searched.judge.evaluator, searched.budget)

    def found(analog: frozenset[str]) -> SearchedNetwork:
        """A search that came to this without judging anything."""
        digital = searched.plan.decide(dict.fromkeys(names - analog, ("digital", "sensitivity", "")))
        plan = digital.decide(dict.fromkeys(analog, ("analog", "budget", "")))
        return replace(
            searched, searched=SearchResult(PassResult(plan), STRATEGIES["sensitivity"], judge, SearchOptions())
        )

    assert not falls_short(found(names), names)
    assert not falls_short(found(frozenset()), names), "there is nothing to train for"
    assert falls_short(found(frozenset({min(names)})), names)
    assert fits_as_given(found(names))
    assert not fits_as_given(found(frozenset({min(names)})))


def test_what_is_predicted_to_hold_weighs_all_that_was_judged(searched: SearchedNetwork) -> None:
    """One placement that seemed to hold by chance, or not to, is not what counts."""
    verdicts = searched.searched.judge.verdicts
    drops = [verdict.evaluation.drop for verdict in verdicts.values()]
    assert reached(with_budget(searched, 2 * max(drops))) == frozenset(searched.measurable)
    shares = [len(reached(with_budget(searched, budget))) for budget in (0.001, 0.01, 0.03, 0.3)]
    assert shares == sorted(shares)
    assert 0 < shares[1] < len(searched.measurable)
