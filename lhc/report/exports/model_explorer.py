"""A report as node data for Model Explorer: values by which it colours the nodes that hold products.

Nodes are named as the ONNX adapter ``model-explorer-onnx`` names them, by the operator's name. One inside the body of
another operator has another name there, or lies in another graph, and stays without colour. A file holds one quantity
(``GraphNodeData`` of ``ai-edge-model-explorer``) for the graph that is open; Model Explorer takes several files.
"""

import json
from collections import defaultdict
from collections.abc import Mapping

from lhc.onnx_io.annotate.annotations import keys_of_nodes
from lhc.report.document.report import Report
from lhc.support.text_escaping import json_text

__all__ = ["mac_data", "placement_data", "sensitivity_data", "tile_data"]

_COLOURS = {"analog": ("#f28e2b", "#1c1100"), "digital": ("#4e79a7", "#ffffff"), "mixed": ("#b07aa1", "#ffffff")}
"""Colours of a node and of its text; ``mixed``: of one that stands for several products, some of them analog."""
_GRADIENT = [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#f28e2b"}]
"""From the least value of the file to the greatest."""


def placement_data(report: Report) -> str:
    """Where each node runs: analog, digital, or mixed; layers of nodes show how many of each they hold."""
    results = {}
    for name, keys in keys_of_nodes(report.plan.layers).items():
        placement = keys["lhc.placement"]
        ground, text = _COLOURS[placement]
        results[name] = {"value": placement, "bgColor": ground, "textColor": text}
    counts = {"showExpandedSummaryOnGroupNode": True, "showLabelCountColumnsInChildrenStatsTable": True}
    return _document("lhc placement", results, counts)


def sensitivity_data(report: Report) -> str:
    """Damage of each node whose sensitivity is known; that of several products in one node is added up."""
    values: dict[str, float] = defaultdict(float)
    metric = "not known"
    for layer in report.plan.layers:
        if layer.sensitivity is not None:
            metric = f"{layer.sensitivity.metric}, {layer.sensitivity.basis}"
            values[layer.origin or layer.name] += layer.sensitivity.mean
    return _numbers(f"lhc sensitivity ({metric})", values)


def mac_data(report: Report) -> str:
    """Multiplications by stored weights of each node, per sample."""
    return _numbers("lhc MACs", _counts(report, "lhc.macs"))


def tile_data(report: Report) -> str:
    """Tiles that each node takes, 0 where it is digital."""
    return _numbers("lhc tiles", _counts(report, "lhc.tiles"))


def _counts(report: Report, key: str) -> dict[str, int]:
    return {name: int(keys[key]) for name, keys in keys_of_nodes(report.plan.layers).items()}


def _numbers(name: str, values: Mapping[str, float]) -> str:
    return _document(name, {node: {"value": value} for node, value in values.items()}, {"gradient": _GRADIENT})


def _document(name: str, results: Mapping[str, object], shown: Mapping[str, object]) -> str:
    return json_text(json.dumps({"name": name, "results": results, **shown}, indent=1, ensure_ascii=False)) + "\n"
