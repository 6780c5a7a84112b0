"""What all strategies share: their base, what a search is after, and how a plan says what was decided."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.passes.base import Judge, Pass
from lhc.plan import Placement, Plan, Reason

__all__ = ["DEFAULT_GOAL", "Goal", "Group", "Objective", "Strategy", "decide", "fits", "groups_of", "reason"]

Group = tuple[str, ...]
"""Layers that share their weights and move together."""
Objective = Literal["macs", "latency", "energy"]


@dataclass(frozen=True)
class Goal:
    """What a placement is to be good at, apart from accuracy.

    Attributes:
        objective: most MACs on tiles, least latency, or least energy.
        max_tiles: most tiles in use, beside the machine's own number; None: no other bound.
        max_latency_s: greatest latency of a sample, in seconds; None: no bound.
        max_energy_j: greatest energy of a sample, in joules; None: no bound.
    """

    objective: Objective = "macs"
    max_tiles: int | None = None
    max_latency_s: float | None = None
    max_energy_j: float | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            UsageError: an unknown objective, or a bound below 0 or not finite.
        """
        if self.objective not in get_args(Objective):
            raise UsageError(f"unknown objective {self.objective!r}; choose macs, latency or energy")
        for option, bound in (
            ("--max-tiles", self.max_tiles),
            ("--max-latency", self.max_latency_s),
            ("--max-energy", self.max_energy_j),
        ):
            if bound is not None and not (bound >= 0 and math.isfinite(bound)):
                raise UsageError(f"{option} must be at least 0 and finite, got {bound}")

    @property
    def needs_costs(self) -> bool:
        """Whether it takes a machine whose costs are known."""
        return self.objective != "macs" or self.max_latency_s is not None or self.max_energy_j is not None


DEFAULT_GOAL = Goal()
"""Most MACs on tiles, within the machine's tiles."""


@dataclass(frozen=True)
class Strategy(Pass):
    """Base of all strategies.

    Attributes:
        judge: judges joint placements.
    """

    judge: Judge
    searches: ClassVar[bool] = True
    """Whether it judges placements; otherwise it only follows a rule."""
    needs_sensitivity: ClassVar[bool] = False
    """Whether the plan must hold a sensitivity for every eligible layer."""
    follows_goal: ClassVar[bool] = False
    """Whether it takes a `Goal`; others go for MACs."""


def groups_of(graph: LayerGraph, plan: Plan) -> list[Group]:
    """The eligible layers, those together that share their weights."""
    return list(graph.tied(plan.eligible))


def fits(graph: LayerGraph, plan: Plan, placement: frozenset[str]) -> bool:
    """Whether the machine has tiles for a placement."""
    count = plan.hardware.tiles.count
    return count is None or plan.tiles_of(graph, placement) <= count


def decide(plan: Plan, analog: frozenset[str], why_not: Callable[[str], tuple[Reason, str]], why: str) -> Plan:
    """The plan with every eligible layer decided.

    Args:
        plan: with eligible layers.
        analog: names of the analog ones.
        why_not: reason and detail of a digital one.
        why: detail of the analog ones.
    """
    decisions: dict[str, tuple[Placement, Reason, str]] = {}
    for name in plan.eligible:
        decisions[name] = ("analog", "budget", why) if name in analog else ("digital", *why_not(name))
    return plan.decide(decisions)


def reason(without_room: frozenset[str]) -> Callable[[str], tuple[Reason, str]]:
    """Why an eligible layer is digital: no tiles, or too sensitive."""

    def why_not(name: str) -> tuple[Reason, str]:
        if name in without_room:
            return "tiles", "no tiles left for it beside less sensitive layers"
        return "sensitivity", "not shown to stay within the budget with it analog as well"

    return why_not
