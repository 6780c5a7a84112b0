"""Commands on networks whose samples are not on the first axis of every input and output."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lhc
from lhc.errors import DataError, UsageError
from lhc.onnx_io import load_model, read_plan

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[TAKEN] x) => (float[GIVEN] y) {
  FIRST
  [stem] h = MatMul(b, w)
  [act] r = Relu(h)
  [head] z = MatMul(r, v)
  [last] p = Softmax<axis = -1>(z)
  LAST
}"""
STEPS, FEATURES, CLASSES = 5, 6, 4
X = np.random.default_rng(1).normal(size=(24, STEPS, FEATURES)).astype(np.float32)
LABELS = np.random.default_rng(2).integers(0, CLASSES, (24, STEPS))
SAME, SWAPPED = "{} = Identity({})", "{} = Transpose<perm = [1, 0, 2]>({})"
ADDED = "{} = Unsqueeze({}, first)"
REMOVED = "{} = Squeeze({}, first)"
FOLDED = "{} = Reshape({}, one)"
FIRST = "N, 5, 6", SAME


def network(given: tuple[str, str] = FIRST, answer: tuple[str, str] = ("N, 5, 4", SAME)) -> onnx.ModelProto:
    """Products of (samples, steps, features), behind and before an operator that lays samples out otherwise."""
    text = NET.replace("TAKEN", given[0]).replace("GIVEN", answer[0])
    text = text.replace("FIRST", given[1].format("b", "x")).replace("LAST", answer[1].format("y", "p"))
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name, shape in (("w", (FEATURES, 16)), ("v", (16, CLASSES))):
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "first"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, STEPS, FEATURES]), "one"))
    return model


CASES: dict[str, tuple[Any, Any, dict[str, Any], Any]] = {
    "output by its symbol": (FIRST, ("5, N, 4", SWAPPED), {}, X),
    "output by two calls": (FIRST, ("A, B, C", SWAPPED), {}, X),
    "output by the user": (FIRST, ("A, B, C", SWAPPED), {"sample_axis": 1}, X),
    "output from the end": (FIRST, ("A, B, C", SWAPPED), {"sample_axis": {"y": -2}}, X),
    "output of a fixed batch of 1": (("1, 5, 6", SAME), ("5, 4", REMOVED), {}, X),
    "output behind a fixed batch of 1": (("1, 5, 6", SAME), ("5, 1, 4", SWAPPED), {}, X),
    "input and output": (("5, N, 6", SWAPPED), ("5, N, 4", SWAPPED), {"sample_axis": "x=1"}, X.swapaxes(0, 1)),
    "a call": (("5, 6", ADDED), ("5, 4", REMOVED), {"sample_axis": ["x=call", "call"]}, X),
    "a call by its array": (("5, 6", ADDED), ("5, 4", REMOVED), {}, X),
    "a call, since several fail": (("N, 5, 6", FOLDED), ("1, 5, 4", SAME), {}, X),
    "a call by its input": (("5, 6", ADDED), ("5, 4", REMOVED), {"sample_axis": {"x": "call"}}, X),
}
"""What the network takes and gives, what is said of it, and the samples."""
EVERYDAY = ("output of a fixed batch of 1", "input and output", "a call, since several fail")
"""Cases of the everyday tests that place a network; seconds each."""
PLACING: dict[str, Any] = {"max_drop": 0.9, "draws": 2, "objective": "macs"}


@pytest.mark.analog
@pytest.mark.parametrize("method", ["measure", "fisher"])
@pytest.mark.parametrize(("given", "answer", "said", "x"), CASES.values(), ids=CASES)
def test_damage_is_that_of_the_network_with_samples_first(
    given: tuple[str, str], answer: tuple[str, str], said: Mapping[str, Any], x: np.ndarray, method: str
) -> None:
    options: dict[str, Any] = {"draws": 2, "method": method, "metric": "kl", "copies": "off"}
    found = lhc.sensitivity(network(given, answer), {"x": x, "labels": LABELS}, **said, **options)
    one_a_call = "call" in str(said) or given[0].startswith("1") or given in (("5, 6", ADDED), ("N, 5, 6", FOLDED))
    first = network(("1, 5, 6", SAME), ("1, 5, 4", SAME)) if one_a_call else network()
    wanted = lhc.sensitivity(first, {"x": X, "labels": LABELS}, **options)
    assert {name: one.mean for name, one in found.layers.items()} == pytest.approx(
        {name: one.mean for name, one in wanted.layers.items()}, rel=1e-6
    )


@pytest.mark.parametrize(("given", "answer", "said", "x"), CASES.values(), ids=CASES)
def test_macs_are_those_of_a_sample_wherever_samples_are(
    given: tuple[str, str], answer: tuple[str, str], said: Mapping[str, Any], x: np.ndarray
) -> None:
    axes = {name: axis for name, axis in said.items() if "x" in str(axis)}
    analysis = lhc.analyze(network(given, answer), data={"x": x}, **axes)
    assert {layer.name: layer.macs for layer in analysis.plan.layers} == {
        "stem": STEPS * FEATURES * 16,
        "head": STEPS * 16 * CLASSES,
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[float, float]:
    """Accuracy of the network with samples first when it is placed, and when what was written is run."""
    path = tmp_path_factory.mktemp("plain") / "placed.onnx"
    result = lhc.partition(network(), {"x": X, "labels": LABELS}, **PLACING)
    result.save(path)
    (again,) = lhc.evaluate(path, {"x": X, "labels": LABELS}, draws=1)
    assert result.plan.outcome is not None
    return result.plan.outcome.baseline, again.baseline


@pytest.mark.analog
@pytest.mark.parametrize(
    ("given", "answer", "said", "x"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (name not in EVERYDAY), id=name) for name, case in CASES.items()],
)
def test_a_placement_keeps_the_axes_that_were_named(
    given: tuple[str, str],
    answer: tuple[str, str],
    said: Mapping[str, Any],
    x: np.ndarray,
    tmp_path: Path,
    plain: tuple[float, float],
) -> None:
    data = {"x": x, "labels": LABELS}
    result = lhc.partition(network(given, answer), data, **PLACING, **said)
    outcome, path = result.plan.outcome, tmp_path / "placed.onnx"
    assert outcome is not None
    assert outcome.metric == "accuracy"
    assert outcome.baseline == pytest.approx(plain[0])
    result.save(path)
    (again,) = lhc.evaluate(path, data, draws=1)
    assert again.baseline == pytest.approx(plain[1])
    stored = read_plan(load_model(path))
    assert stored is not None
    assert stored.outcome is not None
    assert bool(stored.outcome.sample_axes) == bool(said)
    outputs = lhc.analog_outputs(path, data)
    assert outputs["y"].shape == (24, STEPS, CLASSES)


@pytest.mark.analog
def test_training_takes_samples_wherever_they_are() -> None:
    x, labels = np.concatenate([X, X + 1, X - 1]), np.concatenate([LABELS] * 3)
    options = PLACING | {"retrain": True, "loss": "cross-entropy", "epochs": 1, "batch_size": 4}
    elsewhere = network(("5, N, 6", SWAPPED), ("5, N, 4", SWAPPED))
    found = lhc.partition(elsewhere, {"x": x.swapaxes(0, 1), "labels": labels}, sample_axis="x=1", **options)
    wanted = lhc.partition(network(), {"x": x, "labels": labels}, **options)
    assert found.plan.outcome is not None
    assert wanted.plan.outcome is not None
    assert found.plan.outcome.drop == pytest.approx(wanted.plan.outcome.drop)


@pytest.mark.slow
@pytest.mark.analog
@pytest.mark.parametrize("case", ["input and output", "a call"])
def test_a_session_counts_and_calibrates_by_the_axes_that_were_named(case: str) -> None:
    """A stream of samples has the same noise however it is cut, and calibration takes samples, not steps."""
    given, answer, said, x = CASES[case]
    result = lhc.partition(network(given, answer), {"x": x, "labels": LABELS}, **PLACING, **said)
    single = case == "a call"
    reference = network(("1, 5, 6", SAME), ("1, 5, 4", SAME)) if single else network()
    first = lhc.partition(reference, {"x": X, "labels": LABELS}, **PLACING)
    found, wanted = lhc.HybridSession(result.model), lhc.HybridSession(first.model)
    found.calibrate({"x": x})
    wanted.calibrate({"x": X})
    if single:
        answers = np.stack([found.run(None, {"x": one})[0] for one in X[:4]])
        expected = np.concatenate([wanted.run(None, {"x": one[None]})[0] for one in X[:4]])
    else:
        expected = wanted.run(None, {"x": X[:4]})[0]
        halves = [found.run(None, {"x": np.swapaxes(X[cut], 0, 1)})[0] for cut in (slice(0, 1), slice(1, 4))]
        answers = np.concatenate(halves, axis=1).swapaxes(0, 1)
    np.testing.assert_allclose(answers, expected, rtol=1e-3, atol=1e-4)


REFUSED = {
    "no such name": ({"sample_axis": "z=1"}, UsageError, "`sample_axis` z=…: .* has no such input or output"),
    "no such axis": ({"sample_axis": 3}, UsageError, "`sample_axis` 3: 'y' has 3 axes"),
    "no axis": ({"sample_axis": "x=first"}, UsageError, "`sample_axis` 'x=first': write an axis"),
    "the wrong axis": ({"sample_axis": 2}, DataError, r"output 'y' has shape \(4, .*say which \(`sample_axis`\)"),
}


@pytest.mark.analog
@pytest.mark.parametrize(("said", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_axes_that_cannot_be_are_refused(said: Mapping[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lhc.sensitivity(network(), {"x": X}, draws=2, metric="nmse", **said)


@pytest.mark.analog
def test_a_call_is_no_sample_of_a_larger_fixed_batch() -> None:
    with pytest.raises(UsageError, match="fixes a batch of 8, so a call is no sample"):
        lhc.sensitivity(network(("8, 5, 6", SAME)), {"x": X}, draws=2, metric="nmse", sample_axis="call")


@pytest.mark.analog
def test_states_have_samples_where_the_symbol_of_the_batch_is() -> None:
    """A state (layers, samples, features) beside an input (samples, features)."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[N, 6] x, float[2, N, 6] state) => (float[N, 4] y) {
      [sum] s = ReduceSum<keepdims = 0>(state, first)
      [add] a = Add(x, s)
      [head] y = MatMul(a, v)
    }"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=(6, 4)).astype(np.float32), "v"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "first"))
    state = rng.normal(size=(2, 24, 6)).astype(np.float32)
    found = lhc.analog_outputs(model, {"x": X[:, 0], "state": state}, digital_precision="as-file")
    wanted = (X[:, 0] + state.sum(axis=0)) @ numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_allclose(found["y"], wanted, rtol=1e-5, atol=1e-5)
