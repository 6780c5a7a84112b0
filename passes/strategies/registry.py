"""Registry of strategies by name, from lhc and from other packages.

- ``sensitivity``: order layers by damage per MAC, second or joule, and bisect for how far to go in this order
  (`lhc.passes.strategies.sensitivity_order`). About log2(N) judgements.
- ``milp``: the best set by estimated damage and cost, solved exactly, judged and repaired
  (`lhc.passes.strategies.milp`).
- ``lionheart``, ``random``: one walk through the layers, each kept if the joint placement holds the budget
  (`lhc.passes.strategies.lionheart_walk`). Takes N judgements.
- ``exhaustive``, ``hilal``: to compare with (`lhc.passes.strategies.exhaustive`, `lhc.passes.strategies.hilal`).
- ``all-analog``, ``all-digital``, ``first-last`` (first and last eligible layer digital): fixed rules, not judged here
  (`lhc.passes.strategies.fixed_rules`).

Each is a file of its own. What all share is in `lhc.passes.strategies.base`; what those that go by estimates share is
in `lhc.passes.search`. Only eligible layers are decided; what the user forced stays. Layers that share weights move
together, and so do those that the user wants together.
"""

from collections.abc import Mapping

from lhc.costs import cost_terms
from lhc.errors import ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.passes.strategies.base import Goal, Objective, Strategy
from lhc.passes.strategies.exhaustive import Exhaustive
from lhc.passes.strategies.fixed_rules import AllAnalog, AllDigital, FirstLast
from lhc.passes.strategies.hilal import Hilal
from lhc.passes.strategies.lionheart_retraining import RETRAINING_STRATEGIES
from lhc.passes.strategies.lionheart_walk import LionHeart, Random
from lhc.passes.strategies.milp import Milp
from lhc.passes.strategies.sensitivity_order import SensitivityOrder

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
    if strategy in RETRAINING_STRATEGIES and strategy not in STRATEGIES:
        raise UsageError(f"strategy {strategy!r} trains while it searches; give --retrain too")
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}")
    return STRATEGIES[strategy]


def default_objective(strategy: type[Strategy], graph: LayerGraph, hardware: Hardware) -> Objective:
    """Default objective: least energy where the machine has costs.

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
