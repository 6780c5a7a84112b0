"""A plan alone, as a file carries it: its table, and its candidates as a graph. The network is not looked at."""

from lhc.graph import Layer, LayerGraph, WeightRef
from lhc.plan import Plan
from lhc.plan.recurrent_steps import folded
from lhc.plan.sensitivity_wording import WITH_COPIES, sensitivity_columns
from lhc.support.tables import Table


def plan_table(plan: Plan) -> Table:
    """A plan, one row a layer."""
    layers = folded(plan).layers
    sensitivities = sensitivity_columns(layers)
    rows = [
        [
            layer.title,
            layer.kind,
            layer.placement,
            layer.reason,
            f"{layer.macs:,}",
            str(layer.tiles if layer.placement == "analog" else 0),
            *([str(layer.copies) if layer.placement == "analog" else "-"] if plan.has_copies else []),
            *(column.get(layer.name, "-") for column in sensitivities.values()),
            layer.detail,
        ]
        for layer in layers
    ]
    copies = ["copies"] if plan.has_copies else []
    headers = ["layer", "operator", "placement", "reason", "MACs", "tiles", *copies, *sensitivities, "detail"]
    least = ("detail", WITH_COPIES, "operator", "MACs", *copies, next(iter(sensitivities), ""), "tiles", "reason")
    spare = [headers.index(name) for name in least if name in headers]
    return Table(headers, rows, right=(4, 5, *([6] if copies else [])), spare=spare)


def graph_of_plan(plan: Plan) -> LayerGraph:
    """The candidates alone, without sizes and tensors: for a file whose sizes are not known until it runs.

    Layers that read one initializer share their tiles. What they write is left out: bodies of loops may use one name
    for tensors of their own.
    """
    layers = [
        Layer(
            layer.name,
            layer.kind,
            (),
            (),
            None if layer.weight is None else WeightRef(layer.weight, 1, (), "float32", layer.weight),
        )
        for layer in plan.layers
    ]
    return LayerGraph(layers, (), ())
