"""Layers that no judged output depends on: those that are not its ancestors in the layer graph.

Nothing that is measured shows what another layer loses on tiles, so it stays digital. Layers that share their weights
share one decision; one that is judged is enough.
"""

from dataclasses import dataclass
from typing import ClassVar

from lhc.graph import LayerGraph
from lhc.passes.base import Pass, PassResult
from lhc.plan import Decision, Plan

__all__ = ["LeaveUnjudged", "judged_layers"]


def judged_layers(graph: LayerGraph, outputs: tuple[str, ...]) -> frozenset[str]:
    """Names of the operators that some of these outputs depend on."""
    import networkx as nx

    writers = {name for output in outputs if (name := graph.producer(output)) is not None}
    return frozenset(writers).union(*(nx.ancestors(graph.networkx, name) for name in writers))


@dataclass(frozen=True)
class LeaveUnjudged(Pass):
    """Leave layers digital that no judged output depends on, unless the user fixed them.

    Attributes:
        outputs: those that are judged.
    """

    outputs: tuple[str, ...]
    name: ClassVar[str] = "leave-unjudged"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified"})

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        judged = judged_layers(graph, self.outputs)
        detail = (
            f"{_depends(self.outputs)} on it, so nothing shows what it loses on tiles{_others(graph, self.outputs)}"
        )
        decisions: dict[str, Decision] = {}
        for group in graph.tied(plan.eligible):
            if judged.isdisjoint(group):
                decisions |= dict.fromkeys(group, ("digital", "not-judged", detail))
        return PassResult(plan.decide(decisions))


def _depends(outputs: tuple[str, ...]) -> str:
    if len(outputs) == 1:
        return f"output {outputs[0]!r}, which is judged, does not depend"
    return f"none of the judged outputs {', '.join(map(repr, outputs))} depends"


def _others(graph: LayerGraph, outputs: tuple[str, ...]) -> str:
    """Options that would judge these layers: the other outputs."""
    others = [name for name in graph.outputs if name not in outputs]
    return f"; --output {others[0] if len(others) == 1 else 'NAME'} judges another output" if others else ""
