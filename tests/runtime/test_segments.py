"""Digital segments against what they are defined by."""

from hypothesis import given
from hypothesis import strategies as st

from lhc.graph import Layer, LayerGraph
from lhc.runtime.segments import cut_graph


@st.composite
def partly_constant(draw: st.DrawFn) -> tuple[LayerGraph, frozenset[str], frozenset[str]]:
    """A graph, the tensors that are known in it, and its analog layers; one of these may be gone."""
    layers: list[Layer] = []
    for i in range(draw(st.integers(1, 8))):
        sources = draw(st.lists(st.sampled_from(["x", "w", *(f"t{j}" for j in range(i))]), max_size=3))
        op = draw(st.sampled_from(["Add", "Sqrt", "MatMul", "RandomNormalLike", "If"]))
        layers.append(Layer(f"n{i}", op, tuple(sources), (f"t{i}",)))
    known = draw(st.frozensets(st.sampled_from(["w", *(layer.outputs[0] for layer in layers)]))) | {"w"}
    analog = draw(st.frozensets(st.sampled_from([*(layer.name for layer in layers), "gone"])))
    return LayerGraph(layers, ["x"], [layers[-1].outputs[0]]), known, analog


@given(partly_constant())
def test_no_segment_is_given_what_follows_from_constants(
    case: tuple[LayerGraph, frozenset[str], frozenset[str]],
) -> None:
    graph, known, analog = case
    constant = set(known)
    for name in graph.order():
        layer = graph[name]
        varies = name in analog or layer.op_type in ("RandomNormalLike", "If") or not layer.inputs
        if not varies and constant.issuperset(layer.inputs):
            constant.update(layer.outputs)
    constant -= {t for layer in graph.layers if layer.name in analog for t in layer.inputs if t not in known}
    segments = [segment for segment, _ in cut_graph(graph, analog, known) if segment is not None]
    for segment in segments:
        outside = {t for name in segment.layers for t in graph[name].inputs}
        outside -= {t for name in segment.layers for t in graph[name].outputs}
        assert set(segment.inputs) == outside - constant
