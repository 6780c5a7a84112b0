"""Node data for Model Explorer: values of nodes by the names that its ONNX adapter gives them.

Where the tool itself is installed (extra ``tools``), its adapter reads the model, and its page shows the data.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import onnx
import pytest

import lhc
from lhc.onnx_io import load_model, read_graph
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.model_source import open_model
from lhc.plan import Plan, Sensitivity
from lhc.report.document.builder import build_report
from lhc.report.document.report import Report
from lhc.report.exports.formats import mac_data, placement_data, save_report, sensitivity_data, tile_data
from tests.networks import drawn, parsed

if TYPE_CHECKING:
    from tests.report.chromium import Browser

Placed = Callable[[onnx.ModelProto, Callable[[int], bool]], tuple[onnx.ModelProto, Plan]]
Placing = tuple[onnx.ModelProto, Report]

QUANTITIES = {"placement": placement_data, "sensitivity": sensitivity_data, "MACs": mac_data, "tiles": tile_data}
ENDS = {"placement": "", "sensitivity": ".sensitivity", "MACs": ".macs", "tiles": ".tiles"}

FIELDS = {"name", "results", "gradient", "showExpandedSummaryOnGroupNode", "showLabelCountColumnsInChildrenStatsTable"}
"""What is used of ``GraphNodeData``."""

CELLS = """[...document.querySelectorAll("node-data-provider-summary-panel table.results td.value-col")].map(
    cell => ({text: cell.innerText.trim(), colour: cell.style.backgroundColor}))"""
"""Values of nodes that the page shows, with their colours."""

MIXED = """<ir_version: 10, opset_import: ["" : 20]>
mixed (float[5, N, 16] x) => (float[N, 2] y) {
  [lstm] all, last, cell = LSTM <hidden_size = 8> (x, w, r)
  flat = Squeeze (last, zero)
  y = Gemm (flat, v)
}"""
"""Several products in one node, and nodes without a name."""


@pytest.fixture(scope="module")
def values(full: Report) -> dict[str, dict[str, Any]]:
    """Value of each node, by quantity."""
    documents = {name: json.loads(made(full)) for name, made in QUANTITIES.items()}
    return {name: {node: one["value"] for node, one in found["results"].items()} for name, found in documents.items()}


@pytest.mark.parametrize("name", QUANTITIES)
def test_the_document_keeps_to_the_schema(name: str, full: Report) -> None:
    document = json.loads(QUANTITIES[name](full))
    assert document.keys() <= FIELDS
    assert document["name"].startswith(f"lhc {name}")
    kind = str if name == "placement" else float if name == "sensitivity" else int
    for one in document["results"].values():
        assert one.keys() <= {"value", "bgColor", "textColor"}
        assert type(one["value"]) is kind
    assert ("gradient" in document) == (name != "placement"), "words have colours of their own, numbers a gradient"


def test_values_are_those_of_the_layers(full: Report, values: dict[str, dict[str, Any]]) -> None:
    for layer in full.plan.layers:
        analog = layer.placement == "analog"
        assert values["placement"][layer.name] == layer.placement
        assert values["MACs"][layer.name] == layer.macs
        assert values["tiles"][layer.name] == (layer.tiles if analog else 0)
    known = {layer.name: layer.sensitivity.mean for layer in full.plan.layers if layer.sensitivity is not None}
    assert values["sensitivity"] == known


def mixed_network() -> onnx.ModelProto:
    zero = {"zero": np.zeros(1, np.int64)}
    return parsed(MIXED, drawn({"w": (1, 32, 16), "r": (1, 32, 8), "v": (8, 2)}) | zero)


def measured(plan: Plan) -> Plan:
    found = Sensitivity(metric="kl", mean=1.0, std=0, interval=None)
    return plan.with_sensitivities({layer.name: found for layer in plan.layers if layer.macs})


def placed_mixed() -> Placing:
    """The input of the LSTM analog, all else digital."""
    network = mixed_network()
    analysis = lhc.analyze(network)
    plan = analysis.plan.decide(
        {
            layer.name: ("analog" if layer.name == "lstm/input" else "digital", "forced", "")
            for layer in analysis.plan.layers
        }
    )
    annotated = PartitionResult(plan, analysis.facts, open_model(network).model).model
    return annotated, build_report("mixed", measured(plan), analysis.facts)


@pytest.fixture(params=["transformer", "several products in a node"])
def placed_report(
    request: pytest.FixtureRequest, placed: Placed, make_transformer: Callable[..., onnx.ModelProto]
) -> Placing:
    """A model that carries a placement, and its report."""
    if request.param != "transformer":
        return placed_mixed()
    annotated, plan = placed(make_transformer(2), lambda index: index % 2 == 0)
    return annotated, build_report("m.lhc.onnx", measured(plan), read_graph(load_model(annotated)))


def test_every_id_is_the_name_of_a_node(placed_report: Placing) -> None:
    annotated, report = placed_report
    names = {node.name for node in annotated.graph.node}
    for made in QUANTITIES.values():
        assert set(json.loads(made(report))["results"]) <= names


def test_products_of_one_node_are_added_up() -> None:
    _, report = placed_mixed()
    parts = [layer for layer in report.plan.layers if layer.origin == "lstm"]
    assert len(parts) == 2
    lstm = {name: json.loads(made(report))["results"]["lstm"]["value"] for name, made in QUANTITIES.items()}
    assert lstm["placement"] == "mixed"
    assert lstm["MACs"] == sum(part.macs for part in parts)
    assert lstm["tiles"] == sum(part.tiles for part in parts if part.placement == "analog") > 0
    assert lstm["sensitivity"] == sum(part.sensitivity.mean for part in parts if part.sensitivity is not None)


def test_the_tools_adapter_has_every_id(placed_report: Placing, tmp_path: Path) -> None:
    main = pytest.importorskip("model_explorer_onnx.main")
    annotated, report = placed_report
    onnx.save(annotated, str(tmp_path / "m.onnx"))
    graphs = main.ONNXAdapter().convert(str(tmp_path / "m.onnx"), {})["graphs"]
    ids = {node.id for node in graphs[0].nodes}
    for made in QUANTITIES.values():
        results = json.loads(made(report))["results"]
        assert results
        assert set(results) <= ids


@pytest.fixture
def page(placed_report: Placing, tmp_path: Path) -> Iterator[str]:
    """Address of the tool's page with the model and its four files."""
    pytest.importorskip("model_explorer_onnx")
    annotated, report = placed_report
    onnx.save(annotated, str(tmp_path / "m.onnx"))
    files = [str(tmp_path / f"m{end}.node_data.json") for end in ENDS.values()]
    for file in files:
        save_report(report, file)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--host=127.0.0.1", f"--port={port}", "--no_open_in_browser", "--extensions=model_explorer_onnx"]
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9") | {"NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "model_explorer", *options, "--skip_health_check"]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | nowhere, cwd=tmp_path
    )
    with server:
        try:
            _wait_for(port, server)
            asked = {"models": [{"url": str(tmp_path / "m.onnx")}], "nodeData": files, "nodeDataTargets": [""] * 4}
            yield f"http://127.0.0.1:{port}/?data={quote(json.dumps(asked))}"
        finally:
            server.kill()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "Model Explorer has ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("Model Explorer does not answer")


@pytest.mark.browser
def test_the_tool_shows_the_data(page: str, browser: "Browser", placed_report: Placing) -> None:
    _, report = placed_report
    browser.send("Page.navigate", url=page)
    browser.wait_for("document.querySelectorAll('node-data-provider-summary-panel table').length >= 3")
    text = "document.querySelector('node-data-provider-summary-panel').innerText"
    for name in ("lhc placement", "lhc sensitivity (kl, measured)", "lhc MACs", "lhc tiles"):
        browser.wait_for(f"{text}.includes({json.dumps(name)})")
    cells = browser.evaluate(CELLS)
    results = json.loads(placement_data(report))["results"]
    for placement, colour in (("analog", "rgb(242, 142, 43)"), ("digital", "rgb(78, 121, 167)")):
        shown = [one for one in cells if one["text"] == placement]
        assert len(shown) == sum(one["value"] == placement for one in results.values())
        assert {one["colour"] for one in shown} <= {colour}
    sums = browser.evaluate(f"{text}.split('\\n').find(line => line.startsWith('Sum'))").split("\t")
    values = (json.loads(made(report))["results"].values() for made in (mac_data, tile_data))
    assert [float(one) for one in sums[3:5]] == [sum(one["value"] for one in found) for found in values]
