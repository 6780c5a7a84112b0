"""Steps of a recurrent operator are one row for people, and rows of their own in the plan."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest

import lhc
from lhc.hardware import Hardware
from lhc.hardware.description.digital import ProductCycles
from lhc.onnx_io import load_model, read_plan
from lhc.onnx_io.annotate.annotations import keys_of_nodes
from lhc.options.by_command import RetrainOptions, SensitivityOptions
from lhc.pipeline.analysis_and_partition_results import Analysis, PartitionResult
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.plan_table import plan_table
from lhc.plan import Sensitivity
from lhc.plan.layer_plan import Decision
from lhc.plan.recurrent_steps import first_steps, folded, folded_rows, layers_among
from lhc.report.charts.report_charts import own_point
from lhc.report.document.builder import build_report
from lhc.report.document.page_content import layer_table
from lhc.report.exports.formats import netron_attachment, placement_data
from lhc.report.exports.json_documents import analysis_document, placement_document
from lhc.report.viewer import COLOURS, css_rules
from lhc.report.wording.model_file import analysis_footer
from lhc.report.wording.placement import decision
from lhc.results import Infeasibility
from tests.networks import drawn, parsed
from tests.report.made_reports import evaluated

STEPS = 5
LSTM = f"""
<ir_version: 10, opset_import: ["" : 20]>
net (float[{STEPS}, N, 16] x) => (float[1, N, 8] last) {{
  [lstm] all, last, cell = LSTM <hidden_size = 8> (x, w, r)
}}"""


def network() -> onnx.ModelProto:
    return parsed(LSTM, drawn({"w": (1, 32, 16), "r": (1, 32, 8)}))


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return lhc.analyze(network())


def test_steps_are_counted_in_one_row(analysis: Analysis) -> None:
    plan, shown = analysis.plan, folded(analysis.plan)
    assert len(plan.layers) == STEPS, "the input, and a product for every step but the first, whose state is 0"
    assert [row.title for row in shown.layers] == ["lstm/input", f"lstm/recurrent, {STEPS - 1} steps"]
    assert shown.macs == plan.macs
    assert set(first_steps(plan.layers).values()) == {row.name for row in shown.layers}
    assert folded(shown) == shown


def test_tables_and_reports_have_that_row_and_its_whole_cost(analysis: Analysis) -> None:
    everything = analysis.plan.decide({layer.name: ("analog", "budget", "") for layer in analysis.plan.layers})
    report = build_report("lstm", everything, analysis.facts)
    assert decision(report).startswith("2 of 2 layers run on ")
    assert report.summary.startswith("analog 2/2 layers, 100.0 % of MACs, 2 tiles")
    for table in (analysis.as_table(), plan_table(everything), layer_table(report)):
        assert sum(f"{STEPS - 1} steps" in str(row) for row in table.rows) == 1
    assert analysis.totals.startswith("2 of 2 layers can be analog")
    tiles = analysis.plan.hardware.tiles.model_copy(update={"count": 1})
    small = analysis.plan.model_copy(update={"hardware": analysis.plan.hardware.model_copy(update={"tiles": tiles})})
    assert replace(analysis, plan=small).totals.endswith("2 tiles of 256x255 (the machine has 1)")
    costs = report.costs
    assert costs is not None
    assert [cost.name for cost in costs.layers] == ["lstm/input", "lstm/recurrent_1"]
    parts = costs.others.latency_s + costs.crossings.latency_s + sum(cost.latency_s for cost in costs.layers)
    assert parts == pytest.approx(costs.total.latency_s)


def test_every_view_counts_the_same_layers(analysis: Analysis) -> None:
    """Terminal, JSON, Netron's colours and files for other viewers: two layers on the node of the file."""
    mixed: dict[str, Decision] = {
        layer.name: ("digital", "forced", "") if layer.name == "lstm/input" else ("analog", "budget", "")
        for layer in analysis.plan.layers
    }
    sensitivities = {
        layer.name: Sensitivity(
            metric="kl", mean=1.0 + layer.name.endswith("input"), std=0.1, interval=None, method="fisher"
        )
        for layer in analysis.plan.layers
    }
    placed = analysis.plan.decide(mixed).with_sensitivities(sensitivities)
    report = build_report("lstm", placed, analysis.facts)
    rows = placement_document(PartitionResult(placed, analysis.facts, open_model(network()).model))["layers"]
    assert isinstance(rows, list)
    assert [row["name"] for row in rows] == ["lstm/input", "lstm/recurrent_1"]
    assert [row["steps"] for row in rows] == [1, STEPS - 1]
    assert sum(row["tiles"] for row in rows) == placed.tiles(analysis.facts) == 1
    totals = analysis_document(analysis)["totals"]
    assert isinstance(totals, dict)
    assert (totals["candidates"], totals["eligible"], totals["tiles"]) == (2, 2, 2)
    css = css_rules(placed)
    assert 'content: "analog 1"' in css
    assert 'content: "digital 1"' in css
    assert f"#node-name-lstm .node-item-type:not(:hover) path {{ fill: {COLOURS['mixed']} }}" in css
    assert css.count("#node-name-") == 1
    assert list(json.loads(placement_data(report))["results"]) == ["lstm"]
    attachment = json.loads(netron_attachment(report))
    assert {row["target"] for row in (*attachment["metadata"], *attachment["metrics"])} == {"", "lstm"}
    assert len(attachment["metrics"]) == 2
    keys = keys_of_nodes(placed.layers)["lstm"]
    assert keys["lhc.placement"] == "mixed"
    assert keys["lhc.sensitivity"].startswith("input: 2 kl")
    assert "recurrent_1: 1 kl" in keys["lhc.sensitivity"]


def test_a_report_finds_what_was_measured_of_its_steps(analysis: Analysis, tmp_path: Path) -> None:
    everything = analysis.plan.decide({layer.name: ("analog", "budget", "") for layer in analysis.plan.layers})
    placed = PartitionResult(everything, analysis.facts, open_model(network()).model).save(tmp_path / "lstm.lhc.onnx")
    lhc.report_of(placed, command="lhc run", work_dir=tmp_path / "results")
    assert lhc.report_of(placed, work_dir=tmp_path / "results").commands == ("lhc run",)


def test_copies_are_counted_by_analyze_as_by_partition() -> None:
    lionheart = Hardware.load("lionheart")
    fast = lionheart.digital.model_copy(update={"cycles": ProductCycles(fp32=1.0)})
    cheap = lhc.analyze(network(), hardware=lionheart.model_copy(update={"digital": fast}))
    assert not cheap.plan.copies, "layers that are dearer than digital anyway have none"
    free = Hardware.load("lionheart").model_copy(update={"costs": None})
    layers = lhc.analyze(network(), hardware=free).plan.layers
    assert all(layer.copies > 1 for layer in layers), "as many as fit in their tile"


def test_the_trade_off_counts_the_damage_of_all_steps_once(analysis: Analysis) -> None:
    """The input does more damage per MAC than all steps together, and less than that of every step added up."""
    inputs, steps = analysis.plan.layers[0], analysis.plan.layers[1:]
    damage = {inputs.name: 2.0 * inputs.macs} | {row.name: 1.0 * sum(x.macs for x in steps) for row in steps}
    known = {
        row.name: Sensitivity(metric="kl", mean=damage[row.name], std=0, interval=None, copies=row.copies)
        for row in (inputs, *steps)
    }
    plan = analysis.plan.with_sensitivities(known)
    placed = plan.decide({row.name: ("analog", "budget", "") for row in plan.layers})
    report = build_report("lstm", placed, analysis.facts)
    assert report.front is not None
    first, second = steps[0].name, inputs.name
    assert [point.analog for point in report.front.points] == [(), (first,), (second, first)]
    assert [point.damage for point in report.front.points] == [0.0, damage[first], damage[first] + damage[second]]
    own = own_point(report.front, report)
    assert own is not None
    assert own.damage == report.front.points[-1].damage


GRU = """
<ir_version: 10, opset_import: ["" : 20]>
net (float[N, 4, 6] x) => (float[N, 5] y) <int64[1] first = {0}> {
  t = Transpose <perm = [1, 0, 2]> (x)
  [gru] all, last = GRU <hidden_size = 5, linear_before_reset = 1> (t, w, r, b)
  y = Squeeze (last, first)
}"""


def gru() -> onnx.ModelProto:
    return parsed(GRU, drawn({"w": (1, 15, 6), "r": (1, 15, 5), "b": (1, 30)}, 1))


@pytest.mark.slow
@pytest.mark.analog
def test_steps_of_a_retrained_network_are_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("lhc.commands.retrain"), "better", lambda before, after: after)
    rng = np.random.default_rng(1)
    samples = {"x": rng.normal(size=(240, 4, 6)).astype(np.float32)}
    told: set[str] = set()

    def progress(what: str, done: int, total: int) -> None:
        told.add(what)

    given = lhc.partition(gru(), samples, objective="macs", draws=2, max_drop=9.0, progress=progress)
    named = {what.partition(", units of chips ")[0] for what in told if "analog" in what}
    assert named == {"searching: 2 analog layers", "testing 2 analog layers"}
    placed = given.save(tmp_path / "gru.lhc.onnx")
    asked = RetrainOptions(placed, samples, max_drop=0.0, draws=2, steps=2, batch_size=16, validations=1)
    found = lhc.retrain.of(replace(asked, explain=False))
    assert found.plan.outcome is not None
    assert found.plan.outcome.retrained is not None
    assert [row.origin for row in found.plan.layers] == [None] * 4
    for plan in (found.plan, read_plan(load_model(found.save(tmp_path / "trained.onnx")))):
        assert plan is not None
        rows = [(row.title, row.reason, row.macs) for row in folded(plan).layers]
        assert rows == [("gru/input", "placed", 4 * 6 * 15), ("gru/recurrent, 3 steps", "placed", 3 * 5 * 15)]
    assert found.summary.startswith("analog 2/2 layers, 100.0 % of MACs, 2 tiles")


@pytest.mark.parametrize("suffix", ["", "_reverse", "_gates", "_reverse_new"])
def test_only_steps_by_the_same_weights_are_one(analysis: Analysis, suffix: str) -> None:
    """Without an operator of the file that tells: the names that lhc gives to steps do, beside their weights."""
    row = analysis.plan.layers[-1].model_copy(update={"origin": None, "operator": None, "weight": "r"})
    named = [
        row.model_copy(update={"name": name})
        for name in (f"a/recurrent_0{suffix}", f"a/recurrent_1{suffix}", f"b/recurrent_0{suffix}", "fc/MatMul_0", "fc")
    ]
    other = named[1].model_copy(update={"name": f"a/recurrent_2{suffix}", "weight": "r2"})
    shown = folded_rows([*named, other])
    assert [row.title for row in shown] == [f"a/recurrent{suffix}, 2 steps", *(row.name for row in (*named[2:], other))]


def test_sentences_count_layers_as_tables_do(analysis: Analysis) -> None:
    names = [row.name for row in analysis.plan.layers]
    assert layers_among(analysis.plan, names) == ("lstm/input", f"lstm/recurrent, {STEPS - 1} steps")
    assert layers_among(analysis.plan, names[2:]) == (f"lstm/recurrent, {STEPS - 1} steps",)
    found = Infeasibility(tuple(names), evaluated(0.8), 0.1, tuple(names[1:]), evaluated(0.9), ())
    report = build_report("lstm", analysis.plan, analysis.facts, infeasibility=found)
    assert report.infeasibility is not None
    assert (report.infeasibility.analog, report.infeasibility.in_the_way) == (tuple(names[:2]), (names[1],))


@pytest.mark.analog
def test_what_is_measured_of_steps_is_one_row() -> None:
    """Every step is a layer of the result all the same, as of a plan."""
    samples = {"x": np.random.default_rng(1).normal(size=(20, 4, 6)).astype(np.float32)}
    rows = ["gru/input", "gru/recurrent, 3 steps"]
    ranked = lhc.sensitivity(gru(), samples, draws=2, samples=8, method="measure")
    assert len(ranked.layers) == 4
    table = ranked.as_table()
    assert [row[0] for row in table.rows] == rows
    assert {row[table.headers.index("rank")] for row in table.rows} == {"1", "2"}
    assert repr(ranked).startswith("<SensitivityTable: 2 layers in ")
    found = lhc.attribute(gru(), samples, draws=2, samples=8)
    assert len(found.layers) == 4
    assert [row[0] for row in found.as_table().rows] == rows
    analysis = lhc.analyze(gru())
    everything = analysis.plan.decide({row.name: ("analog", "budget", "") for row in analysis.plan.layers})
    report = build_report("gru", everything, analysis.facts, attribution=found)
    assert report.attribution is not None
    assert list(report.attribution.layers) == [row.name for row in report.plan.layers]
    assert "tiles save energy in 0 of 2 eligible layers" in analysis_footer(analysis)


@pytest.mark.analog
def test_a_dry_run_counts_layers_as_tables_do() -> None:
    rng = np.random.default_rng(0)
    samples = {"x": rng.normal(size=(60, 4, 6)).astype(np.float32)}
    found = lhc.estimate(SensitivityOptions(gru(), samples, metric="nmse", draws=2, samples=30))
    assert found.layers == 2
