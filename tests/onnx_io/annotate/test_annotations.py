"""Plans in and out of model files: nothing else changes, and what comes from outside is checked."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import parser

from lhc.errors import ModelError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io import (
    annotate,
    contradictions,
    has_annotations,
    load_model,
    read_graph,
    read_plan,
    save_model,
)
from lhc.onnx_io.annotate.annotations import metadata_of_file
from lhc.onnx_model import OnnxModel, without_annotations
from lhc.passes import Qualify, initial_plan
from lhc.plan import Agreement, LayerPlan, Outcome, Plan, Sensitivity
from lhc.plan.summary import summary

TEXT = """
<ir_version: 8, opset_import: ["" : 17], producer_name: "test",
 metadata_props: ["author" : "someone", "lhcx" : "not ours"]>
net (float[N, 4] x) => (float[N, 2] y)
<float[4, 3] w1 = {1, -2, 3, 4, 5, -6, 7, 8, 9, 10, 11, 12}, float[3, 2] w2 = {1, 2, 3, 4, 5, 6}> {
  [first] h = MatMul(x, w1)
  [relu] r = Relu(h)
  [second] y = MatMul(r, w2)
}
"""
OUTCOME = Outcome(
    metric="accuracy",
    percent=True,
    baseline=0.9,
    value=0.895,
    drop=0.005,
    interval=(0.001, 0.009),
    confidence=0.9,
    chips_within=1.0,
    max_drop=0.01,
    drop_type="absolute",
    within_budget=True,
    held_out=True,
    samples=500,
    draws=10,
    seed=3,
    t_s=3600.0,
    strategy="sensitivity",
    data="ab" * 32,
)


def a_model(text: str = TEXT) -> OnnxModel:
    proto = parser.parse_model(text)
    entry = proto.graph.node[0].metadata_props.add()
    entry.key, entry.value = "namespace", "block0"
    return load_model(proto, "net")


def a_plan(model: OnnxModel, hardware: Hardware | None = None, outcome: Outcome | None = OUTCOME) -> Plan:
    first = LayerPlan(
        name=model.proto.graph.node[0].name,
        op_type="MatMul",
        weight="w1",
        output="h",
        placement="digital",
        reason="sensitivity",
        detail="analog as well, the drop would be 2 µ",
        macs=12,
        parameters=12,
        tiles=1,
    )
    figure = Sensitivity(metric="kl", mean=0.0631, std=0.01, interval=(0.0562, 0.07))
    second = first.model_copy(
        update={
            "name": model.proto.graph.node[2].name,
            "weight": "w2",
            "output": "y",
            "placement": "analog",
            "reason": "budget",
            "detail": "within",
            "macs": 6,
            "tiles": 2,
            "sensitivity": figure,
        }
    )
    return Plan(
        lhc_version="0.1.0",
        source=model.source,
        hardware=hardware or Hardware.load("lionheart"),
        layers=(first, second),
        outcome=outcome,
    )


def opened() -> tuple[OnnxModel, LayerGraph, Plan]:
    model = a_model()
    return model, read_graph(model), a_plan(model)


def keys_of(holder: onnx.ModelProto | onnx.NodeProto) -> dict[str, str]:
    assert len({entry.key for entry in holder.metadata_props}) == len(holder.metadata_props)
    return {entry.key: entry.value for entry in holder.metadata_props}


@pytest.mark.parametrize("outcome", [OUTCOME, None], ids=["measured", "not measured"])
def test_a_plan_is_read_back_as_it_was(outcome: Outcome | None, tmp_path: Path) -> None:
    model = a_model()
    plan = a_plan(model, outcome=outcome)
    path = tmp_path / "net.lhc.onnx"
    save_model(annotate(model, plan, read_graph(model)), path)
    again = load_model(path)
    assert has_annotations(again)
    assert not has_annotations(model)
    assert read_plan(again) == plan
    assert read_plan(model) is None


# Characters that end a line in YAML but not in JSON, or that YAML refuses, among others.
@given(st.text(st.sampled_from("a\u2028\u0085\x7f\t\n\"'\\: {}\U0001f600µ")), st.floats(1e-9, 1e9))
def test_any_hardware_is_read_back_as_it_was(description: str, noise: float) -> None:
    model, graph, plan = opened()
    lionheart = Hardware.load("lionheart")
    hardware = lionheart.model_copy(
        update={"description": description, "adc": lionheart.adc.model_copy(update={"noise": noise})}
    )
    again = load_model(annotate(model, plan.model_copy(update={"hardware": hardware}), graph))
    found = read_plan(again)
    assert found is not None
    assert found.hardware == hardware


def test_nodes_show_what_the_design_promises() -> None:
    model, graph, plan = opened()
    nodes = {node.name: keys_of(node) for node in annotate(model, plan, graph).graph.node}
    assert nodes == {
        "first": {
            "namespace": "block0",
            "lhc.placement": "digital",
            "lhc.reason": "sensitivity",
            "lhc.detail": "analog as well, the drop would be 2 µ",
            "lhc.macs": "12",
            "lhc.tiles": "0",
        },
        "relu": {},
        "second": {
            "lhc.placement": "analog",
            "lhc.reason": "budget",
            "lhc.detail": "within",
            "lhc.macs": "6",
            "lhc.tiles": "2",
            "lhc.sensitivity": "0.0631 [0.0562, 0.07] kl with 1 copy, measured",
        },
    }


def test_nodes_show_copies_of_analog_layers_where_there_are_any_and_reading_gives_them_back() -> None:
    model, graph, plan = opened()
    rows = tuple(layer.model_copy(update={"copies": 3}) for layer in plan.layers)
    annotated = annotate(model, plan.model_copy(update={"layers": rows}), graph)
    shown = {node.name: keys_of(node).get("lhc.copies") for node in annotated.graph.node}
    assert shown == {"first": None, "relu": None, "second": "3"}
    again = read_plan(load_model(annotated))
    assert again is not None
    assert again.copies == dict.fromkeys((layer.name for layer in plan.layers), 3)
    assert contradictions(load_model(annotated), again) == []


def test_the_model_shows_what_the_design_promises() -> None:
    model, graph, plan = opened()
    keys = keys_of(annotate(model, plan, graph))
    ours = {key: value for key, value in keys.items() if key.startswith("lhc.")}
    assert set(ours) == {
        "lhc.schema",
        "lhc.version",
        "lhc.source",
        "lhc.summary",
        "lhc.hardware",
        "lhc.plan",
        "lhc.result",
    }
    assert (ours["lhc.schema"], ours["lhc.version"], ours["lhc.source"]) == ("1", "0.1.0", model.source)
    assert ours["lhc.summary"] == summary(plan, graph)
    assert json.loads(ours["lhc.result"])["seed"] == 3
    assert Hardware.model_validate_json(ours["lhc.hardware"]) == plan.hardware
    assert [row["weight"] for row in json.loads(ours["lhc.plan"])] == ["w1", "w2"]


def test_nothing_but_metadata_changes() -> None:
    model, graph, plan = opened()
    before = model.proto.SerializeToString(deterministic=True)
    annotated = annotate(model, plan, graph)
    assert annotated.SerializeToString(deterministic=True) != before
    assert without_annotations(annotated).SerializeToString(deterministic=True) == before
    assert model.proto.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(annotated, full_check=True)


def test_keys_of_other_tools_stay() -> None:
    model, graph, plan = opened()
    keys = keys_of(annotate(model, plan, graph))
    assert (keys["author"], keys["lhcx"]) == ("someone", "not ours")


def test_a_second_annotation_replaces_the_first() -> None:
    model, graph, plan = opened()
    once = annotate(model, plan, graph)
    assert annotate(load_model(once), plan, graph).SerializeToString() == once.SerializeToString()
    other = plan.decide({"second": ("digital", "excluded", "left out")}).model_copy(update={"outcome": None})
    twice = annotate(load_model(once), other, graph)
    assert read_plan(load_model(twice)) == other
    assert twice.SerializeToString() == annotate(model, other, graph).SerializeToString()
    assert "lhc.result" not in keys_of(twice)


def test_the_source_is_that_of_the_model_without_its_plan() -> None:
    model, graph, plan = opened()
    assert load_model(annotate(model, plan, graph)).source == model.source
    changed = TEXT.replace("{1, -2, 3", "{1, -2, 4")
    assert a_model(changed).source != model.source


def test_the_source_of_a_model_without_names_is_stable() -> None:
    unnamed = TEXT.replace("[first] ", "").replace("[relu] ", "").replace("[second] ", "")
    model = a_model(unnamed)
    assert len(model.renamed) == 3
    plan = a_plan(model)
    again = load_model(annotate(model, plan, read_graph(model)))
    assert again.source == model.source == plan.source
    assert again.renamed == ()
    assert read_plan(again) == plan


def test_onnxruntime_gives_the_same_bits() -> None:
    import onnxruntime as ort

    model, graph, plan = opened()
    x = np.random.default_rng(20250817).normal(size=(5, 4)).astype(np.float32)
    outputs = [
        ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for proto in (model.proto, annotate(model, plan, graph))
    ]
    assert outputs[0].tobytes() == outputs[1].tobytes()


def test_metadata_of_a_file_knows_files_of_lhc(tmp_path: Path) -> None:
    model, graph, plan = opened()
    ours, plain, text = tmp_path / "ours.onnx", tmp_path / "plain.onnx", tmp_path / "notes.onnx"
    save_model(annotate(model, plan, graph), ours)
    save_model(model.proto, plain)
    text.write_text("These are notes.", encoding="utf-8")
    assert metadata_of_file(ours)["lhc.source"] == model.source
    for other in (plain, text, tmp_path, tmp_path / "missing.onnx"):
        assert metadata_of_file(other) == {}


@dataclass(frozen=True)
class Tampered:
    id: str
    key: str
    change: Callable[[str], str | None]
    message: str


def edited(**changes: object) -> Callable[[str], str]:
    """Change fields of a JSON document; of its first row where it is a list."""

    def change(text: str) -> str:
        document = json.loads(text)
        (document[0] if isinstance(document, list) else document).update(changes)
        return json.dumps(document)

    return change


TAMPERED = [
    Tampered("newer schema", "lhc.schema", lambda _: "2", "annotated with schema '2', this lhc reads 1; update lhc"),
    Tampered("no schema", "lhc.schema", lambda _: None, "annotated with schema ''"),
    Tampered("schema that is no number", "lhc.schema", lambda _: "one", "annotated with schema 'one'"),
    Tampered("plan cut off", "lhc.plan", lambda text: text[:-5], "cannot be read.*partition"),
    Tampered("plan empty", "lhc.plan", lambda _: "", "cannot be read"),
    Tampered("plan of another type", "lhc.plan", lambda _: '"all"', "layers: "),
    Tampered("deep nesting", "lhc.plan", lambda _: "[" * 100_000, "cannot be read"),
    Tampered("unknown field", "lhc.plan", edited(colour="orange"), r"layers\.0\.colour: "),
    Tampered("unknown placement", "lhc.plan", edited(placement="optical"), r"layers\.0\.placement: "),
    Tampered("negative tiles", "lhc.plan", edited(tiles=-1), r"layers\.0\.tiles: "),
    Tampered("no hardware", "lhc.hardware", lambda _: None, "hardware: "),
    Tampered("hardware cut off", "lhc.hardware", lambda text: text[:-1], "cannot be read"),
    Tampered("hardware that is YAML", "lhc.hardware", lambda _: "a: &a [x]\nb: *a", "cannot be read"),
    Tampered("unknown hardware field", "lhc.hardware", edited(tile=3), r"hardware\.tile: "),
    Tampered("result cut off", "lhc.result", lambda text: text[:-1], "cannot be read"),
    Tampered("NaN", "lhc.result", edited(drop=float("nan")), r"outcome\.drop: "),
    Tampered("no source", "lhc.source", lambda text: "x" * (32 * 2**20 + 1), "larger than 32 MiB"),
]


@pytest.mark.parametrize("case", TAMPERED, ids=lambda case: case.id)
def test_metadata_that_makes_no_sense_is_refused(case: Tampered) -> None:
    proto = annotate(*_in_order(opened()))
    kept = [(entry.key, entry.value) for entry in proto.metadata_props]
    del proto.metadata_props[:]
    for key, old in kept:
        value = case.change(old) if key == case.key else old
        if value is not None:
            proto.metadata_props.add(key=key, value=value)
    with pytest.raises(ModelError, match=f"net: .*{case.message}"):
        read_plan(load_model(proto, "net"))


def _in_order(parts: tuple[OnnxModel, LayerGraph, Plan]) -> tuple[OnnxModel, Plan, LayerGraph]:
    model, graph, plan = parts
    return model, plan, graph


def test_own_keys_come_before_those_of_other_tools_which_keep_their_order() -> None:
    model, graph, plan = opened()
    proto = annotate(model, plan, graph)
    for holder, others in ((proto, ["author", "lhcx"]), (proto.graph.node[0], ["namespace"])):
        keys = [entry.key for entry in holder.metadata_props]
        own = len(keys) - len(others)
        assert keys[own:] == others
        assert own >= 5
        assert all(key.startswith("lhc.") for key in keys[:own])


def test_metadata_of_nodes_alone_is_no_plan() -> None:
    model, graph, plan = opened()
    proto = annotate(model, plan, graph)
    del proto.metadata_props[:]
    stripped = load_model(proto)
    assert not has_annotations(stripped)
    assert read_plan(stripped) is None


def test_a_sensitivity_in_an_earlier_file_is_no_contradiction() -> None:
    """Earlier versions did not write whether it is predicted or measured; another figure is still told."""
    model, graph, plan = opened()
    annotated = annotate(model, plan, graph)
    (entry,) = (e for node in annotated.graph.node for e in node.metadata_props if e.key == "lhc.sensitivity")
    for value, problems in (("0.0631 [0.0562, 0.07] kl", 0), ("0.0631 [0.0562, 0.08] kl", 1), ("", 1)):
        entry.value = value
        assert len(contradictions(load_model(annotated), plan)) == problems


def test_what_checked_predictions_is_read_back_as_it_was() -> None:
    model, graph, plan = opened()
    checked = Agreement(layers={"second": (0.06, 0.07)}, correlation=None, ratio=0.86, good=False)
    plan = plan.model_copy(update={"agreement": checked})
    assert read_plan(load_model(annotate(model, plan, graph))) == plan


def test_macs_of_two_activations_in_an_earlier_file_are_no_contradiction() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[N, 5, 4] q, float[N, 4, 7] k) => (float[N, 5, 7] y) { [scores] y = MatMul (q, k) }
    """
    model = load_model(parser.parse_model(text))
    graph = read_graph(model)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), model.source, "0")).plan
    proto = annotate(model, plan, graph)
    (node,) = proto.graph.node
    keys = {entry.key: entry for entry in node.metadata_props}
    assert (keys["lhc.macs"].value, keys["lhc.activation_macs"].value) == ("0", "140")
    assert contradictions(load_model(proto), plan) == []
    keys["lhc.macs"].value = "140"
    node.metadata_props.remove(keys["lhc.activation_macs"])
    assert contradictions(load_model(proto), plan) == []
    keys["lhc.macs"].value = "139"
    assert contradictions(load_model(proto), plan) != []
