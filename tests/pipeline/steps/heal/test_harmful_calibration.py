"""Calibration that does harm is left out, told, and not missed by the commands."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lhc
from lhc.commands.partition import pipeline
from lhc.measure import PlacementEvaluator, Running
from lhc.options.by_command import PartitionOptions, RunOptions
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.pipeline.steps.heal.harmful_calibration import compared_evaluators, with_useful_calibration
from lhc.pipeline.steps.prepare import read_placed
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

pytestmark = pytest.mark.analog


def tokens() -> tuple[onnx.ModelProto, Task]:
    """Products over tokens of which six in eight are alike and answer nothing: padding that no mask tells."""
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {name: rng.normal(size=(16, 16)).astype(np.float32) / 4 for name in ("w1", "w2")}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], "first"),
        helper.make_node("Mul", ["h", "kept"], ["k"], "mask"),
        helper.make_node("MatMul", ["k", "w2"], ["y"], "second"),
    ]
    kept = np.ones((1, 8, 1), np.float32)
    kept[0, :6] = 0
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8, 16])],
        [numpy_helper.from_array(v, n) for n, v in {**weights, "kept": kept}.items()],
    )
    x = rng.normal(size=(200, 8, 16)).astype(np.float32)
    x[:, :6] = 2 * rng.normal(size=16) + 0.05 * x[:, :6]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model, Task({"x": x}, None, get_metric("nmse"))


def opened(model: object, task: Task | None = None, **more: object) -> tuple[PreparedNetwork, frozenset[str]]:
    asked = RunOptions(model, task, all_analog=True, draws=2, **more)  # type: ignore[arg-type]
    state, analog, _ = read_placed(asked, Running(), None)
    return state, analog


def test_calibration_that_does_harm_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    state, analog = opened(*tokens())
    assert state.calibrates
    found = with_useful_calibration(state, analog)
    assert not found.calibrates
    assert found.calibration is None
    (told,) = [record.getMessage() for record in caplog.records if "chips are not calibrated" in record.getMessage()]
    assert "the nmse of 2 chips is" in told
    assert "--force-digital" in told, "what to do"
    assert found.harmful is not None
    assert found.harmful.text in told
    assert found.harmful.calibrated > 1.1 * found.harmful.uncalibrated
    evaluator = found.evaluator(state.splits.judged)
    worse = replace(evaluator, hardware=state.plan.hardware, calibration=state.calibration)
    assert evaluator.measure(analog, range(3), "x").drops.mean() < worse.measure(analog, range(3), "x").drops.mean()


def test_errors_are_against_the_network_as_given() -> None:
    """Its digital products in int8 lose more than tiles do, which takes nothing off the errors of chips.

    Half of the samples are a thousand times as large: int8 has one range for all, tiles scale every vector.
    """
    model, task = tokens()
    x = np.asarray(task.inputs["x"]).copy()
    x[::2] *= 1000
    task = replace(task, inputs={"x": x}).with_metric(get_metric("kl"))
    state, analog = opened(model, task, digital_precision="int8", hardware="lionheart")
    assert state.plan.digital is not None

    for one in compared_evaluators(state):
        int8, tiles = (one.measure(placement, range(2), "x").drops.mean() for placement in (frozenset(), analog))
        assert int8 > tiles > 0


def test_masks_that_leave_open_what_is_padding_are_told(caplog: pytest.LogCaptureFixture) -> None:
    model, task = tokens()
    masks = {"attention_mask": np.ones((200, 8), np.int64), "decoder_attention_mask": np.ones((200, 8), np.int64)}
    for name in masks:
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, ["N", 8]))

    def told() -> list[str]:
        state, _ = opened(model, replace(task, inputs={**task.inputs, **masks}))
        assert state.calibration is not None
        return [record.getMessage() for record in caplog.records if "padding" in record.getMessage()]

    assert not told()
    masks["decoder_attention_mask"][:, 5:] = 0
    (text,) = told()
    assert "padding calibrates too: 'attention_mask' and 'decoder_attention_mask' are of one size" in text


def test_calibration_that_helps_stays() -> None:
    state, analog = opened("digits-narrow", samples=200)
    assert with_useful_calibration(state, analog) is state


@pytest.mark.parametrize(("calibrated", "uncalibrated", "left_out"), [("nan", "1", True), ("1", "nan", False)])
def test_answers_that_are_no_numbers_are_told_and_end_nothing(
    calibrated: str,
    uncalibrated: str,
    left_out: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    state, analog = opened("digits-narrow", samples=200)

    def measure(evaluator: PlacementEvaluator, *_: object) -> SimpleNamespace:
        return SimpleNamespace(
            drops=np.array([1.0, float(uncalibrated if evaluator.calibration is None else calibrated)])
        )

    monkeypatch.setattr(PlacementEvaluator, "measure", measure)
    found = with_useful_calibration(state, analog)
    assert found.calibrates is not left_out
    assert ("calibrated chips give NaN or infinite values" in caplog.text) is left_out


def test_nothing_is_compared_where_nothing_is_calibrated() -> None:
    plain = lhc.Hardware.load("lionheart").with_drift_compensation_alone()
    state, analog = opened("digits-narrow", samples=200, hardware=plain)
    assert with_useful_calibration(state, analog) is state
    calibrating, _ = opened("digits-narrow", samples=200)
    assert with_useful_calibration(calibrating, frozenset()) is calibrating


def test_the_placement_of_such_a_network_says_that_outputs_are_not_corrected() -> None:
    model, task = tokens()
    found = lhc.partition(model, task, strategy="all-analog", draws=3, max_drop=10.0, objective="macs")
    assert found.plan.hardware.compensation.outputs == "none"
    assert found.plan.outcome is not None
    harm, healing = found.plan.outcome.harmful_calibration, found.plan.outcome.healing
    assert harm is not None
    again = lhc.partition(model, task, plan=found.plan, draws=3, max_drop=10.0)
    assert again.plan.outcome is not None
    assert again.plan.outcome.harmful_calibration == harm, "a plan that is followed keeps it"
    assert healing is None or healing.calibration is None


def test_the_machine_is_decided_on_once_before_a_training() -> None:
    """Trained with corrections that nobody makes, a network would be trained for another machine."""
    for retrain in (False, True):
        steps = [step.name for step in pipeline(PartitionOptions("digits-narrow", retrain=retrain)).steps]
        assert steps[:2] == ["prepare", "check-calibration"]
        assert steps[2:-2] == (["train"] if retrain else ["search", "test"])
