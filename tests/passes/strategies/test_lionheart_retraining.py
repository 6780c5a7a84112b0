"""LionHeart's walk with a fake trainer whose scores are known, against what the published algorithm does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware, Tiles
from lhc.passes import Qualify, initial_plan
from lhc.passes.strategies.lionheart_retraining import LionHeartOriginal, LionHeartRetrained, Slot
from lhc.plan import Plan
from lhc.results import Evaluation, Verdict


@dataclass
class FakeRetrainer:
    """Scores in the order of rounds, by candidate; its weights are the names of the rounds that made them."""

    scores: Mapping[str, Sequence[float]]
    baseline: float = 90.0
    least: float = 88.0
    weights: str = "w"
    slots: dict[Slot, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    rounds: int = 0

    def begin(self, placement: frozenset[str]) -> None:
        self.rounds = 0
        self.events.append(f"begin {label(placement)} from {self.weights}")

    def train(self) -> None:
        self.rounds += 1
        self.weights += str(self.rounds)
        self.events.append("train")

    def score(self, placement: frozenset[str]) -> float:
        value = self.scores[label(placement)][max(self.rounds - 1, 0)]
        self.events.append(f"score {value:g}")
        return value

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judged before the first round too: the scores of a candidate begin with that one."""
        value = self.scores[label(placement)][self.rounds]
        self.events.append(f"judge {value:g}")
        drop = self.baseline - value
        evaluation = Evaluation("a", False, 90, (value,), value, 0, None, drop, None, None, (drop,), 1, 0, 0, 0.9)
        return Verdict("accepted" if value >= self.least else "undecided", evaluation)

    def save(self, slot: Slot) -> None:
        self.slots[slot] = self.weights
        self.events.append(f"save {slot}")

    def load(self, slot: Slot) -> None:
        self.weights = self.slots[slot]
        self.rounds = 0
        self.events.append(f"load {slot}")


def label(placement: frozenset[str]) -> str:
    return "".join(sorted(placement))


TILE = 10


def network(macs: Mapping[str, int], count: int | None = None, shared: str = "") -> tuple[LayerGraph, Plan]:
    """A chain of one-tile products in this order; those named in ``shared`` hold the same weights."""
    layers, tensor = [], "x"
    for name, positions in macs.items():
        tile_set = "shared" if name in shared else name
        weight = WeightRef(f"{name}.w", 1, (TILE, 1), "float32", tile_set)
        matrix = MatrixShape(TILE, 1, 1, positions)
        layers.append(Layer(name, "MatMul", (tensor, f"{name}.w"), (f"{name}.y",), weight, matrix))
        tensor = f"{name}.y"
    graph = LayerGraph(layers, ["x"], [tensor])
    hardware = Hardware(name="fake", tiles=Tiles(rows=TILE, cols=TILE, count=count))
    return graph, Qualify().run(graph, initial_plan(graph, hardware, "", "0")).plan


FOUR = {"d": 1, "a": 4, "b": 3, "c": 3}
"""Tried in the order a, b, c, d: by MACs, and b before c since the file has it first."""


def test_published_walk_step_by_step() -> None:
    """Written out by hand from the published algorithm, patience 2, threshold 2 points below 90."""
    retrainer = FakeRetrainer(
        {
            "a": [89, 91, 90, 90],  # best 91; ends when two in a row lie below it
            "ab": [86, 87, 85, 84],  # best 87: rejected
            "ac": [88, 88, 87, 87],  # a tie neither ends it nor replaces the best; 88 is just enough
            "acd": [80, 79, 78],  # rejected
        }
    )
    graph, plan = network(FOUR)
    result = LionHeartOriginal(retrainer, retrainer, patience=2, threshold=2).run(graph, plan)
    assert retrainer.events == [
        *["save accepted"],
        *["begin a from w", "train", "score 89", "save candidate", "train", "score 91", "save candidate"],
        *["train", "score 90", "train", "score 90", "load candidate", "save accepted", "load accepted"],
        *["begin ab from w12", "train", "score 86", "save candidate", "train", "score 87", "save candidate"],
        *["train", "score 85", "train", "score 84", "load accepted"],
        *["begin ac from w12", "train", "score 88", "save candidate", "train", "score 88"],
        *["train", "score 87", "train", "score 87", "load candidate", "save accepted", "load accepted"],
        *["begin acd from w121", "train", "score 80", "save candidate", "train", "score 79"],
        *["train", "score 78", "load accepted"],
    ]
    assert result.plan.analog == {"a", "c"}
    assert retrainer.weights == "w121", "the second round of a, then the first of c"
    assert result.fallbacks == (frozenset("a"), frozenset())


def test_published_walk_with_the_default_patience_ends_at_the_first_score_below_the_best() -> None:
    retrainer = FakeRetrainer({"a": [89, 90, 89, 95]})
    graph, plan = network({"a": 1})
    assert LionHeartOriginal(retrainer, retrainer, threshold=2).run(graph, plan).plan.analog == {"a"}
    assert retrainer.events.count("train") == 3


def test_rounds_can_be_bounded_where_scores_stay_equal() -> None:
    retrainer = FakeRetrainer({"a": [89] * 9})
    graph, plan = network({"a": 1})
    LionHeartOriginal(retrainer, retrainer, threshold=2, max_rounds=5).run(graph, plan)
    assert retrainer.events.count("train") == 5


@pytest.mark.parametrize(("score", "analog"), [(-0.1, "a"), (-0.2, "")])
def test_scores_are_negative_where_lower_is_better(score: float, analog: str) -> None:
    retrainer = FakeRetrainer({"a": [score] * 3}, baseline=-0.1)
    graph, plan = network({"a": 1})
    walk = LionHeartOriginal(retrainer, retrainer, threshold=0.05, max_rounds=3)
    assert walk.run(graph, plan).plan.analog == frozenset(analog)


def test_mended_walk_trains_only_what_needs_it() -> None:
    retrainer = FakeRetrainer(
        {
            "a": [89],  # accepted as it is
            "ab": [85, 86, 88],  # accepted after two rounds
            "abc": [80, 79],  # no better after one: given up
            "abd": [85, 86, 87, 87.5, 87.6],  # ever better, but not enough in three rounds
        }
    )
    graph, plan = network(FOUR)
    result = LionHeartRetrained(retrainer, retrainer, patience=1, max_rounds=3).run(graph, plan)
    assert retrainer.events == [
        *["save accepted"],
        *["judge 89", "save candidate", "load candidate", "save accepted", "load accepted"],
        *["judge 85", "begin ab from w", "train", "judge 86", "train", "judge 88"],
        *["save candidate", "load candidate", "save accepted", "load accepted"],
        *["judge 80", "begin abc from w12", "train", "judge 79", "load accepted"],
        *["judge 85", "begin abd from w12", "train", "judge 86", "train", "judge 87", "train", "judge 87.5"],
        *["load accepted"],
    ]
    assert result.plan.analog == {"a", "b"}
    assert retrainer.weights == "w12"


def test_patience_allows_rounds_that_are_no_better() -> None:
    scores = {"a": [85, 84, 84, 88]}
    graph, plan = network({"a": 1})
    impatient, patient = (FakeRetrainer(scores) for _ in range(2))
    assert LionHeartRetrained(impatient, impatient, patience=2).run(graph, plan).plan.analog == frozenset()
    assert LionHeartRetrained(patient, patient, patience=3).run(graph, plan).plan.analog == {"a"}


@pytest.mark.parametrize("kind", [LionHeartOriginal, LionHeartRetrained])
def test_shared_weights_move_together_and_tiles_that_are_missing_are_the_reason(
    kind: type[LionHeartOriginal | LionHeartRetrained],
) -> None:
    graph, plan = network({"a": 1, "b": 1, "c": 9}, count=1, shared="ab")
    retrainer = FakeRetrainer({"c": [80, 80, 79, 79], "ab": [90, 89, 88, 87]})
    result = kind(retrainer, retrainer, patience=1).run(graph, plan)
    assert result.plan.analog == {"a", "b"}, "c comes first and fails; a and b share one tile"
    graph, plan = network({"a": 1, "c": 9}, count=1)
    fits = FakeRetrainer({"c": [90, 89, 88]})
    result = kind(fits, fits, patience=1).run(graph, plan)
    assert {row.name: row.reason for row in result.plan.layers} == {"a": "tiles", "c": "budget"}


@pytest.mark.parametrize("kind", [LionHeartOriginal, LionHeartRetrained])
def test_nothing_to_try_and_a_plan_that_stays_as_it_was(kind: type[LionHeartOriginal | LionHeartRetrained]) -> None:
    graph, plan = network({"a": 1})
    placed = plan.decide({"a": ("analog", "forced", "by hand")})
    before = placed.model_dump()
    retrainer = FakeRetrainer({})
    result = kind(retrainer, retrainer).run(graph, placed)
    assert result.plan == placed
    assert placed.model_dump() == before
    assert "train" not in retrainer.events
