"""Ways in and out: onnx-ir models and passes, onnxruntime's layer annotations."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx_ir.passes import common

import lhc
from lhc.commands.onnx_ir_passes import CompilePass, PartitionPass
from lhc.onnx_io import contradictions, load_model, read_plan
from tests.conftest import Cli

pytestmark = pytest.mark.analog

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
small (float[N, 2, 6, 6] image) => (float[N, 4] logits) {
  [stem] c = Conv (image, w)
  r = Relu (c)
  [pool] p = GlobalAveragePool (r)
  [flat] f = Flatten (p)
  [head] logits = Gemm (f, v)
}"""
RNG = np.random.default_rng(1)
DATA: dict[str, npt.NDArray[Any]] = {
    "image": RNG.normal(size=(40, 2, 6, 6)).astype(np.float32),
    "labels": RNG.integers(0, 4, 40),
}
FEEDS = {"image": DATA["image"][:3]}


@pytest.fixture
def network() -> onnx.ModelProto:
    model = onnx.parser.parse_model(TEXT)
    for name, shape in {"w": (8, 2, 3, 3), "v": (8, 4)}.items():
        array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def test_onnx_ir_models_in_and_out(network: onnx.ModelProto) -> None:
    result = lhc.partition(ir.from_proto(network), DATA, max_drop="100%", draws=2, objective="macs")
    out = result.to_ir()
    assert out.metadata_props["lhc.summary"].startswith("analog 2/2 layers")
    assert {node.name: node.metadata_props.get("lhc.placement") for node in out.graph}["stem"] == "analog"
    session = lhc.HybridSession(out)
    assert session.analog == {"stem", "head"}
    compiled = lhc.compile(out, noise="off").to_ir()
    assert {node.domain for node in compiled.graph if node.name in session.analog} == {"lhc.analog"}


def test_passes_in_a_pipeline(network: onnx.ModelProto) -> None:
    network.graph.node[0].metadata_props.add(key="theirs", value="1")
    pipeline = ir.passes.Sequential(
        common.ShapeInferencePass(),
        PartitionPass(DATA, max_drop="100%", draws=2, objective="macs"),
        common.CheckerPass(),
    )
    model = pipeline(ir.from_proto(network)).model
    loaded = load_model(ir.to_proto(model))
    plan = read_plan(loaded)
    assert plan is not None
    assert plan.source == loaded.source
    assert not contradictions(loaded, plan)
    stem = next(node for node in model.graph if node.name == "stem")
    assert (stem.metadata_props["theirs"], stem.metadata_props["lhc.placement"]) == ("1", "analog")
    compiled = CompilePass(noise="off")(model).model
    session = onnxruntime.InferenceSession(
        ir.to_proto(compiled).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert session.run(None, FEEDS)[0].shape == (3, 4)


def renamed(model: ir.Model) -> onnx.ModelProto:
    """The model with every node, value and initializer under another name, none of which lhc has ever seen."""
    for node in model.graph.all_nodes():
        node.name = f"now_{node.name}"
        for value in node.outputs:
            value.name = f"now_{value.name}"
    for value in list(model.graph.initializers.values()):
        value.name = f"now_{value.name}"
    proto: onnx.ModelProto = ir.to_proto(model)
    return proto


def test_a_pass_binds_device_configurations_to_objects(network: onnx.ModelProto) -> None:
    """All that a plan knows layers by is renamed: the placement follows, what was measured is left out, and said so."""
    theirs = network.configuration.add(name="theirs", num_devices=2)
    network.graph.node[0].device_configurations.add(configuration_id=theirs.name, pipeline_stage=1)
    network.ir_version = 11
    options = {"max_drop": "100%", "draws": 2, "objective": "macs", "exclude": ["head"]}
    placing = PartitionPass(DATA, device_configurations=True, **options)
    model = placing(placing(ir.from_proto(network)).model).model
    names = [one.configuration.name for one in model.graph[0].device_configurations if one.configuration is not None]
    assert names == ["theirs", "lhc.placement"], "a second run replaces lhc's own alone"
    common.CheckerPass()(model)
    proto = renamed(model)
    onnx.checker.check_model(proto, full_check=True)
    found = lhc.reapply(proto)
    assert {layer.name: layer.placement for layer in found.plan.layers} == {"now_stem": "analog", "now_head": "digital"}
    assert found.plan.outcome is None
    assert "what was measured of them is left out" in found.notes[0]
    assert found.plan.source == load_model(proto).source


def test_without_device_configurations_such_a_model_has_lost_its_placement(network: onnx.ModelProto) -> None:
    model = PartitionPass(DATA, max_drop="100%", draws=2, objective="macs")(ir.from_proto(network)).model
    with pytest.raises(lhc.LhcError, match="none of the 2 layers of the plan is in this model"):
        lhc.reapply(renamed(model))


def test_an_older_onnx_ir_is_told(network: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ir, "NodeDeviceConfiguration")
    with pytest.raises(lhc.LhcError, match=r"need onnx-ir 1\.0"):
        PartitionPass(DATA, device_configurations=True)


def annotations(model: onnx.ModelProto) -> dict[str, str]:
    return {n.name: e.value for n in model.graph.node for e in n.metadata_props if e.key == "layer_ann"}


def test_layer_annotations_are_opt_in_and_keep_what_others_wrote(network: onnx.ModelProto, tmp_path: Path) -> None:
    network.graph.node[0].metadata_props.add(key="layer_ann", value="theirs")
    result = lhc.partition(network, DATA, max_drop="100%", draws=2, objective="macs")
    plain = onnx.load(str(result.save(tmp_path / "plain.onnx")))
    path = result.save(tmp_path / "annotated.onnx", layer_ann=True)
    assert annotations(plain) == {"stem": "theirs"}
    assert annotations(onnx.load(str(path))) == {"stem": "theirs", "head": "analog"}
    loaded = load_model(path)
    plan = read_plan(loaded)
    assert plan is not None
    assert plan.source == loaded.source, "lhc's own annotations do not make a plan stale"
    assert not contradictions(loaded, plan)
    again = lhc.reapply(path)
    assert annotations(again.model) == {"stem": "theirs"}, "its own are taken away with its other keys"


@pytest.mark.slow
def test_onnxruntime_takes_the_settings(cli: Cli, network: onnx.ModelProto, tmp_path: Path) -> None:
    path = lhc.partition(network, DATA, max_drop="100%", draws=2, objective="macs").save(
        tmp_path / "m.onnx", layer_ann=True
    )
    result = cli("inspect", path, "--layer-assignment", "npu")
    assert (result.exit_code, result.stdout) == (0, "npu(=analog);cpu(=digital)\n")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.layer_assignment_settings", result.stdout.strip())
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    plain = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, FEEDS)[0], plain.run(None, FEEDS)[0])
    onnx.save_model(network, str(tmp_path / "plain.onnx"))
    refusals = (("m.onnx", "toaster", "onnxruntime's devices are"), ("plain.onnx", "npu", "no placement"))
    for model, device, message in refusals:
        refused = cli("inspect", tmp_path / model, "--layer-assignment", device)
        assert refused.exit_code == 2
        assert message in refused.stderr
