"""A report as files that other viewers of models read beside the model.

Netron takes an *attachment*, dropped onto the model that is open in it, and adds its rows to the panel of each node;
the format is that of Netron 8.2.8 and later (``"signature": "netron:attachment"``). Model Explorer takes *node data*
and colours nodes by it; nodes are named as its ONNX adapter names them, by the operator's name.
"""

import json

from lhc.onnx_io import node_keys
from lhc.report.document import Report
from lhc.support.plain_text import json_text

__all__ = ["model_explorer_data", "netron_attachment"]

COLOURS = {"analog": ("#f28e2b", "#1c1100"), "digital": ("#4e79a7", "#ffffff")}
"""Of a node and of its text."""


def netron_attachment(report: Report) -> str:
    """JSON for Netron: lhc's keys as metadata of every node, the sensitivity also as a metric."""
    nodes = [
        {"kind": "node", "target": layer.name, "name": key, "value": value}
        for layer in report.plan.layers
        for key, value in node_keys(layer).items()
    ]
    model = {"kind": "model", "target": "", "name": "lhc.summary", "value": report.summary}
    metrics = [
        {
            "kind": "node",
            "target": layer.name,
            "name": f"sensitivity {s.copies_text} ({s.metric}, {s.basis})",
            "value": s.mean,
        }
        for layer in report.plan.layers
        if (s := layer.sensitivity) is not None
    ]
    document = {"signature": "netron:attachment", "metadata": [model, *nodes], "metrics": metrics}
    return json_text(json.dumps(document, indent=1, ensure_ascii=False)) + "\n"


def model_explorer_data(report: Report) -> str:
    """JSON for Model Explorer: every product by its placement."""
    results = {}
    for layer in report.plan.layers:
        ground, text = COLOURS[layer.placement]
        results[layer.name] = {"value": layer.placement, "bgColor": ground, "textColor": text}
    return json_text(json.dumps({"name": "lhc placement", "results": results}, indent=1, ensure_ascii=False)) + "\n"
