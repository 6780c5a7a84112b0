"""The strategies ``all-analog``, ``all-digital`` and ``first-last``: placements that follow from the graph alone."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from lhc.graph import LayerGraph
from lhc.passes.base import PassResult
from lhc.passes.strategies.base import Unjudged
from lhc.plan import Plan


@dataclass(frozen=True)
class _FixedRule(Unjudged):
    @abstractmethod
    def _digital(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Which of the eligible layers, given in file order, are digital; what shares their weights follows."""

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        digital = frozenset(self._digital(plan.eligible))
        chosen = [group for group in self.groups(graph, plan) if digital.isdisjoint(group)]
        by = f"by {self.name}"
        return self.placed(graph, plan, chosen, ("strategy", by), by)


@dataclass(frozen=True)
class AllAnalog(_FixedRule):
    """Every eligible layer analog."""

    name: ClassVar[str] = "all-analog"

    def _digital(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class AllDigital(_FixedRule):
    """Every eligible layer digital."""

    name: ClassVar[str] = "all-digital"

    def _digital(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names


@dataclass(frozen=True)
class FirstLast(_FixedRule):
    """First and last eligible layer digital, all others analog."""

    name: ClassVar[str] = "first-last"

    def _digital(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names[:1] + names[-1:]
