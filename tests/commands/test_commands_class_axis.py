"""Commands on a network that gives every pixel a class."""

from collections.abc import Callable
from dataclasses import replace
from inspect import getsource
from pathlib import Path

import numpy as np
import onnx
import pytest

import lhc
from lhc.errors import DataError, UsageError
from lhc.onnx_io import load_model, read_plan
from lhc.samples.metrics import METRICS
from tests.networks import drawn, parsed

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 2, 6, 7] x) => (float[N, C, H, W] y) {
  [stem] h = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w)
  [act] r = Relu(h)
  [head] z = Conv<kernel_shape = [1, 1]>(r, v)
  [last] y = LAST(z)
}"""
X = np.random.default_rng(1).normal(size=(24, 2, 6, 7)).astype(np.float32)


def network(last: str = "Identity") -> onnx.ModelProto:
    return parsed(NET.replace("LAST", last), drawn({"w": (8, 2, 3, 3), "v": (4, 8, 1, 1)}))


def digital() -> np.ndarray:
    (output,) = lhc.HybridSession(network()).run(None, {"x": X})
    return output


@pytest.fixture(scope="module")
def labelled() -> dict[str, np.ndarray]:
    labels = digital().argmax(axis=1)
    labels[:, 0] = (labels[:, 0] + 1) % 4  # wrong in one row of six
    return {"x": X, "labels": labels}


@pytest.mark.analog
def test_labels_show_the_axis_and_the_plan_keeps_it(
    labelled: dict[str, np.ndarray], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = lhc.partition(network(), labelled, objective="macs", draws=2, max_drop=0.99)
    assert "classes are read from axis 1 of 'y', (8, 4, 6, 7)" in caplog.text
    outcome = result.plan.outcome
    assert outcome is not None
    assert (outcome.metric, outcome.class_axis) == ("accuracy", 1)
    assert outcome.baseline == pytest.approx(5 / 6)
    assert {layer.sensitivity.metric for layer in result.plan.layers if layer.sensitivity} == {"kl"}
    result.save(tmp_path / "placed.onnx")
    stored = read_plan(load_model(tmp_path / "placed.onnx"))
    assert stored is not None
    assert stored.outcome is not None
    assert stored.outcome.class_axis == 1
    # Judged as it was placed, though these samples show no axis.
    (again,) = lhc.evaluate(tmp_path / "placed.onnx", {"x": X}, metric="agreement", draws=2)
    assert again.metric == "agreement"


@pytest.mark.analog
def test_kl_is_that_of_the_same_network_with_classes_last() -> None:
    last = network()
    last.graph.node[-1].CopyFrom(onnx.helper.make_node("Transpose", ["z"], ["y"], "last", perm=[0, 2, 3, 1]))
    for method in ("measure", "fisher"):
        first = lhc.sensitivity(network(), {"x": X}, metric="kl", draws=2, class_axis=1, method=method)
        other = lhc.sensitivity(last, {"x": X}, metric="kl", draws=2, class_axis=-1, method=method)
        assert [f.mean for f in first.layers.values()] == pytest.approx([o.mean for o in other.layers.values()])


@pytest.mark.analog
def test_probabilities_show_the_axis() -> None:
    shares = network("Softmax<axis = 1>")
    assert lhc.sensitivity(shares, {"x": X}, draws=2).metric == "kl"


@pytest.mark.analog
def test_what_nothing_shows_is_asked_about() -> None:
    with pytest.raises(UsageError, match=r"kl: output 'y' has shape .* say `class_axis` 1"):
        lhc.sensitivity(network(), {"x": X}, metric="kl", draws=2)
    with pytest.raises(UsageError, match="`class_axis` 7"):
        lhc.sensitivity(network(), {"x": X}, metric="kl", draws=2, class_axis=7)
    assert lhc.sensitivity(network(), {"x": X}, draws=2).metric == "nmse"


def right(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Share of pixels, with classes on axis 1."""
    shares: np.ndarray = (outputs.argmax(axis=1) == targets).mean(axis=(1, 2))
    return shares


@pytest.mark.analog
def test_a_function_of_the_users_gets_outputs_as_they_are_and_layers_are_ranked_by_kl(
    labelled: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "own_pixels.py").write_text(f"import numpy as np\n\n\n{getsource(right)}")
    monkeypatch.chdir(tmp_path)
    for class_axis, labels in ((None, labelled["labels"]), (1, labelled["labels"] * 9)):  # labels that show nothing
        result = lhc.partition(
            network(), labelled | {"labels": labels}, metric="own_pixels:right", higher_is_better=True,
            objective="macs", draws=2, max_drop=0.99, class_axis=class_axis,
        )  # fmt: skip
        assert {layer.sensitivity.metric for layer in result.plan.layers if layer.sensitivity} == {"kl"}
        assert result.plan.outcome is not None
        assert result.plan.outcome.class_axis == 1
        assert ("own_pixels:right is given outputs as they are" in caplog.text) == (class_axis is None)
        caplog.clear()


@pytest.mark.analog
def test_a_metric_of_classes_gets_them_last_and_is_tried_before_anything_is_measured(
    labelled: dict[str, np.ndarray],
) -> None:
    done: list[str] = []

    def evaluate(score: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
        metric = lhc.Metric("right", higher_is_better=True, needs_targets=True, score=score, classes=True)
        task = lhc.Task({"x": labelled["x"]}, labelled["labels"], metric)
        (found,) = lhc.evaluate(network(), task, draws=2, progress=lambda what, *_: done.append(what))
        return found.baseline

    with pytest.raises(DataError, match=r"metric 'right' fails on outputs of shape \(8, 6, 7, 4\) against \(8, 6, 7\)"):
        evaluate(right)
    assert not done
    assert evaluate(lambda outputs, targets: right(np.moveaxis(outputs, -1, 1), targets)) == pytest.approx(5 / 6)


@pytest.mark.analog
def test_an_axis_that_a_task_names_shows_classes() -> None:
    task = lhc.Task({"x": X}, None, replace(METRICS["agreement"], chosen=False), class_axis=1)
    assert lhc.sensitivity(network(), task, draws=2).metric == "kl"
    assert lhc.sensitivity(network(), {"x": X}, draws=2, class_axis=1).metric == "kl"


@pytest.mark.analog
@pytest.mark.parametrize(
    "metric",
    [METRICS["accuracy"], METRICS["miou"], lhc.Metric("own", True, True, right)],
    ids=lambda metric: metric.name,
)
def test_labels_of_pixels_that_do_not_belong_to_the_answers_are_asked_about(
    metric: lhc.Metric, labelled: dict[str, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    for labels in (labelled["labels"], np.zeros_like(labelled["labels"])):
        assert "the digital network is right on" not in caplog.text
        lhc.evaluate(network(), lhc.Task({"x": X}, labels, metric), draws=2)
    assert "of the labels, no better than chance for 4 classes" in caplog.text


@pytest.mark.slow
@pytest.mark.analog
def test_miou_judges_and_training_reads_the_axis(labelled: dict[str, np.ndarray]) -> None:
    for loss in ("distillation", "cross-entropy"):
        result = lhc.partition(
            network(), labelled, train_data={n: a[:8] + (n == "x") for n, a in labelled.items()}, metric="miou",
            objective="macs", draws=2, max_drop=0.0, retrain=True, steps=4, batch_size=4, loss=loss,
        )  # fmt: skip
        assert result.plan.outcome is not None
        assert result.plan.outcome.class_axis == 1


def spans(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Share of rows, of both ends, whose likeliest place is the record's."""
    found: np.ndarray = (outputs.argmax(-1) == targets["places"]).mean(-1)
    return found


@pytest.mark.analog
def test_targets_that_are_records_are_read_by_their_metric_alone() -> None:
    two = parsed(
        '<ir_version: 8, opset_import: ["" : 17]> net (float[N, 2, 6] x) => (float[N, 2, 9] y) { y = MatMul(x, w) }',
        drawn({"w": (6, 9)}),
    )
    x = X[:, :, 0, :6].copy()
    records = np.zeros(len(x), [("places", np.int64, 2)])
    records["places"] = lhc.HybridSession(two).run(None, {"x": x})[0].argmax(-1)
    task = lhc.Task({"x": x}, records, lhc.Metric("spans", True, True, spans, percent=True, classes=True))

    (found,) = lhc.run(two, task, all_analog=True, draws=2)

    assert found.baseline == 1.0
    assert lhc.sensitivity(two, task, draws=2).metric == "kl"
