"""Where formats are converted: never more elements than the best choice for the operators between products."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.costs import cost_of, cost_terms
from lhc.costs.crossings import converted, elements, held_elements, hyperedges
from lhc.graph import Elements, Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware

LIONHEART = Hardware.load("lionheart")


def product(name: str, source: str, size: int) -> Layer:
    weight = WeightRef(f"{name}.w", 1, (4, size), "float32", name)
    return Layer(name, "MatMul", (source, f"{name}.w"), (name,), weight, MatrixShape(4, size, 1, 1))


def other(name: str, *sources: str, op: str = "Add", written: int | None = None) -> Layer:
    told = None if written is None else Elements(0, written)
    return Layer(name, op, sources, (name,), elements=told)


def test_what_waits_for_a_reader_is_held() -> None:
    """a (8) waits for the sum while b (16) and c (4) are computed; then c, the sum and nothing else."""
    layers = [product("a", "x", 8), product("b", "a", 16), product("c", "b", 4), other("sum", "a", "c")]
    assert held_elements(LayerGraph(layers, ["x"], ["sum"])) == 8 + 16 + 4
    assert held_elements(LayerGraph(layers[:3], ["x"], ["c"])) == 8 + 16


def brute_force(graph: LayerGraph, analog: frozenset[str]) -> int:
    """Fewest converted elements over all formats of the operators that are no products; a tensor counts once."""
    sizes = elements(graph)
    products = {layer.name for layer in graph.candidates}
    free = [layer.name for layer in graph.layers if layer.name not in products]
    readers = {
        layer.name: [other.name for other in graph.layers if layer.name in other.inputs] for layer in graph.layers
    }
    fixed = {name: name in analog for name in products}
    best = None
    for choice in itertools.product((False, True), repeat=len(free)):
        form = fixed | dict(zip(free, choice, strict=True))
        cost = sum(sizes[n] for n, used in readers.items() if any(form[r] != form[n] for r in used))
        best = cost if best is None else min(best, cost)
    assert best is not None
    return best


@st.composite
def networks(draw: st.DrawFn) -> tuple[LayerGraph, frozenset[str]]:
    layers = [product("n0", "x", draw(st.integers(1, 9)))]
    for i in range(1, draw(st.integers(2, 9))):
        sources = [f"n{j}" for j in draw(st.lists(st.integers(0, i - 1), min_size=1, max_size=3, unique=True))]
        if draw(st.booleans()):
            layers.append(product(f"n{i}", sources[0], draw(st.integers(1, 9))))
        else:
            written = draw(st.none() | st.integers(1, 20))
            layers.append(other(f"n{i}", *sources, op=draw(st.sampled_from(["Add", "Concat"])), written=written))
    names = [layer.name for layer in layers if layer.is_candidate]
    analog = draw(st.sets(st.sampled_from(names)))
    return LayerGraph(layers, ["x"], [layers[-1].name]), frozenset(analog)


@given(networks())
def test_conversions_are_a_least_cut(case: tuple[LayerGraph, frozenset[str]]) -> None:
    graph, analog = case
    products = frozenset(layer.name for layer in graph.candidates)
    found = converted(hyperedges(graph), products, analog)
    assert sum(edge.elements for edge in found) == brute_force(graph, analog)


@given(networks())
def test_a_follower_has_the_format_of_what_it_alone_reads(case: tuple[LayerGraph, frozenset[str]]) -> None:
    graph, _ = case
    sizes = elements(graph)
    readers = {n.name: [o.name for o in graph.layers if n.name in o.inputs] for n in graph.layers}
    leader: dict[str, str] = {}
    for name in graph.order():
        sources = graph.producers(name)
        follows = not graph[name].multiplies and len(sources) == 1 and readers[sources[0]] == [name]
        follows = follows and sizes[name] <= sizes[sources[0]]
        leader[name] = leader[sources[0]] if follows else name
    members = {name: tuple(dict.fromkeys(leader[one] for one in (name, *used))) for name, used in readers.items()}
    assert [(edge.tensor, edge.members, edge.elements) for edge in hyperedges(graph)] == [
        (name, found, sizes[name]) for name, found in members.items() if len(found) > 1
    ]


def test_a_chain_converts_the_smallest_tensor_between_two_products() -> None:
    layers = [product("a", "x", 30), other("relu", "a", op="Relu"), product("b", "relu", 5), product("c", "b", 7)]
    graph = LayerGraph(layers, ["x"], ["c"])
    crossings = cost_of(graph, frozenset("a"), LIONHEART).crossings
    # ReLU has a single reader and a single source: it has a's format, and its output is converted.
    assert {name: round(1e9 * cost.latency_s, 6) for name, cost in crossings.items()} == {"relu": 15.0}


def test_what_enlarges_a_tensor_is_converted_before_it() -> None:
    layers = [product("a", "x", 30), other("up", "a", op="Resize", written=120), product("b", "up", 5)]
    graph = LayerGraph(layers, ["x"], ["b"])
    assert set(cost_of(graph, frozenset("a"), LIONHEART).crossings) == {"a"}


def test_a_tensor_is_converted_once_for_all_that_read_it() -> None:
    layers = [product("a", "x", 30), product("b", "a", 5), product("c", "a", 7), other("sum", "b", "c")]
    graph = LayerGraph(layers, ["x"], ["sum"])
    assert set(cost_of(graph, frozenset("a"), LIONHEART).crossings) == {"a"}


def test_terms_add_up_to_the_cost_of_a_placement() -> None:
    layers = [product("a", "x", 30), other("relu", "a"), product("b", "relu", 5), other("sum", "b", "relu")]
    graph = LayerGraph([*layers, product("c", "sum", 3)], ["x"], ["c"])
    terms = cost_terms(graph, LIONHEART)
    for placement in map(frozenset, itertools.chain.from_iterable(itertools.combinations("abc", n) for n in range(4))):
        cost = cost_of(graph, placement, LIONHEART)
        parts = [terms.analog[n] if n in placement else terms.digital[n] for n in "abc"]
        alone = sum(part.energy_j for part in (*parts, *terms.others.values()))
        elements_converted = brute_force(graph, placement)
        assert cost.energy_j == pytest.approx(alone + elements_converted * terms.crossing.energy_j)
