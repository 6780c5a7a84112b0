"""Annotations are put back after tools as they are released: what is found again, fused or gone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import lhc
from lhc.hardware import Hardware, Override
from lhc.hardware.description.digital import DigitalCores
from lhc.onnx_io import (
    add_device_configurations,
    configured_placements,
    contradictions,
    find_layers,
    load_model,
    read_graph,
    read_plan,
)
from lhc.passes import Qualify, initial_plan
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from tests.conftest import Cli
from tests.networks import drawn, parsed

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
network (float[N, 2, 6, 6] image) => (float[N, 4] logits) {
  [stem] c = Conv <pads = [1, 1, 1, 1]> (image, w, b)
  [act] r = Relu (c)
  [second] s = Conv (r, w2)
  [pool] p = GlobalAveragePool (s)
  [same] i = Identity (p)
  [flat] f = Flatten (i)
  [hidden] h = MatMul (f, u)
  [bias] hb = Add (h, a)
  [tied_1] t1 = MatMul (hb, v)
  [squash] t2 = Tanh (t1)
  [tied_2] t3 = MatMul (t2, v)
  [head] logits = Gemm (t3, o)
}"""
SHAPES = {"w": (8, 2, 3, 3), "b": (8,), "w2": (8, 8, 3, 3), "u": (8, 6), "a": (6,), "v": (6, 6), "o": (6, 4)}
LAYERS = ("stem", "second", "hidden", "tied_1", "tied_2", "head")
Tool = Callable[[onnx.ModelProto, Path], onnx.ModelProto]


def network() -> onnx.ModelProto:
    return parsed(TEXT, drawn(SHAPES))


@pytest.fixture
def annotated() -> onnx.ModelProto:
    """Every second layer analog."""
    model = load_model(network())
    graph = read_graph(model)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), model.source, "0")).plan
    sides = {name: ("digital", "analog")[index % 2] for index, name in enumerate(LAYERS)} | {"tied_2": "analog"}
    plan = plan.decide({name: (side, "forced", "for a test") for name, side in sides.items()})  # type: ignore[misc]
    return PartitionResult(plan, graph, model).model


def _ort(level: str) -> Tool:
    def optimise(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.optimized_model_filepath = str(folder / "optimised.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(str(folder / "optimised.onnx"))

    return optimise


def _onnxslim(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    result: onnx.ModelProto = pytest.importorskip("onnxslim").slim(model)
    return result


def _onnxsim(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    simplified, _ = pytest.importorskip("onnxsim").simplify(model)
    result: onnx.ModelProto = simplified
    return result


def _onnxoptimizer(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    optimizer = pytest.importorskip("onnxoptimizer")
    result: onnx.ModelProto = optimizer.optimize(model, optimizer.get_fuse_and_elimination_passes())
    return result


def _version_converter(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    return onnx.version_converter.convert_version(model, 21)


TOOLS: dict[str, Tool] = {
    "onnxruntime-disabled": _ort("ORT_DISABLE_ALL"),
    "onnxruntime-basic": _ort("ORT_ENABLE_BASIC"),
    "onnxruntime-extended": _ort("ORT_ENABLE_EXTENDED"),
    "onnxslim": _onnxslim,
    "onnxsim": _onnxsim,
    "onnxoptimizer": _onnxoptimizer,
    "version_converter": _version_converter,
}


def _placements(model: onnx.ModelProto) -> dict[str, str]:
    return {
        node.name: entry.value
        for node in model.graph.node
        for entry in node.metadata_props
        if entry.key == "lhc.placement"
    }


@pytest.mark.parametrize("tool", TOOLS)
def test_every_layer_is_found_again(tool: str, annotated: onnx.ModelProto, tmp_path: Path) -> None:
    written = read_plan(load_model(annotated))
    assert written is not None
    add_device_configurations(annotated, written)
    rewritten = TOOLS[tool](annotated, tmp_path)
    result = lhc.reapply(rewritten)
    kept = configured_placements(load_model(rewritten)).keys() >= set(LAYERS)
    assert kept != any("device configurations are gone" in note for note in result.notes)
    gone = [note for note in result.notes if "is gone" in note]
    assert not gone
    assert len(result.plan.layers) == len(LAYERS)
    planned = {layer.weight: layer.placement for layer in written.layers}
    restored = load_model(result.model)
    assert not contradictions(restored, result.plan)
    by_name = {node.name: node for node in restored.proto.graph.node}
    for name, placement in _placements(restored.proto).items():
        weights = [w for w in by_name[name].input if w in planned]
        assert all(planned[w] == placement for w in weights), name
    assert sorted(_placements(restored.proto).values()) == sorted(_placements(annotated).values())
    plan = read_plan(restored)
    assert plan is not None
    assert plan.source == restored.source, "not stale"
    feeds = {"image": np.ones((2, 2, 6, 6), np.float32)}
    for model in (rewritten, restored.proto):
        options: Any = {"providers": ["CPUExecutionProvider"]}
        assert onnxruntime.InferenceSession(model.SerializeToString(), **options).run(None, feeds)[0].shape == (2, 4)


def test_layouts_for_one_processor_may_lose_layers_which_is_told(annotated: onnx.ModelProto, tmp_path: Path) -> None:
    """onnxruntime's last level stores reordered weights under new names; it is meant for running, not for keeping."""
    result = lhc.reapply(_ort("ORT_ENABLE_ALL")(annotated, tmp_path))
    gone = [note for note in result.notes if "is gone" in note]
    assert len(result.plan.layers) + len(gone) == len(LAYERS)


def test_what_onnxruntime_fused_is_told(annotated: onnx.ModelProto, tmp_path: Path) -> None:
    basic = lhc.reapply(_ort("ORT_ENABLE_BASIC")(annotated, tmp_path))
    assert basic.notes == ("MatMul 'hidden' is now Gemm 'hidden/MatMulAddFusion' (found by weight)",)
    extended = lhc.reapply(_ort("ORT_ENABLE_EXTENDED")(annotated, tmp_path))
    assert extended.notes == basic.notes
    stem = next(layer for layer in extended.plan.layers if layer.name == "stem")
    assert (stem.kind, stem.origin, stem.op_type) == ("com.microsoft::FusedConv", "stem", "Conv")


@pytest.mark.analog
def test_a_reapplied_model_runs_analog(annotated: onnx.ModelProto, tmp_path: Path) -> None:
    result = lhc.reapply(_ort("ORT_ENABLE_BASIC")(annotated, tmp_path))
    session = lhc.HybridSession(result.model)
    assert session.analog == result.plan.analog == {"second", "tied_1", "tied_2", "head"}
    assert session.run(None, {"image": np.ones((2, 2, 6, 6), np.float32)})[0].shape == (2, 4)


def test_weights_come_first_then_names_then_outputs(annotated: onnx.ModelProto) -> None:
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(annotated)
    nodes = {node.name: node for node in rewritten.graph.node}
    nodes["stem"].name, nodes["second"].name = "second", "stem"  # the weight says which is which
    weights = {tensor.name: tensor for tensor in rewritten.graph.initializer}
    weights["u"].name = nodes["hidden"].input[1] = "renamed"
    weights["o"].name = nodes["head"].input[1] = "other"
    nodes["head"].name = "classifier"
    result = lhc.reapply(rewritten)
    found = {layer.output: (layer.name, layer.weight) for layer in result.plan.layers}
    assert found["c"] == ("second", "w")
    assert found["s"] == ("stem", "w2")
    assert found["h"] == ("hidden", "renamed")
    assert found["logits"] == ("classifier", "other")
    assert "layer 'head' is now called 'classifier' (found by output)" in result.notes


def test_no_layer_is_given_the_node_that_is_surely_another_one(annotated: onnx.ModelProto) -> None:
    """A node ``stem/…`` may be a fusion of ``stem``, but not where the plan has a layer of just that name."""
    model = load_model(annotated)
    plan = read_plan(model)
    assert plan is not None
    names = {"second": "stem/second"}
    layers = tuple(one.model_copy(update={"name": names.get(one.name, one.name)}) for one in plan.layers)
    plan = plan.model_copy(update={"layers": layers})
    nodes = {node.name: node for node in model.proto.graph.node}
    nodes["second"].name = "stem/second"
    for name, weight in (("stem", "w"), ("second", "w2")):
        tensor = next(one for one in model.proto.graph.initializer if one.name == weight)
        tensor.name = nodes[name].input[1] = f"renamed_{weight}"
    model.proto.graph.node.remove(nodes["stem"])
    found = {one.layer.name: one.name for one in find_layers(model, plan)}
    assert (found["stem"], found["stem/second"]) == (None, "stem/second")


def test_layers_that_are_gone_are_named(annotated: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save_model(annotated, str(tmp_path / "whole.onnx"))
    onnx.utils.extract_model(str(tmp_path / "whole.onnx"), str(tmp_path / "part.onnx"), ["image"], ["s"])
    with pytest.raises(lhc.LhcError, match=r"carries no plan; name the annotated original \(--from"):
        lhc.reapply(tmp_path / "part.onnx")
    result = lhc.reapply(tmp_path / "part.onnx", tmp_path / "whole.onnx")
    assert [layer.name for layer in result.plan.layers] == ["stem", "second"]
    assert set(result.notes) >= {"digital layer 'hidden' is gone", "analog layer 'head' is gone"}


def test_command(cli: Cli, annotated: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "m.optimized.onnx"
    onnx.save_model(_ort("ORT_ENABLE_BASIC")(annotated, tmp_path), str(path))
    result = cli("reapply", path, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["notes"] == [
        "MatMul 'hidden' is now Gemm 'hidden/MatMulAddFusion' (found by weight)"
    ]
    assert "note: MatMul 'hidden'" in result.stderr
    written = onnx.load(str(tmp_path / "m.optimized.lhc.onnx"))
    assert _placements(written)["hidden/MatMulAddFusion"] == "digital"
    refused = cli("reapply", path, "-o", path)
    assert (refused.exit_code, "the output is the input" in refused.stderr) == (2, True)


def test_another_network_altogether(annotated: onnx.ModelProto) -> None:
    other = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) {y = Relu (x)}'
    )
    with pytest.raises(lhc.LhcError, match="none of the 6 layers of the plan is in this model"):
        lhc.reapply(other, annotated)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A placement with its verdict; the head's digital product is in bf16, and one layer has an ADC of its own."""
    machine = Hardware.load("lionheart").model_copy(
        update={"overrides": (Override(layers="st*", adc={"bits": 6}),), "digital": DigitalCores(high_precision="bf16")}
    )
    rng = np.random.default_rng(0)
    data = {"image": rng.normal(size=(24, 2, 6, 6)).astype(np.float32)}
    options: dict[str, Any] = {"metric": "nmse", "max_drop": 100.0, "draws": 2, "strategy": "all-analog"}
    result = lhc.partition(network(), data, hardware=machine, exclude=["head"], high_precision=["head"], **options)
    assert result.plan.outcome is not None
    return result.save(tmp_path_factory.mktemp("measured") / "placed.onnx")


def _stripped(path: Path) -> onnx.ModelProto:
    """The network without what lhc wrote into it."""
    model = onnx.load(path)
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    return model


@pytest.mark.analog
def test_a_verdict_goes_with_the_weights_that_it_is_of(measured: Path) -> None:
    same = _stripped(measured)
    same.graph.node[0].name = "first"
    kept = lhc.reapply(same, original=measured)
    assert kept.plan.outcome is not None
    assert kept.notes == ("layer 'stem' is now called 'first' (found by weight)",)
    other = _stripped(measured)
    for tensor in other.graph.initializer:
        if tensor.name == "u":
            tensor.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(tensor), "u"))
    found = lhc.reapply(other, original=measured)
    assert found.plan.outcome is None
    assert all(layer.sensitivity is None for layer in found.plan.layers)
    assert found.plan.analog == kept.plan.analog - {"first"} | {"stem"}
    assert any(
        note.startswith("weights of 1 layer differ, e.g. of 'hidden'; what was measured") for note in found.notes
    )


@pytest.mark.analog
def test_a_verdict_goes_with_what_is_computed_between_the_layers_too(measured: Path, tmp_path: Path) -> None:
    optimised = _ort("ORT_ENABLE_BASIC")(_stripped(measured), tmp_path)
    assert lhc.reapply(optimised, original=measured).plan.outcome is not None
    other = _stripped(measured)
    next(node for node in other.graph.node if node.op_type == "Relu").op_type = "Tanh"
    found = lhc.reapply(other, original=measured)
    assert found.plan.outcome is None
    assert any("answers to random inputs differ from those of" in note for note in found.notes)


@pytest.mark.analog
def test_where_weights_cannot_be_compared_it_is_said(measured: Path, cli: Cli, tmp_path: Path) -> None:
    model = onnx.load(measured)
    for node in model.graph.node:
        del node.metadata_props[:]
    assert lhc.reapply(model).notes == ()
    model.graph.node[0].name = "first"
    found = lhc.reapply(model)
    assert found.plan.outcome is not None
    assert any("whose weights are not compared (--from ORIGINAL compares them)" in note for note in found.notes)
    written = found.save(tmp_path / "again.onnx")
    assert "has changed since lhc annotated it" in cli("inspect", written).stderr
    assert json.loads(cli("inspect", written, "--json").stdout)["stale"]
    assert "the figures are those of the earlier network" in cli("report", written).stdout


@pytest.mark.analog
def test_without_some_layers_there_is_no_verdict(measured: Path, tmp_path: Path) -> None:
    onnx.utils.extract_model(str(measured), str(tmp_path / "part.onnx"), ["image"], ["t1"])
    found = lhc.reapply(tmp_path / "part.onnx", original=measured)
    assert found.plan.outcome is None
    assert any(note.startswith("layers of the plan are gone; what was measured is left out") for note in found.notes)


@pytest.mark.analog
def test_machine_and_number_formats_follow_the_names(measured: Path) -> None:
    model = _stripped(measured)
    names = {"stem": "first", "head": "last"}
    for node in model.graph.node:
        node.name = names.get(node.name, node.name)
    plan = lhc.reapply(model, original=measured).plan
    assert plan.hardware.for_layer("first").adc.bits == 6
    assert plan.digital is not None
    assert plan.digital.of("last") == "bf16"
    assert next(layer.precision for layer in plan.layers if layer.name == "last") == "bf16"


def test_what_lhc_calls_unnamed_nodes_finds_no_layer() -> None:
    """It follows from their places: behind a fusion the second product has what was the third's name."""
    model = network()
    for node in model.graph.node:
        node.name = ""
    loaded = load_model(model)
    graph = read_graph(loaded)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), loaded.source, "0")).plan
    names = [layer.name for layer in plan.layers]
    fewer = onnx.ModelProto()
    fewer.CopyFrom(model)
    del fewer.graph.node[1]  # Relu; all behind it move up
    fewer.graph.node[1].input[0] = "c"
    for index, tensor in enumerate(fewer.graph.initializer):
        for node in fewer.graph.node:
            node.input[:] = [f"renamed{index}" if name == tensor.name else name for name in node.input]
        tensor.name = f"renamed{index}"
    found = find_layers(load_model(fewer), plan)
    assert [one.layer.name for one in found] == names
    assert [(one.by, one.output) for one in found] == [("output", layer.output) for layer in plan.layers]


def test_a_reader_of_the_weight_that_does_not_multiply_is_not_the_layer(annotated: onnx.ModelProto) -> None:
    plan = read_plan(load_model(annotated))
    assert plan is not None
    node = next(node for node in annotated.graph.node if node.name == "head")
    node.input[1] = "turned"
    annotated.graph.node.insert(0, onnx.helper.make_node("Identity", ["o"], ["turned"], "turn"))
    (head,) = (one for one in find_layers(load_model(annotated), plan) if one.layer.name == "head")
    assert (head.name, head.by) == ("head", "name")


def test_a_machine_beside_a_plan_that_has_one_is_refused(cli: Cli, annotated: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save_model(annotated, str(tmp_path / "m.onnx"))
    refused = cli("reapply", tmp_path / "m.onnx", "--hardware", "hermes")
    assert refused.exit_code == 2
    assert "--hardware: the plan is for lionheart; leave it out" in refused.stderr


@pytest.mark.analog
def test_a_reapplied_file_with_other_weights_is_not_replaced_without_being_told(measured: Path, tmp_path: Path) -> None:
    tuned = onnx.load(measured)
    for tensor in tuned.graph.initializer:
        if tensor.name == "u":
            tensor.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(tensor), "u"))
    onnx.save(tuned, tmp_path / "tuned.onnx")
    written = lhc.reapply(tmp_path / "tuned.onnx").save(tmp_path / "final.onnx")
    before = written.read_bytes()

    with pytest.raises(lhc.LhcError, match="exists and holds something else"):
        lhc.reapply(measured).save(written)

    assert written.read_bytes() == before
    lhc.reapply(tmp_path / "tuned.onnx").save(written)  # its own may be replaced
