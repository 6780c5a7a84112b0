"""What is tested of what a search found, what is kept of it, and what is said, on a fake evaluator of known truth."""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from lhc.errors import OutOfTimeError
from lhc.graph import LayerGraph
from lhc.measure import Budget, PlacementJudge, SampleScores, evaluation
from lhc.passes import (
    NOT_MET,
    STRATEGIES,
    Goal,
    PassResult,
    SearchOptions,
    Strategy,
    decide,
    objective_value,
    search_space,
)
from lhc.passes.search.reasons_and_fallbacks import explained
from lhc.passes.strategies.lionheart_retraining import already_walked
from lhc.pipeline.steps.search import search
from lhc.pipeline.steps.verify.fixed_sequence_test import Path
from lhc.pipeline.steps.verify.verify import Verifier, path_of, verified
from lhc.plan import Plan
from lhc.samples.metrics import METRICS
from tests.passes.costly_networks import paired
from tests.pipeline.known_drops import BUDGET, FakeEvaluator, network, place


@pytest.mark.parametrize("strategy", ["sensitivity", "milp", "exhaustive"])
def test_what_paid_beside_a_layer_is_given_up_with_it(strategy: str) -> None:
    """Either of two products alone takes more energy on tiles than it saves, by its conversions."""
    graph, plan = paired()
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, {"a": 0.0001, "b": 0.0001}, 3)
    verify = FakeEvaluator(metric, {"a": 0.03, "b": 0.0001}, 3, split=1)
    options = SearchOptions(Goal("energy"))
    judge = PlacementJudge(select, Budget(BUDGET))
    found = place(graph, plan, STRATEGIES[strategy], judge, verify, options=options)
    assert found.verdict.accepted
    assert found.plan.analog == frozenset(), "not b alone, which would hold the budget"
    row = next(row for row in found.plan.layers if row.name == "b")
    assert row.reason == "cost"
    saying = r"dearer on tiles than digital: [\d.]+ .J, plus [\d.]+ .J of conversions, against [\d.]+ .J"
    assert re.fullmatch(saying, row.detail)


def test_what_pays_beside_a_layer_that_a_test_sequence_added_is_not_called_too_costly() -> None:
    """Either of two products alone takes more energy on tiles than it saves; tests add one, and the other pays."""
    graph, plan = paired()

    class Nothing(Strategy):
        name: ClassVar[str] = "nothing"
        follows_goal: ClassVar[bool] = True

        def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
            decided = explained(plan, search_space(graph, plan, self.options), frozenset())
            assert {row.reason for row in decided.layers} == {"cost"}
            return PassResult(decided, bolder=(frozenset("a"),))

    select, verify = (FakeEvaluator(METRICS["accuracy"], dict.fromkeys("ab", 0.0001), 3, split=s) for s in (0, 1))
    judge = PlacementJudge(select, Budget(BUDGET))
    found = place(graph, plan, Nothing, judge, verify, options=SearchOptions(Goal("energy")))
    assert found.plan.analog == {"a"}
    row = next(row for row in found.plan.layers if row.name == "b")
    assert (row.reason, row.detail) == ("sensitivity", UNTESTED)


@pytest.mark.parametrize(("each", "kept", "beyond"), [(0.0001, 20, 0), (0.0012, 8, 10), (0.0033, 2, 3), (0.012, 0, 1)])
def test_a_path_is_tested_as_far_as_it_holds(each: float, kept: int, beyond: int) -> None:
    """A path of 20 layers down to none, of which the search saw nothing."""
    names = [f"l{index}" for index in range(20)]
    graph, plan = network(dict.fromkeys(names, each))
    path = tuple(frozenset(names[:length]) for length in range(19, -1, -1))
    everything = plan.decide(dict.fromkeys(names, ("analog", "budget", "")))
    walked = already_walked(PassResult(everything, fallbacks=path), "lionheart")
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, dict.fromkeys(names, 0.00001), 3, chip_spread=0.05)
    verify = FakeEvaluator(metric, dict.fromkeys(names, each), 3, split=1, chip_spread=0.05)
    found = place(graph, plan, walked, PlacementJudge(select, Budget(BUDGET)), verify)
    assert found.verdict.accepted
    assert found.plan.analog == frozenset(names[:kept])
    assert any("larger --max-drop" in note for note in found.notes) == (kept == 0)
    if beyond:
        assert f"tested too: {beyond} analog layer" in found.notes[0]


def test_a_rule_is_not_stepped_back_from() -> None:
    """Who asks for all layers is told that they do not hold, and is given all layers."""
    damages = {f"l{index}": 0.003 for index in range(5)}
    graph, plan = network(damages)
    select, verify = (FakeEvaluator(METRICS["accuracy"], damages, 3, split=split) for split in (0, 1))
    found = place(graph, plan, STRATEGIES["all-analog"], PlacementJudge(select, Budget(BUDGET)), verify)
    assert not found.verdict.accepted
    assert found.plan.analog == damages.keys()
    assert found.failed == ()


def test_what_a_search_had_accepted_when_time_was_over_is_verified_as_it_is() -> None:
    """Placements that were accepted before need not lie within each other."""
    damages = {"l0": 0.03, "l1": 0.0001, "l2": 0.0001}
    graph, plan = network(damages)
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, dict.fromkeys(damages, 0.0001), 3)
    verify = FakeEvaluator(metric, damages, 3, split=1)

    class Late(Strategy):
        name: ClassVar[str] = "late"

        def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
            self.judge.within(frozenset({"l0"}))
            self.judge.within(frozenset({"l1", "l2"}))
            raise OutOfTimeError("over")

    layers = tuple(layer.model_copy(update={"macs": 10**6 if layer.name == "l0" else 1}) for layer in plan.layers)
    plan = plan.model_copy(update={"layers": layers})
    found = place(graph, plan, Late, PlacementJudge(select, Budget(BUDGET)), verify)
    assert found.verdict.accepted
    assert found.plan.analog == {"l1", "l2"}


@pytest.mark.parametrize("limits", [{}, {"tiles": 1.0}], ids=["free", "on one tile"])
def test_all_digital_is_kept_where_nothing_that_was_found_in_time_holds(limits: dict[str, float]) -> None:
    """The search accepts a layer on its samples and runs out of time; on others that layer is far over the budget."""
    graph, plan = network({"l0": 0.1, "l1": 0.1})
    metric = METRICS["accuracy"]
    select, verify = (
        FakeEvaluator(metric, dict.fromkeys(("l0", "l1"), damage), 3, split=split)
        for split, damage in enumerate((0.0001, 0.1))
    )

    class Late(Strategy):
        name: ClassVar[str] = "late"

        def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
            self.judge.within(frozenset({"l0"}))
            raise OutOfTimeError("over")

    options = SearchOptions(Goal(max_tiles=1)) if limits else None
    found = place(graph, plan, Late, PlacementJudge(select, Budget(BUDGET)), verify, options=options)
    assert found.verdict.accepted
    assert found.plan.analog == frozenset()
    (failed,) = found.failed
    assert failed.placement == {"l0"}
    assert {row.reason for row in found.plan.layers} == {"sensitivity"}


def test_layers_of_a_placement_that_is_not_shown_to_hold_do_not_say_that_they_are_within_the_budget() -> None:
    """All digital would hold, and is beyond the user's bound of energy."""
    graph, plan = paired()
    metric = METRICS["accuracy"]
    select, verify = (
        FakeEvaluator(metric, dict.fromkeys("ab", damage), 3, split=split) for split, damage in enumerate((0.0001, 0.1))
    )
    both, none = (objective_value(graph, plan, "energy", frozenset(names)) for names in ("ab", ""))
    options = SearchOptions(Goal("energy", max_energy_j=(both + none) / 2))
    found = place(
        graph, plan, STRATEGIES["exhaustive"], PlacementJudge(select, Budget(BUDGET)), verify, options=options
    )
    assert not found.verdict.accepted
    assert found.plan.analog == {"a", "b"}
    assert {row.reason for row in found.plan.layers} == {"placed"}
    assert not any("within" in row.detail for row in found.plan.layers)


def test_what_was_tested_beyond_what_is_kept_is_said() -> None:
    """On the samples of the search the last layer is harmless, on those of the verification it is not."""
    graph, plan = network({"a": 0.001, "b": 0.001})
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, {"a": 0.001, "b": 0.0012}, 3)
    verify = FakeEvaluator(metric, {"a": 0.001, "b": 0.05}, 3, split=1)
    found = place(graph, plan, STRATEGIES["lionheart"], PlacementJudge(select, Budget(BUDGET)), verify)
    assert found.verdict.accepted
    assert found.plan.analog == {"a"}
    tested = [("".join(sorted(one.placement)), one.verdict.accepted) for one in found.tested]
    assert tested == [("ab", False), ("a", True)]
    (failed,) = found.failed
    drops = f"{100 * failed.verdict.evaluation.drop:.2f} points, at most {100 * failed.verdict.bound:.2f} points"
    said = f"mean drop {drops}, 10 chips; 1.00 points not met"
    assert found.notes == (f"tested too: 2 analog layers, with b: {said}",)
    layers = tuple(layer.model_copy(update={"module": f"body.{layer.name}"}) for layer in plan.layers)
    titled = plan.model_copy(update={"layers": layers})
    again = place(graph, titled, STRATEGIES["lionheart"], PlacementJudge(select, Budget(BUDGET)), verify)
    assert again.notes[0].startswith("tested too: 2 analog layers, with body.b (b): ")


@pytest.mark.parametrize(("most", "chips"), [(20, 20), (100, 38)])
def test_how_many_chips_would_show_it_is_said_where_they_are_too_few(most: int, chips: int) -> None:
    graph, plan = network({"a": 0.0085})
    metric = METRICS["accuracy"]
    evaluator = FakeEvaluator(metric, {"a": 0.0085}, 5, split=1)
    judge = PlacementJudge(evaluator, Budget(BUDGET))
    searched = search(graph, plan, STRATEGIES["all-analog"], judge, SearchOptions())
    found = verified(graph, plan, searched, Verifier(evaluator, evaluator, judge.budget, most))
    assert found.verdict.evaluation.draws == chips
    assert found.verdict.accepted == (most == 100)
    if not found.verdict.accepted:
        (wanted,) = re.findall(
            r"about (\d+) chips \(--max-draws\) would show that the budget is met", " ".join(found.notes)
        )
        assert 20 < int(wanted) < 200


def test_no_number_of_chips_is_asked_for_where_the_mean_lies_on_the_budget() -> None:
    graph, plan = network({"a": BUDGET - 1e-5})
    evaluator = FakeEvaluator(METRICS["accuracy"], {"a": BUDGET - 1e-5}, 5, split=1)
    judge = PlacementJudge(evaluator, Budget(0.0))
    searched = search(graph, plan, STRATEGIES["all-analog"], judge, SearchOptions())
    mean = verified(graph, plan, searched, Verifier(evaluator, evaluator, Budget(BUDGET), 20)).verdict.evaluation.drop
    near = verified(graph, plan, searched, Verifier(evaluator, evaluator, Budget(mean + 1e-7), 20))
    said = "below the budget, and to show that it is met would take more than 1,000 chips (--max-draws)"
    assert f"the mean drop is 0.00 points {said}" in " ".join(near.notes)


def test_of_two_chips_that_differ_a_few_more_are_asked_for() -> None:
    """Student's quantile of two chips is wide, wherever their mean lies."""
    graph, plan = network({"a": 0.0})
    evaluator = FakeEvaluator(METRICS["accuracy"], {"a": 0.0002}, 8, split=1, draws=2, chip_spread=60)
    judge = PlacementJudge(evaluator, Budget(BUDGET))
    searched = search(graph, plan, STRATEGIES["all-analog"], judge, SearchOptions())
    found = verified(graph, plan, searched, Verifier(evaluator, evaluator, judge.budget, 2))
    drop, (_, high) = found.verdict.evaluation.drop, found.verdict.evaluation.drop_interval or (0.0, 0.0)
    assert drop < 0 < BUDGET < high
    (wanted,) = re.findall(r"about (\d+) chips \(--max-draws\) would show", " ".join(found.notes))
    assert 2 < int(wanted) < 20


def test_what_would_help_where_nothing_is_analog_depends_on_the_mean_drops() -> None:
    graph, plan = network({"a": 0.02})
    metric = METRICS["accuracy"]
    for drop, helps in (
        (0.05, "a larger --max-drop allows more, and more samples or chips do not"),
        (0.0095, "--max-draws"),
    ):
        select, verify = (FakeEvaluator(metric, {"a": drop}, 7, split=split) for split in (0, 1))
        found = place(graph, plan, STRATEGIES["lionheart"], PlacementJudge(select, Budget(BUDGET)), verify)
        assert not found.plan.analog
        assert helps in found.notes[-1]


def test_a_walk_with_retraining_is_stepped_back_from_as_well() -> None:
    """All three layers were accepted on the way; on other samples only the first holds the budget."""
    damages = {"a": 0.001, "b": 0.05, "c": 0.05}
    graph, plan = network(damages)
    whole = plan.decide(dict.fromkeys("abc", ("analog", "budget", "accepted after retraining with it analog")))
    path = (frozenset("ab"), frozenset("a"), frozenset[str]())
    walked = already_walked(PassResult(whole, fallbacks=path), "lionheart")
    select, verify = (FakeEvaluator(METRICS["accuracy"], damages, 3, split=split) for split in (0, 1))
    found = place(graph, plan, walked, PlacementJudge(select, Budget(BUDGET)), verify)
    assert found.verdict.accepted
    assert found.plan.analog == {"a"}
    assert found.notes[0].startswith("tested too: 2 analog layers, with b: ")
    details = {row.name: row.detail for row in found.plan.layers}
    assert details["a"] == "accepted after retraining with it analog"
    assert details["b"] == "with this layer on tiles too, the budget is not met"


ALONE, UNTESTED = "with this layer on tiles too, the budget is not met", "not tested beside the layers that are analog"
TOGETHER = "tried only with {} on tiles too: budget not met"

SWAPPED = "tried only with {} on tiles too and a digital: budget not met"


def given(*path: str, judged: tuple[str, ...] = ()) -> type[Strategy]:
    """A search that has judged and found what it is told."""

    class Given(Strategy):
        name: ClassVar[str] = "given"

        def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
            for names in judged:
                self.judge.within(frozenset(names))
            first, *safer = map(frozenset, path)
            decided = decide(plan, first, lambda name: ("sensitivity", NOT_MET), "")
            return PassResult(decided, fallbacks=tuple(safer))

    return Given


def test_what_was_judged_counts_by_the_half_of_its_interval_that_is_never_cut() -> None:
    """Full agreement cannot rise, so its intervals end at 0; accuracy of other samples may be any. Both are as sure."""
    damages = {"a": 0.0005, "b": 0.001}
    graph, plan = network(damages)

    def judged(metric: str) -> tuple[Path, PlacementJudge]:
        chips = FakeEvaluator(METRICS[metric], damages, 3, baseline=1.0 if metric == "agreement" else 0.9)
        judge = PlacementJudge(chips, Budget(BUDGET))
        found = search(graph, plan, given("ab", "a", judged=("a", "ab")), judge, SearchOptions())
        return path_of(graph, plan, found), judge

    (cut, cut_judge), (whole, whole_judge) = judged("agreement"), judged("accuracy")
    evaluations = [verdict.evaluation for verdict in cut_judge.verdicts.values()]
    assert all(one.sample_interval is not None and one.sample_interval[0] == 0 for one in evaluations)
    lows = [one.evaluation.sample_interval or (0.0, 0.0) for one in whole_judge.verdicts.values()]
    assert all(low < 0 for low, _ in lows), "what the test rests on"
    np.testing.assert_allclose(cut.judged, whole.judged)
    halves = [high - one.drop for (_, high), one in zip(lows, evaluations, strict=True)]
    assert [error for *_, error in cut.judged] == pytest.approx(np.divide(halves, 2))


def test_where_nothing_is_analog_a_layer_is_not_tested_beside_any() -> None:
    damages = {"a": 0.5, "b": 0.5}
    graph, plan = network(damages)
    select, verify = (FakeEvaluator(METRICS["accuracy"], damages, 3, split=split) for split in (0, 1))
    found = place(graph, plan, given("a", ""), PlacementJudge(select, Budget(BUDGET)), verify)
    assert not found.plan.analog
    assert [row.detail for row in found.plan.layers] == [ALONE, "not tested"]


@pytest.mark.parametrize(
    ("path", "judged", "why"),
    [
        (("a", ""), (), (UNTESTED, UNTESTED)),
        (("ab", "a", ""), (), (ALONE, UNTESTED)),
        (("a", ""), ("ab",), (f"{ALONE} in the search", UNTESTED)),
        (("abc", "a", ""), (), (TOGETHER.format("c"), TOGETHER.format("b"))),
        (("abc", "a", ""), ("ac",), (TOGETHER.format("c"), f"{ALONE} in the search")),
        (("b", "a", ""), (), ("with it analog and a digital the budget is not met", UNTESTED)),
        (("b", "a", ""), ("ab",), (f"{ALONE} in the search", UNTESTED)),
        (("bc", "a", ""), (), tuple(SWAPPED.format(other) for other in "cb")),
    ],
)
def test_a_digital_layer_says_what_was_tried_with_it(
    path: tuple[str, ...], judged: tuple[str, ...], why: tuple[str, str]
) -> None:
    """Two layers that do harm: only what was judged or tested with them is said of them."""
    damages = {"a": 0.0005, "b": 0.2, "c": 0.2}
    graph, plan = network(damages)
    select, verify = (FakeEvaluator(METRICS["accuracy"], damages, 3, split=split) for split in (0, 1))
    found = place(graph, plan, given(*path, judged=judged), PlacementJudge(select, Budget(BUDGET)), verify)
    assert found.plan.analog == {"a"}
    assert tuple(row.detail for row in found.plan.layers if row.name != "a") == why


def test_a_search_that_ends_with_nothing_analog_says_so() -> None:
    graph, plan = network({"a": 0.5, "b": 0.5})
    metric = METRICS["accuracy"]

    def notes(strategy: str) -> tuple[str, ...]:
        select, verify = (FakeEvaluator(metric, {"a": 0.5, "b": 0.5}, 3, split=split) for split in (0, 1))
        found = place(graph, plan, STRATEGIES[strategy], PlacementJudge(select, Budget(BUDGET)), verify)
        assert found.plan.analog == frozenset()
        return found.notes

    assert "larger --max-drop" in notes("lionheart")[-1]
    assert notes("all-digital") == ()


def test_least_drop_is_kept_when_nothing_holds() -> None:
    graph, plan = network({"a": 0.001, "b": 0.001})
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, {"a": 0.001, "b": 0.001}, 3)
    verify = FakeEvaluator(metric, {"a": 0.05, "b": 0.05}, 3, split=1)
    found = place(graph, plan, STRATEGIES["all-analog"], PlacementJudge(select, Budget(BUDGET)), verify)
    assert not found.verdict.accepted
    assert found.plan.analog == {"a", "b"}


def test_every_test_has_chips_of_its_own_and_a_plan_that_is_fed_back_as_well() -> None:
    graph, plan = network({"a": 0.001, "b": 0.001})
    seen: list[range] = []

    @dataclass(frozen=True, eq=False)
    class Watching(FakeEvaluator):
        def measure(self, placement: frozenset[str], draws: range, what: str) -> SampleScores:
            seen.append(draws)
            return super().measure(placement, draws, what)

    evaluator = Watching(METRICS["accuracy"], {"a": 0.004, "b": 0.004}, 1, chip_spread=0.1)
    judge = PlacementJudge(evaluator, Budget(BUDGET))
    for again in (False, True):
        place(graph, plan, STRATEGIES["lionheart"], judge, evaluator, again=again)
    assert seen[:2] == [range(4), range(4)], "the search's"
    assert [draws.start for draws in seen[2:]] == [10_000, 10_100, 10_000_000, 10_000_100]


@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_the_interval_of_a_share_is_shown_within_its_range(metric: str) -> None:
    """Two chips, of which one is perfect: Student's interval is several times as wide as what a share can be."""
    evaluator = FakeEvaluator(METRICS[metric], {}, 0, samples=100, draws=2)
    scores = np.stack([np.ones(100), np.repeat([1.0, 0.0], 50)])
    found = evaluation(SampleScores(METRICS[metric], scores, np.full(100, 0.9)), evaluator, False)
    assert found.interval is not None
    assert found.drop_interval is not None
    low, high = found.interval
    if metric == "accuracy":
        assert (low, high) == (0.0, 1.0)
    else:
        assert low == 0, "no error is less"
        assert high > 1
    if metric == "accuracy":
        assert found.drop_interval[1] == 0.9, "no more can be lost"
    else:
        assert found.drop_interval[1] > 1.2
