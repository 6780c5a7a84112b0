"""Strategies: how the analog set is found.

- ``sensitivity``: order layers by damage per MAC, second or joule, bisect for the longest row that holds the budget,
  then try the layers after it one by one (`lhc.passes.order`). Takes about log2(N) judgements plus the repairs.
- ``milp``: the best set by estimated damage and cost, solved exactly, judged and repaired (`lhc.passes.search_milp`).
- ``lionheart``, ``random``: one walk through the layers, each kept if the joint placement holds the budget
  (`lhc.passes.walks`). Takes N judgements.
- ``exhaustive``, ``hilal``: to compare with (`lhc.passes.exhaustive`, `lhc.passes.hilal`).
- ``all-analog``, ``all-digital``, ``first-last`` (first and last eligible layer digital): fixed rules, not judged here.

Only eligible layers are decided; what the user forced stays. Layers that share weights move together, and so do those
that the user wants together.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lhc.costs import cost_terms
from lhc.errors import ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.passes.base import PassResult
from lhc.passes.exhaustive import Exhaustive
from lhc.passes.hilal import Hilal
from lhc.passes.order import SensitivityOrder
from lhc.passes.search_base import Goal, Objective, Strategy, decide
from lhc.passes.search_milp import Milp
from lhc.passes.walks import LionHeart, Random
from lhc.plan import Placement, Plan, Reason

__all__ = [
    "STRATEGIES",
    "AllAnalog",
    "AllDigital",
    "FirstLast",
    "LionHeart",
    "SensitivityOrder",
    "Strategy",
    "check_goal",
    "default_objective",
    "strategy_of",
]


@dataclass(frozen=True)
class _Rule(Strategy):
    """A placement that follows from the graph alone."""

    searches: ClassVar[bool] = False

    @abstractmethod
    def _digital(self, names: tuple[str, ...]) -> frozenset[str]:
        """Which of the eligible layers, given in file order, are digital; what shares their weights follows."""

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        groups = self.groups(graph, plan)
        digital = self._digital(plan.eligible)
        analog = plan.analog
        without_room = frozenset[str]()
        for group in groups:
            if digital.isdisjoint(group):
                room = self.fits(graph, plan, analog | frozenset(group))
                analog, without_room = (
                    (analog | frozenset(group), without_room) if room else (analog, without_room | frozenset(group))
                )

        def why_not(name: str) -> tuple[Reason, str]:
            return ("tiles", "no tiles left for it") if name in without_room else ("strategy", f"by {self.name}")

        decided = decide(plan, analog, why_not, "")
        rule: dict[str, tuple[Placement, Reason, str]] = {
            name: ("analog", "strategy", f"by {self.name}") for name in plan.eligible if name in analog
        }
        return PassResult(decided.decide(rule))


@dataclass(frozen=True)
class AllAnalog(_Rule):
    """Every eligible layer analog."""

    name: ClassVar[str] = "all-analog"

    def _digital(self, names: tuple[str, ...]) -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True)
class AllDigital(_Rule):
    """Every eligible layer digital."""

    name: ClassVar[str] = "all-digital"

    def _digital(self, names: tuple[str, ...]) -> frozenset[str]:
        return frozenset(names)


@dataclass(frozen=True)
class FirstLast(_Rule):
    """First and last eligible layer digital, all others analog."""

    name: ClassVar[str] = "first-last"

    def _digital(self, names: tuple[str, ...]) -> frozenset[str]:
        return frozenset(names[:1] + names[-1:])


STRATEGIES: Mapping[str, type[Strategy]] = {
    strategy.name: strategy
    for strategy in (SensitivityOrder, Milp, LionHeart, Hilal, Exhaustive, Random, AllAnalog, AllDigital, FirstLast)
}


def strategy_of(strategy: str | type[Strategy]) -> type[Strategy]:
    """The strategy of that name; a class is its own answer.

    Raises:
        UsageError: there is none; the message lists them.
    """
    if not isinstance(strategy, str):
        return strategy
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}")
    return STRATEGIES[strategy]


def default_objective(strategy: type[Strategy], graph: LayerGraph, hardware: Hardware) -> Objective:
    """What a placement is to be best at where the user does not say: least energy, where it can be told.

    Most MACs on tiles where the machine has no costs, where the file does not tell the sizes of its layers, and for
    strategies that go by neither latency nor energy.
    """
    if not strategy.follows_goal or hardware.costs is None:
        return "macs"
    try:
        cost_terms(graph, hardware)
    except ModelError:
        return "macs"
    return "energy"


def check_goal(strategy: type[Strategy], goal: Goal) -> None:
    """Refuse a strategy that cannot go for a goal.

    Raises:
        UsageError: so it is; the message lists those that can.
    """
    if goal.needs_costs and not strategy.follows_goal:
        able = ", ".join(other for other, kind in STRATEGIES.items() if kind.follows_goal)
        raise UsageError(
            f"strategy {strategy.name!r} does not go by latency or energy, whatever --objective says; these take"
            f" --objective, --max-latency and --max-energy: {able}"
        )
