"""Order of two tests that share one chance of error: of the network as it was given, and with trained weights.

A command that trains shall not end with less than the same command without training. So the network as it was given is
tested first, with nearly all of the chance of error, unless trained weights are predicted to hold more than it can be
hoped to hold at all. Then they come first. The other one is tested where the first one showed nothing, or where it may
hold something as good, with the rest of the chance. What comes first rests on the samples of the search alone, and the
two parts add up to the whole (Bonferroni), so a placement beyond the budget is accepted no more often.
"""

from typing import NamedTuple

from lhc.errors import OutOfTimeError
from lhc.pipeline.pipeline_state import SearchedNetwork
from lhc.pipeline.steps.search import judge_of_search
from lhc.pipeline.training.placement_to_train_for import predicted_to_hold, proposed, search_path, value_of

FIRST = 0.9
"""Part of the chance of error for the test that comes first; the rest is for the other one."""
HOPED = 1.5
"""Budgets that a placement may be predicted to lose and be hoped to hold: predictions rest on few chips and samples."""


class PlacementProspect(NamedTuple):
    """What a search lets expect of the test of its placements.

    Attributes:
        likely: value by the objective of the best placement that is predicted to hold the budget; smaller is better.
        hoped: of the best one that may hold it.
    """

    likely: float
    hoped: float


def trained_first(given: PlacementProspect, trained: PlacementProspect) -> bool:
    """Whether trained weights are tested first: they are predicted to hold more than can be hoped of the given ones."""
    return trained.likely < given.hoped


def worth_testing(other: PlacementProspect, shown: float | None) -> bool:
    """Whether the other one is tested too.

    Args:
        shown: value of what the first test showed to hold; None where that was nothing.
    """
    return shown is None or other.hoped <= shown


def prospect(searched: SearchedNetwork) -> PlacementProspect:
    """The prospect of a searched network; a rule, which judges nothing, has its placement judged for it."""
    budget = searched.budget.max_drop
    if searched.searched.judge.verdicts:
        path = search_path(searched)
        likely, hoped = predicted_to_hold(path, budget), predicted_to_hold(path, budget, HOPED)
    else:
        drop = _judged_drop(searched)
        likely, hoped = ([proposed(searched)] if drop <= room * budget else [] for room in (1.0, HOPED))

    def best(placements: list[frozenset[str]]) -> float:
        return min(value_of(searched, one) for one in (searched.plan.analog, *placements))

    return PlacementProspect(best(likely), best(hoped))


def _judged_drop(searched: SearchedNetwork) -> float:
    """Drop of the proposed placement on the samples of the search; 0 where nothing is analog or the time is over."""
    if not proposed(searched):
        return 0.0
    try:
        return judge_of_search(searched).within(proposed(searched)).evaluation.drop
    except OutOfTimeError:
        return 0.0
