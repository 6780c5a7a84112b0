"""lhc as a pass of Olive, in a workflow that quantises first; skipped where Olive is not installed."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

import lhc
from lhc.onnx_io import load_model, read_plan
from lhc.options.by_command import PartitionOptions
from lhc.options.declaration.option_fields import options_of
from tests.networks import drawn, parsed

pytestmark = [
    pytest.mark.analog,
    # Olive's own code, and that of what it loads
    pytest.mark.filterwarnings("ignore"),
]

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
small (float[N, 2, 6, 6] image) => (float[N, 4] logits) {
  [stem] c = Conv (image, w)
  r = Relu (c)
  [pool] p = GlobalAveragePool (r)
  [flat] f = Flatten (p)
  [head] logits = MatMul (f, v)
}"""
PLACING = {"type": "LhcPartition", "max_drop": "100%", "draws": 2, "objective": "macs", "samples": 32, "seed": 7}


@pytest.fixture
def olive_pass(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("OLIVE_DISABLE_TELEMETRY", "1")
    pytest.importorskip("olive")
    from lhc.commands import olive_pass

    return olive_pass


@pytest.fixture
def workflow(tmp_path: Path) -> dict[str, Any]:
    """A model in a file, with samples beside it, and where Olive may write."""
    onnx.save(parsed(TEXT, drawn({"w": (8, 2, 3, 3), "v": (8, 4)})), str(tmp_path / "small.onnx"))
    rng = np.random.default_rng(1)
    image = rng.normal(size=(40, 2, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", image=image, labels=rng.integers(0, 4, 40))
    return {
        "input_model": {"type": "ONNXModel", "model_path": str(tmp_path / "small.onnx")},
        "passes": {"place": PLACING | {"data": str(tmp_path / "data.npz")}},
        "output_dir": str(tmp_path / "out"),
        "cache_dir": str(tmp_path / "cache"),
        "log_severity_level": 3,
    }


def run(olive_pass: ModuleType, workflow: dict[str, Any]) -> Any:  # noqa: ANN401 - Olive's own class
    from olive.workflows import run

    return run(workflow, package_config=olive_pass.package_config())


def told(output: Any) -> dict[str, object]:  # noqa: ANN401 - Olive's own class
    """What the model's attributes tell of the placement."""
    found: dict[str, object] = output.olive_model_config["config"]["model_attributes"]["lhc"]
    return found


def test_a_workflow_quantises_then_places(olive_pass: ModuleType, workflow: dict[str, Any]) -> None:
    place = workflow["passes"]["place"] | {"dequantize": True}
    workflow["passes"] = {"int8": {"type": "OnnxDynamicQuantization"}, "place": place}
    output = run(olive_pass, workflow).get_best_candidate()
    model = load_model(Path(output.model_path))
    kinds = {node.op_type for node in model.proto.graph.node}
    assert "MatMulInteger" in kinds, "Olive has quantised it"
    plan = read_plan(model)
    assert plan is not None
    assert plan.source == model.source
    assert plan.outcome is not None
    assert plan.outcome.seed == 7
    assert {layer.kind for layer in plan.layers if layer.placement == "analog"} == {"ConvInteger", "MatMulInteger"}
    assert lhc.HybridSession(output.model_path).analog == plan.analog
    assert told(output)["within_budget"] is True


def test_parameters_are_the_keywords_of_the_function(olive_pass: ModuleType) -> None:
    parameters = olive_pass.LhcPartition._default_config(None)
    assert parameters.keys() == {one.name for one in options_of(PartitionOptions)} - {"model"}
    assert all(one.description for one in parameters.values())


def test_a_budget_that_is_not_held_is_told_and_the_model_written(
    olive_pass: ModuleType, workflow: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    workflow["passes"]["place"] |= {"max_drop": "0.001%", "strategy": "all-analog"}
    output = run(olive_pass, workflow).get_best_candidate()
    assert told(output)["within_budget"] is False
    assert str(told(output)["verdict"]).startswith("Budget not met")
    assert "Budget not met" in caplog.text
    assert read_plan(load_model(Path(output.model_path))) is not None
