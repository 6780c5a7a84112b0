"""What a pass is.

A pass is a frozen dataclass; its fields are its options. ``run`` takes facts (the graph) and decisions (the plan)
and returns new decisions; neither argument is changed. A search strategy is a pass that is given a `Judge`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from lhc.graph import LayerGraph
from lhc.plan import Plan
from lhc.results import Verdict

__all__ = ["Judge", "Pass", "PassResult", "run_passes"]


class Judge(Protocol):
    """Says whether a joint placement holds the user's budget."""

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judge the network with exactly these layers analog."""
        ...


@dataclass(frozen=True)
class PassResult:
    """What a pass returns.

    Attributes:
        plan: the new decisions.
        notes: sentences for the user.
        fallbacks: for strategies, safer analog sets to step back to, the nearest first.
    """

    plan: Plan
    notes: tuple[str, ...] = ()
    fallbacks: tuple[frozenset[str], ...] = ()


class Pass(ABC):
    """One step that decides something."""

    name: ClassVar[str]

    @abstractmethod
    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        """Return a plan with this pass's decisions."""


def run_passes(passes: Iterable[Pass], graph: LayerGraph, plan: Plan) -> PassResult:
    """Run passes one after the other; notes are collected, fallbacks are those of the last."""
    result = PassResult(plan)
    notes: tuple[str, ...] = ()
    for step in passes:
        result = step.run(graph, result.plan)
        notes += result.notes
    return PassResult(result.plan, notes, result.fallbacks)
