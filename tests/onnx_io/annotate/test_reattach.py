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
from lhc.hardware import Hardware
from lhc.onnx_io import (
    add_device_configurations,
    configured_placements,
    contradictions,
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
