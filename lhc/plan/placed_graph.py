"""The layer graph with a plan's decisions on its nodes, for networkx's algorithms and other tools of graphs."""

from typing import TYPE_CHECKING

from lhc.graph import LayerGraph
from lhc.plan.layer_plan import LayerPlan
from lhc.plan.schema import Plan

if TYPE_CHECKING:
    import networkx as nx


def placed_graph(graph: LayerGraph, plan: Plan | None) -> "nx.MultiDiGraph[str]":
    """A frozen copy of `LayerGraph.networkx`, with the decisions of a plan; without one, the facts alone.

    The plan adds these attributes to every node:

    - ``placement``: ``analog`` or ``digital``;
    - ``reason``, ``detail``: why, as a token and as a sentence; empty for operators that multiply nothing;
    - ``sensitivity``: damage that the layer alone does on tiles, the mean over chips, in the unit of the graph's
      attribute ``metric``; None where it was neither measured nor predicted;
    - ``sensitivity_basis``: ``measured`` or ``predicted``; None likewise;
    - ``macs``: multiply-accumulates by stored weights, per sample;
    - ``tiles``: that it takes, all copies of its weights included; 0 for a digital layer;
    - ``copies``: times that tiles hold its weights; 0 for a digital layer.

    Layers that nothing has decided about (``reason`` is ``eligible``) have the tiles and copies that they would take.
    Layers that share their weights share their tiles. Products in bodies and local functions are no nodes.
    """
    import networkx as nx

    facts = graph.networkx
    found = nx.MultiDiGraph(**facts.graph)
    found.add_nodes_from(facts.nodes(data=True))
    for name in facts:  # so that predecessors stay in the order of their inputs
        found.add_edges_from(facts.in_edges(name, keys=True, data=True))
    if plan is not None:
        rows = {layer.name: layer for layer in plan.layers}
        nx.set_node_attributes(found, {name: _decided(rows.get(name)) for name in found})
        metrics = {layer.sensitivity.metric for layer in plan.layers if layer.sensitivity is not None}
        found.graph.update(metric=", ".join(sorted(metrics)), hardware=plan.hardware.name)
    return nx.freeze(found)


def _decided(row: LayerPlan | None) -> dict[str, str | int | float | None]:
    """Attributes of a node; without a row, it multiplies nothing and is computed digitally."""
    if row is None:
        nothing = {"sensitivity": None, "sensitivity_basis": None, "macs": 0, "tiles": 0, "copies": 0}
        return {"placement": "digital", "reason": "", "detail": "", **nothing}
    return {
        "placement": row.placement,
        "reason": row.reason,
        "detail": row.detail,
        "sensitivity": None if row.sensitivity is None else row.sensitivity.mean,
        "sensitivity_basis": None if row.sensitivity is None else row.sensitivity.basis,
        "macs": row.macs,
        "tiles": row.tiles if row.may_be_analog else 0,
        "copies": row.copies if row.may_be_analog else 0,
    }
