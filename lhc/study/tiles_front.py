"""Accuracy against tiles: all layers analog, with ever more copies of their weights, the points verified.

The first point has the copies that need no further tile. What every further tile is used for, and what that is
predicted to bring, is `lhc.passes.further_copies`.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.errors import UsageError
from lhc.passes import damage_of, fills_tiles
from lhc.passes.strategy import most_tiles
from lhc.study.front import MOST_POINTS, Candidate, MeasureFront, with_front
from lhc.study.state import Study

__all__ = ["MeasureTiles"]

MOST_TIMES = 4
"""Tiles up to which copies are looked at where nothing bounds them, as a multiple of those that are needed."""


@dataclass(frozen=True)
class MeasureTiles(MeasureFront):
    """Verify all layers analog on more and more tiles."""

    name: ClassVar[str] = "tiles-front"

    def apply(self, study: Study) -> Study:
        """The study with its front.

        Raises:
            UsageError: the machine has too few tiles for all layers, or no copies.
        """
        study, bound = _bounded(study)
        candidates = _candidates(study, bound)
        complete = len(candidates) < MOST_POINTS
        return with_front(study, candidates, self.points, self.confidence, complete, "tiles")


def _bounded(study: Study) -> tuple[Study, int]:
    """The study with a bound of tiles, and the bound."""
    plan = study.plan
    needed = plan.tiles_of(study.graph, frozenset(study.measurable))
    bound = most_tiles(plan, study.goal.max_tiles) or MOST_TIMES * needed
    if needed > bound:
        raise UsageError(f"--objective tiles has all layers analog, which takes {needed} tiles; there are {bound}")
    study = replace(study, goal=replace(study.goal, max_tiles=bound))
    if not (study.fills and fills_tiles(plan, study.goal)):
        raise UsageError(
            "--objective tiles is about copies: it takes --copies auto, hardware with compensation.copies, and no bound"
            " of latency or energy"
        )
    return study, bound


def _candidates(study: Study, bound: int) -> list[Candidate]:
    """Copies for growing numbers of tiles, those with the least damage first."""
    everything = frozenset(study.measurable)
    needed = study.plan.tiles_of(study.graph, everything)
    found: dict[tuple[tuple[str, int], ...], Candidate] = {}
    for tiles in np.unique(np.linspace(needed, bound, MOST_POINTS).round().astype(int)).tolist():
        copies = replace(study.copies, tiles=tiles).of(everything)
        damage = damage_of(study.graph, study.plan, everything, copies)
        found.setdefault(tuple(copies.items()), Candidate(everything, damage, copies))
    return sorted(found.values(), key=lambda one: one.damage)
