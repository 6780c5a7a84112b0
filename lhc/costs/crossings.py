"""Elements that flow between operators, and crossings between analog and digital.

Analog products give and take activations scaled for their tiles, digital products int8. Every other operator works on
either, so conversions are put where the fewest elements pass: a least cut between the analog and the digital products.
A tensor is converted once, however many operators read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy

from lhc.costs.digital_operators import fixed
from lhc.graph import LayerGraph


@dataclass(frozen=True)
class Hyperedge:
    """A tensor and the operators that hold it: it is converted if they do not all use one format.

    Attributes:
        tensor: name of the operator that writes it.
        members: the operators that write and read it, each once.
        elements: per sample.
    """

    tensor: str
    members: tuple[str, ...]
    elements: int


def elements(graph: LayerGraph) -> Mapping[str, int]:
    """Output elements of every operator per sample; 0 where they are no activations (constants, shapes), or not known.

    A product's come from its matrix. Any other operator has those that it is known to write, or else as many as its
    largest input, Concat the sum.
    """
    known = fixed(graph)
    sizes: dict[str, int] = {}
    for name in graph.order():
        layer = graph[name]
        above = [sizes[producer] for producer in graph.producers(name)]
        told = layer.elements
        if name in known:
            sizes[name] = 0
        elif layer.is_candidate and layer.matrix is not None:
            sizes[name] = layer.matrix.cols * layer.matrix.groups * layer.matrix.positions
        elif told is not None and told.written is not None:
            sizes[name] = told.written
        else:
            read = 0 if told is None else told.read
            sizes[name] = max(read, sum(above) if layer.op_type == "Concat" else max(above, default=0))
    return sizes


def held_elements(graph: LayerGraph) -> int:
    """Most activations of a sample that wait for their readers at once, when operators run in the order of the file."""
    sizes = elements(graph)
    network = graph.networkx
    waiting = {name: len(network.succ[name]) for name in network}
    held = most = 0
    for name in graph.order():
        held += sizes[name]
        most = max(most, held)
        for producer in (*graph.producers(name), *([] if waiting[name] else [name])):
            waiting[producer] -= 1
            held -= sizes[producer] if waiting[producer] <= 0 else 0
    return most


def hyperedges(graph: LayerGraph) -> tuple[Hyperedge, ...]:
    """The tensors that may have to be converted.

    An operator that is no product, alone reads the only tensor that it reads, and writes no more elements, has its
    producer's format: no other choice converts fewer elements.
    """
    import networkx as nx

    sizes, network = elements(graph), graph.networkx
    alike = nx.Graph()
    alike.add_nodes_from(graph.order())
    for layer in graph.layers:
        sources = [p for p in graph.producers(layer.name) if sizes[p]]
        if layer.multiplies or len(sources) != 1 or len(network.succ[sources[0]]) != 1:
            continue
        if sizes[layer.name] <= sizes[sources[0]]:
            alike.add_edge(sources[0], layer.name)
    place = {name: number for number, name in enumerate(graph.order())}
    first = {name: min(group, key=place.__getitem__) for group in nx.connected_components(alike) for name in group}
    found = []
    for name in network:
        members = tuple(dict.fromkeys(first[member] for member in (name, *network.succ[name])))
        if sizes[name] and len(members) > 1:
            found.append(Hyperedge(name, members, sizes[name]))
    return tuple(found)


def cut_rows(edges: tuple[Hyperedge, ...], columns: Mapping[str, int], count: int) -> "scipy.sparse.csr_array":
    """Rows ``A v <= 0`` that make two variables per tensor bound the formats of its members.

    Each row is a difference of two variables, so the vertices are integral where the other variables are.

    Args:
        edges: E tensors.
        columns: variable of every member, its format: 0 digital, 1 analog. Several members may share one.
        count: how many such variables there are. Variable ``count + e`` is the upper and ``count + E + e`` the lower
            bound of tensor e; it is converted where they differ.
    """
    entries: list[tuple[int, int]] = []
    for e, edge in enumerate(edges):
        upper, lower = count + e, count + len(edges) + e
        for column in dict.fromkeys(columns[member] for member in edge.members):
            entries += [(column, upper), (lower, column)]
    rows = np.repeat(np.arange(len(entries)), 2)
    signs = np.tile([1.0, -1.0], len(entries))
    where = np.array(entries, np.int64).reshape(-1)
    return scipy.sparse.csr_array((signs, (rows, where)), shape=(len(entries), count + 2 * len(edges)))


def converted(
    edges: tuple[Hyperedge, ...], candidates: frozenset[str], analog: frozenset[str]
) -> tuple[Hyperedge, ...]:
    """The tensors that a placement converts, with the fewest elements in all.

    Args:
        candidates: the products among their members.
    """
    fixed = {m: float(m in analog) for edge in edges for m in edge.members if m in candidates}
    if len(set(fixed.values())) < 2:
        return ()
    columns = {m: i for i, m in enumerate(dict.fromkeys(m for edge in edges for m in edge.members))}
    lower = [fixed.get(m, 0.0) for m in columns] + [0.0] * (2 * len(edges))
    upper = [fixed.get(m, 1.0) for m in columns] + [1.0] * (2 * len(edges))
    weights = np.array([edge.elements for edge in edges], np.float64)
    costs = np.concatenate([np.zeros(len(columns)), weights, -weights])
    rows = scipy.optimize.LinearConstraint(cut_rows(edges, columns, len(columns)), -np.inf, 0)
    found = scipy.optimize.milp(costs, constraints=rows, bounds=scipy.optimize.Bounds(lower, upper)).x
    assert found is not None  # nothing but bounds and differences: there is always a least cut
    bound = found[len(columns) :]
    spread = bound[: len(edges)] - bound[len(edges) :]
    return tuple(edge for edge, cut in zip(edges, spread, strict=True) if cut > 0.5)
