"""Costs of a plan on its machine, with throughput, power and area."""

from lhc.costs import SystemCost, SystemFigures, cost_of, system_figures
from lhc.graph import LayerGraph
from lhc.plan import Plan


def plan_cost(plan: Plan, graph: LayerGraph) -> SystemCost | None:
    """Cost of a plan's placement, per sample; None where its hardware describes no costs.

    Raises:
        ModelError: the size of a product is not known.
        UsageError: the graph has not all layers that are analog.
    """
    return (
        None
        if plan.hardware.costs is None
        else cost_of(graph, plan.analog, plan.hardware, plan.copies, plan.sums, plan.digital)
    )


def digital_cost(plan: Plan, graph: LayerGraph) -> SystemCost | None:
    """Cost of the all-digital network on the plan's machine; None and errors as `plan_cost`."""
    return None if plan.hardware.costs is None else cost_of(graph, frozenset(), plan.hardware, arithmetic=plan.digital)


def plan_figures(plan: Plan, graph: LayerGraph, cost: SystemCost) -> SystemFigures:
    """Throughput, power and area of a placement with these costs."""
    tiles = {layer.name: layer.tiles for layer in plan.layers if layer.placement == "analog"}
    return system_figures(graph, plan.hardware, cost, tiles)
