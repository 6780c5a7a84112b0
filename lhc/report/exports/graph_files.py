"""The layer graph as files for other tools: GraphML for yEd, Gephi and Cytoscape, node-link JSON for D3 and networkx.

GraphML holds no None, tuples or objects, so attributes are texts and numbers in both: a shape is ``1x8x28x28``, and
what is not known is left out.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from lhc.errors import UsageError
from lhc.graph import Layer
from lhc.support.text_escaping import one_line

if TYPE_CHECKING:
    import networkx as nx

Value = str | int | float


def check_graph_kind(path: Path) -> None:
    """Refuse a name whose end does not say what is written there.

    Raises:
        UsageError: it ends otherwise.
    """
    if path.suffix.lower() not in _KINDS:
        raise UsageError(f"{path}: a graph ends in .graphml (yEd, Gephi, Cytoscape) or .json (node-link)")


def graph_file(graph: "nx.MultiDiGraph[str]", path: Path) -> bytes:
    """Content of a file of that name, of a graph as `lhc.layer_graph` returns it.

    Raises:
        UsageError: as `check_graph_kind` does.
    """
    check_graph_kind(path)
    return _KINDS[path.suffix.lower()](flat_graph(graph))


def flat_graph(graph: "nx.MultiDiGraph[str]") -> "nx.MultiDiGraph[str]":
    """A graph with texts and numbers as attributes; edges are numbered ``e0``, ``e1``, …, as tools want it."""
    import networkx as nx

    found = nx.MultiDiGraph(**_known_values({key: _flat(value) for key, value in graph.graph.items()}))
    shown = Counter(map(one_line, graph))
    names = {name: repr(name) if shown[one_line(name)] > 1 else one_line(name) for name in graph}
    for name, node in graph.nodes(data=True):
        decided = {key: _flat(value) for key, value in node.items() if key != "layer"}
        found.add_node(names[name], **_known_values(_facts(node["layer"]) | decided))
    for number, (writer, reader, edge) in enumerate(graph.edges(data=True)):
        facts = _known_values({key: _flat(value) for key, value in edge.items()})
        found.add_edge(names[writer], names[reader], key=f"e{number}", **facts)
    return found


def _facts(layer: Layer) -> dict[str, Value | None]:
    """Attributes of a layer; None where it has no such thing."""
    weight, matrix, work = layer.weight, layer.matrix, layer.work
    return {
        "op_type": one_line(layer.op_type),
        "module": None if layer.module is None else one_line(layer.module),
        "weight": None if weight is None else one_line(weight.name),
        "weight_shape": None if weight is None else _flat(weight.shape),
        "weight_dtype": None if weight is None else weight.dtype,
        "rows": None if matrix is None else matrix.rows,
        "cols": None if matrix is None else matrix.cols,
        "groups": None if matrix is None else matrix.groups,
        "positions": None if matrix is None else matrix.positions,
        "macs": 0 if work is None else work.macs,
    }


def _flat(value: object) -> Value | None:
    """A number as it is; sizes as ``1x8x?``, names as ``a, b``, all else as text."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, tuple) and any(isinstance(one, int) for one in value):
        return "x".join("?" if one is None else one_line(str(one)) for one in value)
    return one_line(", ".join(map(str, value)) if isinstance(value, tuple) else str(value))


def _known_values(values: Mapping[str, Value | None]) -> dict[str, Value]:
    return {key: value for key, value in values.items() if value not in (None, "")}


def _graphml(graph: "nx.MultiDiGraph[str]") -> bytes:
    import networkx as nx

    held = BytesIO()
    nx.write_graphml_xml(graph, held)  # with Python's own XML, whatever else is installed
    return held.getvalue()


def _node_link(graph: "nx.MultiDiGraph[str]") -> bytes:
    import networkx as nx

    return json.dumps(nx.node_link_data(graph, edges="edges"), indent=1, allow_nan=False).encode()


_KINDS: "Mapping[str, Callable[[nx.MultiDiGraph[str]], bytes]]" = {".graphml": _graphml, ".json": _node_link}
