"""A report as an attachment for Netron: dropped onto the open model, it adds rows to the panel of each node.

The format is that of Netron 8.2.8 and later (``"signature": "netron:attachment"``).
"""

import json

from lhc.onnx_io.annotate.annotations import keys_of_nodes
from lhc.plan import LayerPlan
from lhc.report.document.report import Report
from lhc.support.text_escaping import json_text

__all__ = ["netron_attachment"]


def netron_attachment(report: Report) -> str:
    """JSON for Netron: lhc's keys as metadata of every node, the sensitivity also as a metric."""
    nodes = [
        {"kind": "node", "target": name, "name": key, "value": value}
        for name, keys in keys_of_nodes(report.plan.layers).items()
        for key, value in keys.items()
    ]
    model = {"kind": "model", "target": "", "name": "lhc.summary", "value": report.summary}
    metrics = [
        {
            "kind": "node",
            "target": layer.origin or layer.name,
            "name": f"{_part_of(layer)}sensitivity ({s.metric} {s.copies_text}, {s.basis})",
            "value": s.mean,
        }
        for layer in report.plan.layers
        if (s := layer.sensitivity) is not None
    ]
    document = {"signature": "netron:attachment", "metadata": [model, *nodes], "metrics": metrics}
    return json_text(json.dumps(document, indent=1, ensure_ascii=False)) + "\n"


def _part_of(layer: LayerPlan) -> str:
    """Part of its operator that a product is: ``input: ``; empty where it is all of it."""
    part = "" if layer.origin is None else layer.name.removeprefix(layer.origin).removeprefix("/")
    return f"{part}: " if part else ""
