"""What is trained, what is tested, and which of two results is the better."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from unittest.mock import Mock

import pytest

from lhc.commands.partition import begin, pipeline, preparation, strategy_for
from lhc.measure import PlacementJudge, Running
from lhc.options.by_command import PartitionOptions
from lhc.options.training import TrainingOptions
from lhc.passes import STRATEGIES, PassResult, Pipeline, SearchOptions, Strategy
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.pipeline_state import (
    BudgetedNetwork,
    RecordedNetwork,
    SearchedNetwork,
    SearchResult,
    TrainableNetwork,
    VerifiedNetwork,
)
from lhc.pipeline.plan_record import Record
from lhc.pipeline.steps.rank import Rank
from lhc.pipeline.steps.search import CheckBudget, Search
from lhc.pipeline.steps.verify.verify import Verify
from lhc.pipeline.training.placement_to_train_for import proposed, set_apart, training_target
from lhc.pipeline.training.retraining import Train, _better
from lhc.plan import Retrained

pytestmark = pytest.mark.analog


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "kept"), [("macs", "more"), ("energy", "less")])
def test_the_better_of_two_results_is_that_of_the_objective(objective: str, kept: str) -> None:
    """A placement with more MACs on tiles may cost more energy: on digits, whose layers fill no tile, it does."""
    more = PartitionOptions("digits-narrow", strategy="all-analog", max_drop=0.9, draws=2, samples=40)
    results = {
        name: pipeline(options).apply(begin(options, Running(), open_model("digits-narrow")))
        for name, options in (("more", more), ("less", replace(more, exclude=("layer*",))))
    }
    for name, state in results.items():
        results[name] = state.with_outcome(objective=objective)
    better = _better(results["less"], results["more"], results["more"].task)
    assert better.plan.analog == results[kept].plan.analog


@pytest.mark.slow
def test_a_training_with_samples_of_its_own_leaves_all_others_to_decide() -> None:
    options = PartitionOptions("digits-narrow", strategy="all-analog", max_drop=0.9, draws=2, samples=40)
    state = pipeline(options).apply(begin(options, Running(), open_model("digits-narrow")))
    own = replace(options, retrain=True, train_data="others.npz")
    assert not set_apart(replace(state, options=own), state.task)
    assert set_apart(replace(state, options=replace(options, retrain=True)), state.task)


@dataclass(frozen=True)
class _Trial(Train):
    """Trains nothing: placements found, by the training that found them, are listed."""

    finds: tuple[int, ...] = ()
    trained_for: list[int] = field(default_factory=list)

    def _once(
        self, state: TrainableNetwork, target: frozenset[str], copies: Mapping[str, int]
    ) -> tuple[SearchedNetwork, Retrained]:
        self.trained_for.append(len(target))
        found = frozenset(sorted(state.measurable)[: self.finds[len(self.trained_for) - 1]])
        return _found(state, found), _RECORD


_RECORD = Retrained(source="", layers=(), steps=1, batch_size=1, loss="mse", seed=0, samples=1, data="", curve=())


def _found(state: BudgetedNetwork, analog: frozenset[str]) -> SearchedNetwork:
    """The state with a search that came to this."""
    decided = state.plan.decide(
        {n: ("analog" if n in analog else "digital", "sensitivity", "") for n in state.measurable}
    )
    judge = PlacementJudge(state.evaluator(state.splits.rank), state.budget)
    searched = SearchResult(PassResult(decided), STRATEGIES["sensitivity"], judge, SearchOptions())
    return state.advanced(SearchedNetwork, searched=searched)


@pytest.mark.parametrize(
    ("given", "finds", "targets", "tested", "note"),
    [
        (3, (10,), [14], [10], "trained weights kept: with the weights as given, no placement"),
        (6, (3, 2), [14, 6], [6], "trained weights not kept: with them, no placement"),
        (6, (3, 12), [14, 6], [12], "trained weights kept"),
        (2, (3, 9), [14, 3], [9], "trained weights kept"),
        (14, (), [], [14], "not trained: every layer"),
    ],
    ids=[
        "trained is better",
        "twice was no better",
        "for what was found as given",
        "trained twice",
        "nothing to train for",
    ],
)
def test_only_what_may_be_kept_is_tested(
    given: int, finds: tuple[int, ...], targets: list[int], tested: list[int], note: str
) -> None:
    """Tests take most of the time of a command; a second training is for a search that came out far below."""
    options = PartitionOptions("digits-narrow", retrain=True, max_drop=0.9, draws=2, samples=60, objective="macs")
    shown: list[int] = []

    class Show(Verify):
        def apply(self, state: SearchedNetwork) -> VerifiedNetwork:
            shown.append(len(proposed(state)))
            return super().apply(state)

    def search(kind: type[Strategy]) -> Pipeline[BudgetedNetwork, SearchedNetwork]:
        class Given(Search):
            def apply(self, state: BudgetedNetwork) -> SearchedNetwork:
                return _found(state, frozenset(sorted(state.measurable)[:given]))

        return Pipeline("search", (Given(kind),))

    def test(share: float) -> Pipeline[SearchedNetwork, RecordedNetwork]:
        return Pipeline("test", (Show(4, share), Record()))

    state = preparation(options).apply(begin(options, Running(), open_model("digits-narrow")))
    settings = TrainingOptions(steps=1, batch_size=8)
    trial = _Trial(settings, "sensitivity", None, None, preparation(options), search, test, finds)
    assert isinstance(state, TrainableNetwork)
    after = trial.apply(state)
    assert after.outcome.training_note is not None
    assert after.outcome.training_note.startswith(note)
    assert after.outcome.training_note.endswith(
        f". Of 60 samples {after.outcome.samples} decide, since 36 are for training: figures with and without"
        " --retrain do not compare"
    )
    assert (trial.trained_for, shown) == (targets, tested)


class _Stopped(Exception):  # noqa: N818 - no error: the test has seen enough
    """A training that was to begin, with the copies that it was to hold."""


@pytest.mark.slow
def test_it_is_trained_with_the_copies_on_further_tiles_that_the_search_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    options = PartitionOptions(
        "digits-narrow", retrain=True, max_drop=0.02, draws=2, samples=100, objective="macs", max_tiles=60
    )
    kind, prepare = strategy_for(options), preparation(options)
    state = prepare.apply(begin(options, Running(), open_model("digits-narrow")))
    assert isinstance(state, TrainableNetwork)
    given = Search(kind).apply(Rank("auto", kind).apply(CheckBudget().apply(state)))
    target = training_target(given)

    def begun(held: TrainableNetwork, *args: object) -> None:
        raise _Stopped(held.copies.of(target), held.plan.tiles_of(held.graph, target))

    monkeypatch.setattr("lhc.pipeline.training.retraining.trained_for", begun)
    trial = Train(TrainingOptions(steps=1), "sensitivity", None, None, prepare, Mock(), Mock())
    with pytest.raises(_Stopped) as seen:
        trial._trained(state, given)
    copies, tiles = seen.value.args
    assert copies == given.copies.of(target)
    assert sum(copies.values()) > sum(state.copies.of(target).values()), "there are further ones"
    assert tiles <= 60
