"""The layer graph of a network, for networkx."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lhc.errors import ModelError, OpenSizesError
from lhc.graph import LayerGraph
from lhc.onnx_io import example_shapes, read_graph, read_plan, refuse_compiled
from lhc.onnx_model import ModelSource
from lhc.pipeline.inputs.model_source import LoadedModel, open_model
from lhc.plan import Plan
from lhc.plan.placed_graph import placed_graph

if TYPE_CHECKING:
    import networkx as nx


def layer_graph(model: ModelSource, shapes: Mapping[str, tuple[int, ...]] | None = None) -> "nx.MultiDiGraph[str]":
    """The operators of a network and the tensors between them, as a frozen graph of networkx.

    Nodes are names of operators, in the order of the file; ``layer`` holds an operator's facts (`lhc.graph.Layer`).
    Edges are tensors, one a read, so there are two where ``y = a * a``: ``tensor`` is its name, ``shape`` that of one
    sample, ``dtype`` its element type; both are None where they are not known. Of an annotated model the nodes also
    carry the placement (`lhc.plan.placed_graph.placed_graph`): ``placement``, ``reason``, ``detail``, ``sensitivity``,
    ``sensitivity_basis``, ``macs``, ``tiles`` and ``copies``.

    Args:
        shapes: full shapes of inputs, where the file leaves sizes open; else those of an example are taken, and named
            in a warning.

    Raises:
        ModelError: the model cannot be read, or is a compiled one.
        UsageError: a shape that contradicts the model.
    """
    opened = open_model(model)
    plan = read_plan(opened.model)
    if plan is not None and plan.source != opened.model.source:
        opened.warn(
            "the network has changed since lhc placed it; the placement in its graph is that of the earlier one"
        )
    return graph_of(opened, plan, shapes)


def graph_of(
    opened: LoadedModel, plan: Plan | None, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> "nx.MultiDiGraph[str]":
    """Layer graph of a model that was loaded before, with this plan, for networkx."""
    refuse_compiled(opened.model)
    if plan is not None:
        opened, shapes = opened.with_control(plan.control).split_as(plan), {**plan.shapes, **(shapes or {})}
    return placed_graph(_facts(opened, shapes or {}), plan)


def _facts(opened: LoadedModel, shapes: Mapping[str, tuple[int, ...]]) -> LayerGraph:
    """The layers with their sizes, or without them where only samples tell them."""
    try:
        return opened.graph(shapes)
    except OpenSizesError:
        example = example_shapes(opened.model, shapes)
        of = " ".join(f"{name}={','.join(map(str, shape))}" for name, shape in example.items())
        opened.warn(f"the file leaves sizes open, so shapes in its graph are of an example, {of}")
        shapes = {**shapes, **example}
    except ModelError as error:
        opened.warn(f"shapes are left out of its graph: {error}")
        return read_graph(opened.model, sizes=False)
    return opened.graph(shapes)
