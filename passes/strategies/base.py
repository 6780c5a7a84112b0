"""Base of the strategies: the objective of a search, its options, and how decisions are written into a plan."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal, get_args

from lhc.costs import cost_of, spent
from lhc.errors import UsageError
from lhc.graph import LayerGraph, columns_of
from lhc.passes.base import Judge, Pass, PassResult
from lhc.passes.decide.copies import Copies
from lhc.passes.decide.layer_groups import Group, groups_of
from lhc.plan import LayerPlan, Placement, Plan, Reason

Objective = Literal["macs", "latency", "energy"]
Measure = Literal["damage", "tiles", "macs", "latency", "energy"]
"""``macs``: those that are digital; ``latency`` in s, ``energy`` in J."""


@dataclass(frozen=True)
class Goal:
    """Objective of a placement apart from accuracy, and its limits.

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
        if self.objective not in get_args(Objective):
            raise UsageError(f"unknown objective {self.objective!r}; choose macs, latency or energy")
        for measure, bound in self.limits.items():
            if not (bound >= 0 and math.isfinite(bound)):
                raise UsageError(f"--max-{measure} must be at least 0 and finite, got {bound}")

    @property
    def limits(self) -> dict[Measure, float]:
        """The bounds that are set: tiles, latency in s, energy in J."""
        bounds: dict[Measure, float | None] = {
            "tiles": self.max_tiles,
            "latency": self.max_latency_s,
            "energy": self.max_energy_j,
        }
        return {measure: bound for measure, bound in bounds.items() if bound is not None}

    @property
    def needs_costs(self) -> bool:
        """Whether it takes a machine whose costs are known."""
        return self.objective != "macs" or bool(self.limits.keys() - {"tiles"})


_ROUNDING = 1e-6
DEFAULT_GOAL = Goal()
"""Most MACs on tiles, within the machine's tiles."""
NOT_MET = "with this layer on tiles too, the budget is not met"
"""Why a search left a layer digital, before it is known what was tested (`lhc.pipeline.steps.verify.verify`)."""


@dataclass(frozen=True)
class Curvature:
    """Curvature of the loss at a layer as HILAL measures it: ELI and r (`lhc.passes.strategies.hilal`)."""

    eli: float
    ratio: float


@dataclass(frozen=True)
class SearchOptions:
    """Options of the strategies; each reads those that it needs.

    Attributes:
        together: sets of layers that the user wants to move together.
        max_drop: the judge's budget, in its metric's unit, to interpolate by.
        seed: of random orders.
        curvatures: by layer, where the strategy requires them.
        copies: of weights on tiles, that the judge has for every placement.
    """

    goal: Goal = DEFAULT_GOAL
    together: tuple[frozenset[str], ...] = ()
    max_drop: float | None = None
    seed: int = 0
    curvatures: Mapping[str, Curvature] = field(default_factory=dict)
    copies: Copies = field(default_factory=Copies)


@dataclass(frozen=True)
class Strategy(Pass):
    """Base of all strategies.

    Attributes:
        options: goal, groups, and what else a strategy may be told.
    """

    judge: Judge
    options: SearchOptions = SearchOptions()
    requires: ClassVar[frozenset[str]] = frozenset()
    """What must be known of every eligible layer: ``sensitivities`` (in the plan), ``curvatures`` (in the options)."""
    searches: ClassVar[bool] = True
    """Whether it judges placements; otherwise it only follows a rule."""
    follows_goal: ClassVar[bool] = False
    """Whether it takes another objective than MACs, and bounds of latency and energy. All keep to the tiles."""

    @classmethod
    def judgements(cls, groups: int) -> int:
        """Greatest number of placements that it asks about, where so many groups of layers are to be decided."""
        return groups if cls.searches else 0

    def groups(self, graph: LayerGraph, plan: Plan) -> list[Group]:
        """The eligible layers, those together that move together."""
        return groups_of(graph, plan, self.options.together)

    def fits(self, graph: LayerGraph, plan: Plan, placement: frozenset[str]) -> bool:
        """Whether there are tiles for a placement."""
        return fits(graph, plan, placement, self.options.goal.max_tiles)

    def with_room(
        self, graph: LayerGraph, plan: Plan, groups: Iterable[Group]
    ) -> tuple[frozenset[str], frozenset[str]]:
        """The placement with these groups, one after the other as far as there are tiles; and the layers left out."""
        analog, without_room = plan.analog, frozenset[str]()
        for group in groups:
            if self.fits(graph, plan, analog.union(group)):
                analog = analog.union(group)
            else:
                without_room = without_room.union(group)
        return analog, without_room


class Unjudged(Strategy):
    """A placement about which no judge is asked."""

    searches: ClassVar[bool] = False

    def placed(
        self, graph: LayerGraph, plan: Plan, groups: Iterable[Group], why: tuple[Reason, str], why_not: str
    ) -> PassResult:
        """The plan with these groups analog as far as there are tiles, all else digital.

        Args:
            groups: those that get their tiles first come first.
            why: reason and detail of the analog layers.
            why_not: detail of those that the rule leaves digital.
        """
        analog, without_room = self.with_room(graph, plan, groups)

        def digital(name: str) -> tuple[Reason, str]:
            return ("tiles", "no tiles left for it") if name in without_room else ("strategy", why_not)

        return PassResult(decide(plan, analog, digital, why[1], why[0]))


def most_tiles(plan: Plan, max_tiles: int | None) -> int | None:
    """Greatest number of tiles, by the machine and by what the user allows of it; None: as many as it takes."""
    return min((count for count in (plan.hardware.tiles.count, max_tiles) if count is not None), default=None)


def fits(graph: LayerGraph, plan: Plan, placement: frozenset[str], max_tiles: int | None = None) -> bool:
    """Whether the machine, and what the user allows of it, has tiles for a placement.

    Columns of a layer that the plan splits are not on tiles without the rest of it.
    """
    if any(columns_of(name) in placement and name not in placement for name in plan.digital_columns):
        return False
    most = most_tiles(plan, max_tiles)
    return most is None or plan.tiles_of(graph, placement) <= most


def kept_limits(graph: LayerGraph, plan: Plan, goal: Goal) -> bool:
    """Whether a plan's placement keeps to the bounds of a goal."""
    found: dict[Measure, float] = {"tiles": plan.tiles(graph)}
    if goal.limits.keys() - {"tiles"}:
        cost = cost_of(graph, plan.analog, plan.hardware, plan.copies, plan.sums, plan.digital)
        found |= {"latency": cost.latency_s, "energy": cost.energy_j}
    return all(found[measure] <= bound * (1 + _ROUNDING) for measure, bound in goal.limits.items())


def objective_value(graph: LayerGraph, plan: Plan, objective: Objective, placement: frozenset[str]) -> float:
    """Value of a placement by the objective, smaller is better: digital MACs, latency in s, or energy in J."""
    if objective == "macs":
        return plan.macs - sum(layer.macs for layer in plan.layers if layer.name in placement)
    cost = cost_of(graph, placement, plan.hardware, plan.copies, plan.sums, plan.digital)
    return spent(cost, objective)


def damage_of(
    graph: LayerGraph, plan: Plan, placement: Iterable[str], copies: Mapping[str, int] = MappingProxyType({})
) -> float:
    """Estimated damage of a placement: the sum of its sensitivities; layers that share their weights have one.

    What makes outputs better by chance (a negative mean) counts 0, and so does a layer without a sensitivity. With more
    copies of its weights than it was found with, a layer does less damage: as 1 / copies.

    Args:
        copies: layer -> copies of its weights; the plan's where it is missing.
    """
    chosen = frozenset(placement)
    rows = {layer.name: layer for layer in plan.layers if layer.name in chosen}
    return sum(damage_together([rows[name] for name in tie], copies) for tie in graph.tied(rows))


def damage_together(layers: Iterable[LayerPlan], copies: Mapping[str, int] = MappingProxyType({})) -> float:
    """Estimated damage of layers that share their weights: the greatest of theirs; see `damage_of`."""

    def damage(layer: LayerPlan) -> float:
        found = layer.damage
        return 0.0 if found is None else found.mean * found.copies / copies.get(layer.name, layer.copies)

    return max(0.0, *map(damage, layers))


def decide(
    plan: Plan,
    analog: frozenset[str],
    why_not: Callable[[str], tuple[Reason, str]],
    why: str,
    because: Reason = "budget",
) -> Plan:
    """The plan with every eligible layer decided.

    Args:
        why_not: reason and detail of a digital one.
    """
    decisions: dict[str, tuple[Placement, Reason, str]] = {}
    for name in plan.eligible:
        decisions[name] = ("analog", because, why) if name in analog else ("digital", *why_not(name))
    return plan.decide(decisions)


def reason(without_room: frozenset[str], not_met: str = NOT_MET) -> Callable[[str], tuple[Reason, str]]:
    """Reason why an eligible layer is digital: no tiles, or the budget, and what is said of that."""

    def why_not(name: str) -> tuple[Reason, str]:
        if name in without_room:
            return "tiles", "no tiles left for it beside less sensitive layers"
        return "sensitivity", not_met

    return why_not
