"""The layer graph: its order, segments and ties against brute force."""

import pickle
from collections.abc import Iterator
from itertools import pairwise, permutations, product

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.errors import ModelError
from lhc.graph import Layer, LayerGraph, MatrixShape, TensorType, WeightRef, obstacle


def layer(name: str, inputs: tuple[str, ...], op: str = "Relu", weight: WeightRef | None = None) -> Layer:
    return Layer(name, op, inputs, (f"{name}.out",), weight)


def weight(tile_set: str = "ab", shape: tuple[int, ...] = (4, 3), dtype: str = "float32") -> WeightRef:
    return WeightRef("w", 1, shape, dtype, tile_set)


def dag(edges: tuple[tuple[int, ...], ...], order: list[int]) -> LayerGraph:
    """Layer ``i`` reads layers ``edges[i]``, all of them smaller than ``i``; listed in ``order``."""
    layers = [layer(str(i), ("x", *(f"{p}.out" for p in parents))) for i, parents in enumerate(edges)]
    return LayerGraph([layers[i] for i in order], ["x"], [f"{len(edges) - 1}.out"])


@st.composite
def graphs(draw: st.DrawFn, largest: int = 7) -> tuple[LayerGraph, frozenset[str]]:
    count = draw(st.integers(1, largest))
    edges = tuple(tuple(sorted(draw(st.sets(st.integers(0, i - 1), max_size=3)))) if i else () for i in range(count))
    analog = draw(st.sets(st.integers(0, count - 1)))
    return dag(edges, draw(st.permutations(range(count)))), frozenset(map(str, analog))


def paths_to(graph: LayerGraph, name: str) -> Iterator[tuple[str, ...]]:
    """Every path from a source to a layer."""
    above = graph.producers(name)
    if not above:
        yield (name,)
    for producer in above:
        for path in paths_to(graph, producer):
            yield (*path, name)


@given(graphs())
def test_depth_is_the_most_alternations_on_any_path(case: tuple[LayerGraph, frozenset[str]]) -> None:
    graph, analog = case
    depths = graph.depths(analog)
    for name in (layer.name for layer in graph.layers):
        # A digital layer waits for every analog one before it, but not for the digital ones between.
        longest = max(
            sum(first in analog and second not in analog for first, second in pairwise(path))
            for path in paths_to(graph, name)
        )
        assert depths[name] == longest


def segments_are_runnable(graph: LayerGraph, analog: frozenset[str], segment: dict[str, int]) -> bool:
    """Whether segments of digital layers, and single analog layers, can run one after the other.

    Segment 0 is that of the inputs: it comes before whatever reads them.
    """
    units = {name: name if name in analog else f"segment {segment[name]}" for name in segment}
    whole: nx.DiGraph[str] = nx.DiGraph()
    whole.add_nodes_from(units.values())
    for name in units:
        if "x" in graph[name].inputs and units[name] != "segment 0":
            whole.add_edge("segment 0", units[name])
        whole.add_edges_from((units[p], units[name]) for p in graph.producers(name) if units[p] != units[name])
    return bool(nx.is_directed_acyclic_graph(whole))


@given(graphs())
def test_segments_by_depth_have_no_cycle(case: tuple[LayerGraph, frozenset[str]]) -> None:
    graph, analog = case
    assert segments_are_runnable(graph, analog, dict(graph.depths(analog)))


@given(graphs(largest=6))
def test_no_other_grouping_has_fewer_segments(case: tuple[LayerGraph, frozenset[str]]) -> None:
    graph, analog = case
    digital = [layer.name for layer in graph.layers if layer.name not in analog]
    depths = graph.depths(analog)
    count = len({0, *(depths[name] for name in digital)})
    for fewer in range(1, count):
        for choice in product(range(fewer), repeat=len(digital)):
            segment = dict.fromkeys(analog, 0) | dict(zip(digital, choice, strict=True))
            assert not segments_are_runnable(graph, analog, segment)


def test_depths_of_a_residual_block() -> None:
    graph = LayerGraph(
        [
            layer("conv1", ("x",), "Conv"),
            layer("relu1", ("conv1.out",)),
            layer("conv2", ("relu1.out",), "Conv"),
            layer("add", ("conv2.out", "relu1.out"), "Add"),
            layer("conv3", ("add.out",), "Conv"),
        ],
        ["x"],
        ["conv3.out"],
    )
    assert graph.depths(frozenset()) == dict.fromkeys(("conv1", "relu1", "conv2", "add", "conv3"), 0)
    analog = frozenset({"conv1", "conv2", "conv3"})
    assert graph.depths(analog) == {"conv1": 0, "relu1": 1, "conv2": 1, "add": 2, "conv3": 2}


@given(graphs())
def test_order_is_topological_and_the_same_every_time(case: tuple[LayerGraph, frozenset[str]]) -> None:
    graph, _ = case
    order = graph.order()
    assert sorted(order) == sorted(layer.name for layer in graph.layers)
    position = {name: i for i, name in enumerate(order)}
    assert all(position[p] < position[name] for name in order for p in graph.producers(name))
    assert LayerGraph(graph.layers, graph.inputs, graph.outputs).order() == order


@given(graphs(largest=6))
def test_order_is_the_first_topological_one_in_the_numbering_of_the_file(
    case: tuple[LayerGraph, frozenset[str]],
) -> None:
    graph, _ = case
    # Permutations come in ascending order, so the first that is topological is the least.
    for order in permutations(layer.name for layer in graph.layers):
        if all(order.index(p) < order.index(name) for name in order for p in graph.producers(name)):
            assert order == graph.order()
            return
    raise AssertionError("a graph without a cycle has a topological order")


@given(graphs())
def test_ancestors_are_the_layers_on_paths_to_a_layer(case: tuple[LayerGraph, frozenset[str]]) -> None:
    graph, _ = case
    for name in graph.networkx:
        on_paths = {step for path in paths_to(graph, name) for step in path}
        assert nx.ancestors(graph.networkx, name) == on_paths - {name}


@given(graphs())
def test_nodes_and_edges_are_listed_as_the_file_lists_them(case: tuple[LayerGraph, frozenset[str]]) -> None:
    graph, _ = case
    names = [layer.name for layer in graph.layers]
    assert list(graph.networkx.nodes) == names
    assert [layer for _, layer in graph.networkx.nodes(data="layer")] == list(graph.layers)
    writers = {f"{name}.out": name for name in names}
    read = {
        layer.name: [(writers[tensor], tensor) for tensor in layer.inputs if tensor in writers]
        for layer in graph.layers
    }
    for name in names:
        into = [(writer, tensor) for writer, _, tensor in graph.networkx.in_edges(name, data="tensor")]
        assert into == read[name]
    again = LayerGraph(graph.layers, graph.inputs, graph.outputs)
    assert list(again.networkx.edges(data=True)) == list(graph.networkx.edges(data=True))


def test_an_operator_that_reads_a_tensor_twice_has_two_edges() -> None:
    square = LayerGraph([layer("a", ("x",)), layer("y", ("a.out", "a.out"), "Mul")], ["x"], ["y.out"])
    assert list(square.networkx.edges(data="tensor")) == [("a", "y", "a.out"), ("a", "y", "a.out")]
    assert square.producers("y") == ("a",)


def test_edges_say_what_is_known_of_their_tensor() -> None:
    layers = [layer("a", ("x",)), layer("b", ("a.out",)), layer("c", ("b.out",))]
    known = {"a.out": TensorType((1, "steps", None), "float16"), "x": TensorType((1, 3), "float32")}
    graph = LayerGraph(layers, ["x"], ["c.out"], tensors=known).networkx
    assert graph.edges["a", "b", 0] == {"tensor": "a.out", "shape": (1, "steps", None), "dtype": "float16"}
    assert graph.edges["b", "c", 0] == {"tensor": "b.out", "shape": None, "dtype": None}
    assert graph.graph == {"inputs": ("x",), "outputs": ("c.out",)}


def test_the_graph_is_frozen_in_other_processes_too() -> None:
    graph = LayerGraph([layer("a", ("x",)), layer("b", ("a.out",))], ["x"], ["b.out"])
    for held in (graph.networkx, pickle.loads(pickle.dumps(graph)).networkx):
        with pytest.raises(nx.NetworkXError, match=r"[Ff]rozen"):
            held.add_node("c")
        with pytest.raises(nx.NetworkXError, match=r"[Ff]rozen"):
            held.remove_edge("a", "b")


def test_order_follows_the_file_where_it_can() -> None:
    late = [layer("c", ("b.out",)), layer("a", ("x",)), layer("b", ("a.out",)), layer("d", ("x",))]
    assert LayerGraph(late, ["x"], ["c.out"]).order() == ("a", "b", "c", "d")
    free = [layer(name, ("x",)) for name in "dbca"]
    assert LayerGraph(free, ["x"], ["a.out"]).order() == tuple("dbca")


def test_a_layer_that_reads_a_tensor_twice_has_one_producer() -> None:
    graph = LayerGraph([layer("a", ("x",)), layer("square", ("a.out", "a.out"), "Mul")], ["x"], ["square.out"])
    assert graph.producers("square") == ("a",)
    assert graph.producers("a") == ()
    assert graph.producer("a.out") == "a"
    assert graph.producer("x") is None


def test_access_by_name() -> None:
    graph = LayerGraph([layer("a", ("x",)), layer("b", ("a.out",), "Gemm")], ["x"], ["b.out"])
    assert len(graph) == 2
    assert "a" in graph
    assert "a.out" not in graph
    assert graph["b"].op_type == "Gemm"
    assert [found.name for found in graph.candidates] == ["b"]
    assert [found.name for found in graph.unresolved] == ["b"]
    with pytest.raises(KeyError):
        graph["z"]


def test_layers_with_equal_weights_are_tied_in_file_order() -> None:
    weights = {"a": "1", "b": "2", "c": "1", "d": None, "e": "2", "f": None}
    graph = LayerGraph(
        [layer(n, ("x",), "Gemm", None if t is None else weight(t)) for n, t in weights.items()], ["x"], ["f.out"]
    )
    assert graph.tied("abcdef") == (("a", "c"), ("b", "e"), ("d",), ("f",))
    assert graph.tied("ecb") == (("e", "b"), ("c",))
    assert graph.tied("") == ()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Layer("a", "Relu", ("a.out",), ("b.out",)), "same name"),
        (Layer("b", "Relu", ("x",), ("a.out",)), r"'a\.out' is written by 'a' and 'b'"),
    ],
    ids=["a name", "a tensor"],
)
def test_what_is_there_twice_is_refused(second: Layer, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        LayerGraph([layer("a", ("x",)), second], ["x"], list(second.outputs))


def test_optional_outputs_without_a_name_do_not_clash() -> None:
    several = [Layer(name, "Split", ("x",), ("", f"{name}.out", "")) for name in "ab"]
    assert len(LayerGraph(several, ["x"], ["a.out"])) == 2


@pytest.mark.parametrize("length", [1, 2, 5])
def test_cycles_are_refused(length: int) -> None:
    ring = [layer(str(i), (f"{(i - 1) % length}.out",)) for i in range(length)]
    with pytest.raises(ModelError, match="the graph has a cycle: ") as caught:
        LayerGraph([layer("before", ("x",)), *ring], ["x"], ["0.out"])
    *names, again = str(caught.value).removeprefix("the graph has a cycle: ").split(" -> ")
    assert sorted(names) == [repr(str(i)) for i in range(length)]
    assert again == names[0]
    for writer, reader in pairwise([*names, again]):
        assert (int(writer.strip("'")) + 1) % length == int(reader.strip("'"))


def test_of_a_long_cycle_some_operators_are_named() -> None:
    ring = [layer(str(i), (f"{(i - 1) % 1000}.out",)) for i in range(1000)]
    with pytest.raises(ModelError, match="992 more -> ") as caught:
        LayerGraph(ring, ["x"], ["0.out"])
    assert len(str(caught.value)) < 200


def test_costs_of_a_grouped_matrix() -> None:
    matrix = MatrixShape(rows=9, cols=2, groups=8, positions=49)
    assert matrix.parameters == 144
    assert matrix.macs == 144 * 49


@pytest.mark.parametrize(
    ("op", "ref", "reason", "detail"),
    [
        ("ConvTranspose", weight(), "unsupported", "convolution over its spread input"),
        ("MatMul", None, "no-static-weight", "computed at run time (p and q)"),
        ("Gemm", weight(dtype="int8"), "unsupported", "weight w is int8"),
        ("Conv", weight(dtype="bfloat16"), "unsupported", "weight w is bfloat16"),
        ("MatMul", weight(shape=(5, 4, 3)), "unsupported", "stack of matrices (5x4x3)"),
        ("MatMul", weight(shape=()), "unsupported", "weight w is a scalar, which MatMul does not take"),
        ("Gemm", weight(shape=(4,)), "unsupported", "weight w is 4, which Gemm does not take"),
        ("Gemm", weight(shape=(5, 4, 3)), "unsupported", "weight w is 5x4x3, which Gemm does not take"),
        ("Conv", weight(shape=(4, 3)), "unsupported", "weight w is 4x3, which Conv does not take"),
    ],
)
def test_obstacles_on_any_hardware(op: str, ref: WeightRef | None, reason: str, detail: str) -> None:
    found = obstacle(layer("a", ("p", "q", "bias"), op, ref))
    assert found is not None
    assert found.reason == reason
    assert detail in found.detail


@pytest.mark.parametrize("rows", [0, 4])
def test_a_matrix_without_entries_is_an_obstacle(rows: int) -> None:
    found = obstacle(Layer("a", "Gemm", ("x", "w"), ("y",), weight(), MatrixShape(rows, 3, 1, 1)))
    assert (found is not None) == (rows == 0)
    assert found is None or "weight w is empty" in found.detail


@pytest.mark.parametrize(("op", "shape"), [("MatMul", (4,)), ("MatMul", (4, 3)), ("Conv", (4, 3, 3, 3))])
def test_no_obstacle_to_a_constant_float_matrix(op: str, shape: tuple[int, ...]) -> None:
    for dtype in ("float16", "float32", "float64"):
        assert obstacle(layer("a", ("x", "w"), op, weight(shape=shape, dtype=dtype))) is None


def test_the_oracle_of_segments_rejects_a_cycle() -> None:
    # digital a -> analog b -> digital c: a and c cannot be one segment.
    graph = dag(((), (0,), (1,)), [0, 1, 2])
    runnable = [segments_are_runnable(graph, frozenset({"1"}), {"0": 0, "1": 0, "2": second}) for second in (0, 1)]
    assert runnable == [False, True]
