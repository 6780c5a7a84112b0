"""Fewer copies of weights for layers that all their copies make dearer on tiles than digital.

Conversions at a layer's borders aside. Half of the copies, a quarter, … down to one are looked at: the most that leave
half of what one copy saves; one copy where that saves nothing either, as such a layer stays digital unless conversions
pay for it. Layers that the user forces onto tiles keep theirs then.
"""

from dataclasses import dataclass
from typing import ClassVar

from lhc.costs import cost_terms, costs_on_tiles, spent
from lhc.graph import LayerGraph
from lhc.passes.base import Pass, PassResult
from lhc.passes.strategies.base import Objective
from lhc.passes.strategies.milp import Milp
from lhc.passes.strategies.registry import default_objective
from lhc.plan import Plan
from lhc.support.number_formatting import counted


@dataclass(frozen=True)
class ProfitableCopies(Pass):
    """Copies with which layers cost less on tiles than digital.

    Attributes:
        objective: by which they are to pay; None: what a search goes for where the user does not say.
    """

    name: ClassVar[str] = "paying-copies"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified"})
    objective: Objective | None = None

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        objective = self.objective or default_objective(Milp, graph, plan.hardware)
        fewer, paying = ({}, 0) if objective == "macs" else _fewer(graph, plan, objective)
        what = f"{counted(paying, 'layer')} with all copies that their tiles have room for would take more"
        notes = (f"{what} {objective} than digital: they have fewer",) if paying else ()
        return PassResult(plan.with_copies(graph, fewer), notes)


def halved(copies: int) -> list[int]:
    """A number of copies, its half, and so on down to one."""
    return [copies >> shift for shift in range(copies.bit_length())]


def _fewer(graph: LayerGraph, plan: Plan, objective: Objective) -> tuple[dict[str, int], int]:
    """The copies of layers that are to have fewer, those on the same tiles alike, and how many of them may pay."""
    digital, on_tiles = (
        cost_terms(graph, plan.hardware, arithmetic=plan.digital).digital,
        costs_on_tiles(graph, plan.hardware, plan.sums),
    )

    def saves(name: str, copies: int) -> float:
        return spent(digital[name], objective) - spent(on_tiles(name, copies), objective)

    found: dict[str, int] = {}
    free, paying = frozenset(plan.eligible), 0
    for name, count in plan.copies.items():
        one = saves(name, 1)
        if saves(name, count) < 0 and (one > 0 or name in free):
            paying += one > 0
            found[name] = next(k for k in halved(count) if k == 1 or saves(name, k) >= one / 2 > 0)
    return graph.least_of_tied(found, (layer.name for layer in plan.layers if layer.may_be_analog)), paying
