"""What all strategies share: their base, what a search is after, and how a plan says what was decided."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from lhc.costs import cost_of
from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.passes.base import Judge, Pass
from lhc.plan import Placement, Plan, Reason

__all__ = [
    "DEFAULT_GOAL",
    "Curvature",
    "Goal",
    "Group",
    "Objective",
    "SearchOptions",
    "Strategy",
    "damage_of",
    "decide",
    "fits",
    "groups_of",
    "kept_limits",
    "objective_value",
    "reason",
]

Group = tuple[str, ...]
"""Layers that move together, in file order: they share their weights, or the user wants it so."""
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
    def limits(self) -> dict[str, float]:
        """The bounds that are set: tiles, latency in s, energy in J."""
        bounds = {"tiles": self.max_tiles, "latency": self.max_latency_s, "energy": self.max_energy_j}
        return {name: bound for name, bound in bounds.items() if bound is not None}

    @property
    def needs_costs(self) -> bool:
        """Whether it takes a machine whose costs are known."""
        return self.objective != "macs" or self.max_latency_s is not None or self.max_energy_j is not None


_ROUNDING = 1e-6
DEFAULT_GOAL = Goal()
"""Most MACs on tiles, within the machine's tiles."""


@dataclass(frozen=True)
class Curvature:
    """What HILAL knows of a layer: ELI and r (`lhc.passes.hilal`)."""

    eli: float
    ratio: float


@dataclass(frozen=True)
class SearchOptions:
    """What a strategy may be told; each takes what it needs.

    Attributes:
        goal: what a placement is to be good at.
        together: sets of layers that the user wants to move together.
        max_drop: the judge's budget, in its metric's unit, to interpolate by.
        seed: of random orders.
        curvatures: by layer, for HILAL.
    """

    goal: Goal = DEFAULT_GOAL
    together: tuple[frozenset[str], ...] = ()
    max_drop: float | None = None
    seed: int = 0
    curvatures: Mapping[str, Curvature] = field(default_factory=dict)


@dataclass(frozen=True)
class Strategy(Pass):
    """Base of all strategies.

    Attributes:
        judge: judges joint placements.
        options: goal, groups, and what else a strategy may be told.
    """

    judge: Judge
    options: SearchOptions = SearchOptions()
    searches: ClassVar[bool] = True
    """Whether it judges placements; otherwise it only follows a rule."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """What must be known of every eligible layer: ``sensitivities`` (in the plan), ``curvatures`` (in the options)."""
    follows_goal: ClassVar[bool] = False
    """Whether it takes another objective than MACs, and bounds of latency and energy. All keep to the tiles."""

    @classmethod
    def judgements(cls, groups: int) -> int:
        """How many placements it asks about at most, where so many groups of layers are to be decided."""
        return groups if cls.searches else 0

    def groups(self, graph: LayerGraph, plan: Plan) -> list[Group]:
        """The eligible layers, those together that move together."""
        return groups_of(graph, plan, self.options.together)

    def fits(self, graph: LayerGraph, plan: Plan, placement: frozenset[str]) -> bool:
        """Whether there are tiles for a placement."""
        return fits(graph, plan, placement, self.options.goal.max_tiles)


def fits(graph: LayerGraph, plan: Plan, placement: frozenset[str], max_tiles: int | None = None) -> bool:
    """Whether the machine, and what the user allows of it, has tiles for a placement."""
    counts = [count for count in (plan.hardware.tiles.count, max_tiles) if count is not None]
    return not counts or plan.tiles_of(graph, placement) <= min(counts)


def groups_of(graph: LayerGraph, plan: Plan, together: Sequence[frozenset[str]] = ()) -> list[Group]:
    """The eligible layers in file order, those together that share their weights or that are wanted together."""
    groups = [frozenset(group) for group in graph.tied(plan.eligible)]
    for wanted in together:
        joined = frozenset().union(*(group for group in groups if not group.isdisjoint(wanted)))
        if joined:
            groups = [joined, *(group for group in groups if group.isdisjoint(joined))]
    place = {name: position for position, name in enumerate(plan.eligible)}
    return sorted((tuple(sorted(g, key=place.__getitem__)) for g in groups), key=lambda group: place[group[0]])


def kept_limits(graph: LayerGraph, plan: Plan, goal: Goal) -> bool:
    """Whether a plan's placement keeps to the bounds of a goal."""
    found: dict[str, float] = {"tiles": plan.tiles(graph)}
    if goal.limits.keys() - {"tiles"}:
        cost = cost_of(graph, plan.analog, plan.hardware)
        found |= {"latency": cost.latency_s, "energy": cost.energy_j}
    return all(found[name] <= bound * (1 + _ROUNDING) for name, bound in goal.limits.items())


def objective_value(graph: LayerGraph, plan: Plan, objective: Objective, placement: frozenset[str]) -> float:
    """How good a placement is, smaller is better: digital MACs, latency in s, or energy in J."""
    if objective == "macs":
        return plan.macs - sum(layer.macs for layer in plan.layers if layer.name in placement)
    cost = cost_of(graph, placement, plan.hardware)
    return cost.latency_s if objective == "latency" else cost.energy_j


def damage_of(graph: LayerGraph, plan: Plan, placement: Iterable[str]) -> float:
    """Estimated damage of a placement: the sum of its sensitivities; layers that share their weights have one.

    What makes outputs better by chance (a negative mean) counts 0, and so does a layer without a sensitivity.
    """
    rows = {layer.name: layer.sensitivity for layer in plan.layers}
    chosen = frozenset(placement)
    ties = graph.tied(name for name in rows if name in chosen)
    means = (max((s.mean for name in tie if (s := rows[name]) is not None), default=0.0) for tie in ties)
    return sum(max(mean, 0.0) for mean in means)


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
