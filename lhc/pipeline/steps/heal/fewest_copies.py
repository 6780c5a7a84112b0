"""The fewest copies of weights with which a placement is accepted.

Where energy or latency is wanted, no more copies are taken than accuracy asks for: they cost some of both. A search
judges every placement with all tiles filled that there are. What it ends with is judged again on fewer, first on those
that it takes anyway, then by bisection over eight steps; the fewest with which its mean drop stays within three
quarters of the budget are kept, so that a test has room.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.costs import spent
from lhc.costs.plan_costs import plan_cost
from lhc.errors import OutOfTimeError
from lhc.pipeline.pipeline_state import SearchedNetwork
from lhc.pipeline.steps.search import judge_of_search
from lhc.support.number_formatting import counted

BISECTION_STEPS = 8
ROOM_IN_BUDGET = 0.75
MOST_JUDGEMENTS = 4
"""One without further copies, and of a bisection over the steps."""


@dataclass(frozen=True)
class FewerCopies:
    """Fill no more tiles with copies than the placement needs to be accepted."""

    name: ClassVar[str] = "fewer-copies"
    requires: ClassVar[frozenset[str]] = frozenset({"placement", "budget"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, state: SearchedNetwork) -> SearchedNetwork:
        """The state with a bound of tiles for copies; unchanged where copies cost nothing that is wanted."""
        plan, placement = state.plan, state.searched.result.plan.analog
        verdict = state.searched.judge.verdicts.get(placement)
        if state.goal.objective == "macs" or state.copies.tiles is None or verdict is None or not verdict.accepted:
            return state
        least = plan.tiles_of(state.graph, placement)
        most = plan.with_copies(state.graph, state.copies.of(placement)).tiles_of(state.graph, placement)

        def holds(tiles: int) -> bool:
            try:
                judged = judge_of_search(replace(state, filled=tiles)).within(placement)
            except OutOfTimeError:
                return False
            return judged.evaluation.drop <= ROOM_IN_BUDGET * state.budget.max_drop

        filled = fewest_tiles(least, most, holds)
        found = replace(state, filled=filled)
        return found if filled == least else found.noted(_note(found, filled - least))


def _note(state: SearchedNetwork, tiles: int) -> str:
    """Note on the cost of extra copies, which the search did not weigh against fewer layers."""
    plan = state.searched.result.plan
    filled = plan.with_copies(state.graph, state.copies.of(plan.analog))
    costs = [plan_cost(one, state.graph) for one in (plan, filled)]
    without, with_ = (spent(cost, state.goal.objective) for cost in costs if cost is not None)
    return (
        f"further copies of weights fill {counted(tiles, 'tile')} and add {100 * (with_ / without - 1):.1f} % to the"
        f" {state.goal.objective} of this placement; fewer layers without them may take less: --copies off"
    )


def fewest_tiles(least: int, most: int, holds: Callable[[int], bool]) -> int:
    """The fewest tiles of eight steps that hold, if more tiles hold where fewer do; the most where no fewer do.

    Args:
        holds: whether a number of tiles does.
    """
    steps = np.unique(np.linspace(least, most, BISECTION_STEPS + 1).round().astype(int)).tolist()
    if len(steps) == 1 or holds(steps[0]):
        return int(steps[0])
    bad, good = 0, len(steps) - 1
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (bad, middle) if holds(steps[middle]) else (middle, good)
    return int(steps[good])
