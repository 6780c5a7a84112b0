"""Placements in the forms of ONNX, onnxruntime and onnx-mlir: written, accepted by their readers, read back."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import lhc
from lhc.hardware import Hardware
from lhc.onnx_io import add_device_configurations, annotate, configured_placements, load_model, read_graph, read_plan
from lhc.passes import Qualify, initial_plan
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from tests.conftest import Cli
from tests.networks import drawn, parsed

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
network (float[N, 2, 6, 6] image) => (float[N, 4] logits) {
  [conv1] c = Conv (image, w)
  ["conv1/relu"] r = Relu (c)
  [conv10] s = Conv (r, w2)
  [pool] p = GlobalAveragePool (s)
  ["a.b+c"] h = Flatten (p)
  ["x.y"] logits = Gemm (h, o)
}"""
SHAPES = {"w": (8, 2, 3, 3), "w2": (8, 8, 3, 3), "o": (8, 4)}
ANALOG = {"conv1": "analog", "conv10": "digital", "x.y": "analog"}
FEEDS = {"image": np.random.default_rng(1).normal(size=(3, 2, 6, 6)).astype(np.float32)}
GEMM = {"node_type": "onnx.Gemm", "onnx_node_name": "x.*"}


@pytest.fixture
def network() -> onnx.ModelProto:
    return parsed(TEXT, drawn(SHAPES))


@pytest.fixture
def placed(network: onnx.ModelProto) -> PartitionResult:
    model = load_model(network)
    graph = read_graph(model)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), model.source, "0")).plan
    plan = plan.decide({name: (side, "forced", "for a test") for name, side in ANALOG.items()})  # type: ignore[misc]
    return PartitionResult(plan, graph, model)


def _run(model: onnx.ModelProto, setting: str = "", value: str = "") -> bytes:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # no device here is an npu, which it says
    if setting:
        options.add_session_config_entry(f"session.{setting}", value)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, FEEDS)[0]).tobytes()


def _placements(result: PartitionResult) -> dict[str, str]:
    return {layer.name: layer.placement for layer in result.plan.layers}


def test_device_configurations_are_checked_run_and_read_back(
    placed: PartitionResult, network: onnx.ModelProto, tmp_path: Path
) -> None:
    path = placed.save(tmp_path / "m.onnx", device_configurations=True)
    written = onnx.load(str(path))
    onnx.checker.check_model(written, full_check=True)
    assert _run(written) == _run(network)
    stages = {node.name: node.device_configurations[0].pipeline_stage for node in written.graph.node}
    assert stages == {"conv1": 1, "conv1/relu": 2, "conv10": 2, "pool": 2, "a.b+c": 2, "x.y": 3}
    loaded = load_model(path)
    plan = read_plan(loaded)
    assert plan is not None
    assert plan.source == loaded.source, "not stale"
    assert configured_placements(loaded) == ANALOG
    bare = onnx.ModelProto()
    bare.CopyFrom(written)
    del bare.metadata_props[:]
    found = lhc.reapply(bare)
    assert _placements(found) == ANALOG, "the nodes alone tell it"
    assert found.plan.source == load_model(found.model).source


def test_device_configurations_follow_when_onnx_ir_renames_values(placed: PartitionResult) -> None:
    """With what was measured, as long as the plan knows a layer by one of its names; a renamed output is found too."""
    model = placed.to_ir(device_configurations=True)
    for node in model.graph:
        node.name, node.outputs[0].name = f"now_{node.name}", f"now_{node.outputs[0].name}"
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert _run(proto) == _run(placed.source.proto)
    renamed = {f"now_{name}": side for name, side in ANALOG.items()}
    assert configured_placements(load_model(proto)) == renamed
    assert _placements(lhc.reapply(proto)) == renamed


def test_other_configurations_stay_and_lhcs_own_goes_without_a_trace(
    placed: PartitionResult, network: onnx.ModelProto, tmp_path: Path
) -> None:
    network.configuration.add(name="theirs", num_devices=2)
    network.graph.node[0].device_configurations.add(configuration_id="theirs", pipeline_stage=1)
    model = load_model(network)
    before = annotate(model, placed.plan, placed.facts)
    after = annotate(model, placed.plan, placed.facts)
    add_device_configurations(after, placed.plan)
    assert [one.configuration_id for one in after.graph.node[0].device_configurations] == ["theirs", "lhc.placement"]
    again = annotate(load_model(after), placed.plan, placed.facts)
    assert (after.ir_version, again) == (11, before)


def test_configurations_of_others_with_an_analog_device_are_taken(network: onnx.ModelProto) -> None:
    one = network.configuration.add(name="theirs", num_devices=3, device=["cpu", "analog", "gpu"])
    for node, device in zip((network.graph.node[0], network.graph.node[2]), (1, 2), strict=True):
        spec = node.device_configurations.add(configuration_id=one.name).sharding_spec
        spec.add(tensor_name=node.output[0], device=[device])
    assert _placements(lhc.reapply(network)) == {"conv1": "analog", "conv10": "digital", "x.y": "digital"}


def test_names_are_told_apart_where_one_holds_another(cli: Cli, placed: PartitionResult, tmp_path: Path) -> None:
    path = placed.save(tmp_path / "m.onnx")
    result = cli("inspect", path, "--layer-assignment", "npu")
    assert (result.exit_code, result.stdout) == (0, "npu(conv1, x.y); cpu(conv10, conv1/relu)\n")
    assert "session.name_based_layer_assignment" in result.stderr
    assert _run(onnx.load(str(path)), "name_based_layer_assignment", result.stdout.strip()) == _run(placed.model)
    (tmp_path / "names.txt").write_text(result.stdout)
    assert _placements(lhc.reapply(placed.source, tmp_path / "names.txt")) == ANALOG
    renamed = placed.model
    renamed.graph.node[0].name = "a;b"
    with pytest.raises(lhc.LhcError, match=r"cannot hold the name 'a;b'.*--layer-ann"):
        lhc.onnx_io.layer_assignment(load_model(lhc.reapply(renamed).model), "npu")


def test_nnpa_config_names_types_and_nodes_exactly(cli: Cli, placed: PartitionResult, tmp_path: Path) -> None:
    path = placed.save(tmp_path / "m.onnx")
    config = tmp_path / "config.json"
    config.write_text(cli("inspect", path, "--nnpa-config").stdout)
    rules = [rule["pattern"] for rule in json.loads(config.read_text())["nnpa_ops_config"]]
    assert rules[-1] == {
        "match": {"node_type": r"onnx\.Gemm", "onnx_node_name": r"x\.y"},
        "rewrite": {"device": "nnpa"},
    }
    back = cli("reapply", path, "--from", config, "-o", tmp_path / "back.onnx", "--hardware", "static-range", "--force")
    assert back.exit_code == 0, back.stderr
    plan = read_plan(load_model(tmp_path / "back.onnx"))
    assert plan is not None
    assert {layer.name: layer.placement for layer in plan.layers} == ANALOG
    assert plan.hardware == Hardware.load("static-range")


def test_the_first_rule_that_matches_counts(placed: PartitionResult, tmp_path: Path) -> None:
    rules = (({"node_type": "onnx.Conv"}, {"device": "NNPA"}), (GEMM, {"quantize": True}), (GEMM, {"device": "nnpa"}))
    config = {"nnpa_ops_config": [{"pattern": {"match": match, "rewrite": rewrite}} for match, rewrite in rules]}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    found = lhc.reapply(placed.source, path)
    assert _placements(found) == {"conv1": "analog", "conv10": "analog", "x.y": "digital"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param("c.json", "{}", "cannot be read as onnx-mlir's", id="no-rules"),
        pytest.param("c.json", '{"nnpa_ops_config": []}', "name none of its operators", id="nothing-named"),
        pytest.param(
            "c.json",
            '{"nnpa_ops_config": [{"pattern": {"match": {"node_type": "a", "inputs": {}}, "rewrite": {}}}]}',
            "sizes of tensors",
            id="sizes",
        ),
        pytest.param("n.txt", "npu conv1", "cannot be read as onnxruntime's", id="no-devices"),
    ],
)
def test_files_that_hold_no_settings(
    placed: PartitionResult, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(lhc.LhcError, match=message):
        lhc.reapply(placed.source, tmp_path / name)


def test_what_cannot_be_analog_is_told(network: onnx.ModelProto, tmp_path: Path) -> None:
    network.graph.node[-1].input[1] = "v"
    network.graph.input.append(onnx.helper.make_tensor_value_info("v", onnx.TensorProto.FLOAT, [8, 4]))
    (tmp_path / "names.txt").write_text("npu(conv1, x.y)")  # conv10 has conv1 in its name
    result = lhc.reapply(network, tmp_path / "names.txt")
    assert result.plan.analog == {"conv1", "conv10"}
    assert len(result.notes) == 1
    assert "'x.y' stays digital" in result.notes[0]
