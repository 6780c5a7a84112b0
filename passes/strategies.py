"""Strategies: how the analog set is found.

- ``sensitivity``: order layers by damage per MAC, bisect for the longest prefix that holds the budget, then try the
  layers after it one by one. Takes about log2(N) judgements plus the repairs.
- ``milp``: the best set by estimated damage and cost, solved exactly, judged and repaired (`lhc.passes.search_milp`).
- ``lionheart``, ``random``: one walk through the layers, each kept if the joint placement holds the budget
  (`lhc.passes.walks`). Takes N judgements.
- ``exhaustive``, ``hilal``: to compare with (`lhc.passes.exhaustive`, `lhc.passes.hilal`).
- ``all-analog``, ``all-digital``, ``first-last`` (first and last eligible layer digital): fixed rules, not judged here.

Only eligible layers are decided; what the user forced stays. Layers that share weights move together, and so do those
that the user wants together.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.passes.base import PassResult
from lhc.passes.exhaustive import Exhaustive
from lhc.passes.hilal import Hilal
from lhc.passes.search_base import Goal, Group, Strategy, damage_of, decide, reason
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
    "strategy_of",
]


@dataclass(frozen=True)
class SensitivityOrder(Strategy):
    """Order by damage per MAC, bisect, repair.

    Attributes:
        repairs: most layers that are tried after the bisection.
    """

    repairs: int = 8
    name: ClassVar[str] = "sensitivity"
    needs_sensitivity: ClassVar[bool] = True

    @classmethod
    def most_judgements(cls, groups: int) -> int:
        """Of the bisection, all layers first, and of the repair."""
        return min(1 + math.ceil(math.log2(groups + 1)) + cls.repairs, (1 << groups) - 1)

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        damage = _damage_per_mac(graph, plan)
        order = sorted(self.groups(graph, plan), key=lambda group: (damage(group), group))
        fitting = self._fitting(graph, plan, order)
        chosen = self._bisect(plan.analog, fitting)
        chosen += self._repair(plan.analog, chosen, [g for g in fitting if g not in chosen])
        analog = plan.analog.union(*chosen)
        without_room = frozenset(name for g in order if g not in fitting for name in g)
        decided = decide(plan, analog, reason(without_room), "within the budget together with the other analog layers")
        safer = sorted(chosen, key=damage)
        fallbacks = tuple(plan.analog.union(*safer[:n]) for n in range(len(safer) - 1, -1, -1))
        return PassResult(decided, fallbacks=fallbacks)

    def _fitting(self, graph: LayerGraph, plan: Plan, order: Sequence[Group]) -> list[Group]:
        """Groups in order, those left out for which no tiles remain."""
        taken: list[Group] = []
        for group in order:
            if self.fits(graph, plan, plan.analog.union(*taken, group)):
                taken.append(group)
        return taken

    def _bisect(self, fixed: frozenset[str], order: Sequence[Group]) -> list[Group]:
        """The longest prefix that holds the budget, if acceptance falls with length; all of it is tried first."""
        good, bad = 0, len(order) + 1
        middle = len(order)
        while good < middle < bad:
            if self.judge.within(fixed.union(*order[:middle])).accepted:
                good = middle
            else:
                bad = middle
            middle = (good + bad) // 2
        return list(order[:good])

    def _repair(self, fixed: frozenset[str], chosen: Sequence[Group], rest: Sequence[Group]) -> list[Group]:
        """Layers that can be added although an earlier one could not: the order is only an estimate."""
        added: list[Group] = []
        # The first one left is what the bisection stopped at: it has been judged.
        for group in rest[1 : 1 + self.repairs]:
            if self.judge.within(fixed.union(*chosen, *added, group)).accepted:
                added.append(group)
        return added


def _damage_per_mac(graph: LayerGraph, plan: Plan) -> Callable[[Group], float]:
    macs = {layer.name: layer.macs for layer in plan.layers}

    def damage(group: Group) -> float:
        return damage_of(graph, plan, group) / max(sum(macs[name] for name in group), 1)

    return damage


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


def check_goal(strategy: type[Strategy], goal: Goal) -> None:
    """Refuse a strategy that cannot go for a goal.

    Raises:
        UsageError: so it is; the message lists those that can.
    """
    if goal.needs_costs and not strategy.follows_goal:
        able = ", ".join(other for other, kind in STRATEGIES.items() if kind.follows_goal)
        raise UsageError(
            f"strategy {strategy.name!r} goes for MACs, whatever their latency and energy; these take --objective,"
            f" --max-latency and --max-energy: {able}"
        )
