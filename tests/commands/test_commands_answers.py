"""Commands on networks that give classes themselves, as classifiers of scikit-learn and an ArgMax do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lhc
from lhc.errors import DataError
from lhc.onnx_io import load_model, read_plan
from tests.networks import drawn, parsed

NET = """<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]>
net (float[N, 6] x) => (int64[N] label, OTHER) {
  [stem] h = MatMul(x, w)
  [act] r = Relu(h)
  [head] z = MatMul(r, v)
  [soft] p = Softmax<axis = -1>(z)
  [best] label = ArgMax<axis = 1, keepdims = 0>(z)
  [last] LAST
}"""
PLAIN = "float[N, 4] probabilities", "probabilities = Identity(p)"
NONE = "float[N, 4] logits", "logits = Identity(z)"
X = np.random.default_rng(1).normal(size=(96, 6)).astype(np.float32)
OPTIONS: dict[str, Any] = {"draws": 2, "copies": "off"}
SEGMENTING = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 2, 6, 7] x) => (TYPE[N, 6, 7] mask) {
  [stem] h = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w)
  [act] r = Relu(h)
  [head] z = Conv<kernel_shape = [1, 1]>(r, v)
  [best] a = ArgMax<axis = 1, keepdims = 0>(z)
  [last] mask = Cast<to = KIND>(a)
}"""
PICTURES = np.random.default_rng(1).normal(size=(24, 2, 6, 7)).astype(np.float32)


def with_weights(text: str, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    return parsed(text, drawn(shapes))


def classifier(other: tuple[str, str] = PLAIN) -> onnx.ModelProto:
    return with_weights(NET.replace("OTHER", other[0]).replace("LAST", other[1]), w=(6, 16), v=(16, 4))


def zipped(classes: list[int] | None = None) -> onnx.ModelProto:
    """The classifier with a list of maps as its second output."""
    model = classifier()
    node = onnx.helper.make_node(
        "ZipMap", ["p"], ["maps"], "last", domain="ai.onnx.ml", classlabels_int64s=classes or [0, 1, 2, 3]
    )
    model.graph.node[-1].CopyFrom(node)
    maps = onnx.helper.make_map_type_proto(onnx.TensorProto.INT64, onnx.helper.make_tensor_type_proto(1, []))
    model.graph.output[1].CopyFrom(onnx.ValueInfoProto(name="maps", type=onnx.helper.make_sequence_type_proto(maps)))
    return model


def segmenter(kind: int = onnx.TensorProto.INT64) -> onnx.ModelProto:
    name = onnx.TensorProto.DataType.Name(kind).lower()
    return with_weights(SEGMENTING.replace("TYPE", name).replace("KIND", str(kind)), w=(8, 2, 3, 3), v=(4, 8, 1, 1))


def answers(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The digital network's answers, of which every sixth is wrong."""
    (found, *_) = lhc.HybridSession(model).run(None, {"x": x})
    labels = found.astype(np.int64)
    labels[::6] = (labels[::6] + 1) % 4
    return labels


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return answers(classifier(), X)


@pytest.mark.analog
@pytest.mark.parametrize("shape", [(96,), (96, 1)], ids=["labels", "labels of one column"])
@pytest.mark.parametrize("made", [classifier, zipped], ids=["tensor", "maps"])
@pytest.mark.parametrize("method", ["measure", "fisher"])
def test_probabilities_beside_answers_are_taken_and_told(
    made: Callable[[], onnx.ModelProto],
    shape: tuple[int, ...],
    method: Literal["measure", "fisher"],
    labels: np.ndarray,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = made()
    name = model.graph.output[1].name
    found = lhc.sensitivity(model, {"x": X, "labels": labels.reshape(shape)}, method=method, **OPTIONS)
    assert f"judged by output '{name}', whose probabilities the answers of the first output 'label'" in caplog.text
    wanted = lhc.sensitivity(
        classifier(), {"x": X, "labels": labels}, output="probabilities", method=method, metric="kl", **OPTIONS
    )
    assert found.metric == "kl"
    assert {n: one.mean for n, one in found.layers.items()} == pytest.approx(
        {n: one.mean for n, one in wanted.layers.items()}
    )


@pytest.mark.analog
@pytest.mark.parametrize("made", [classifier, zipped], ids=["tensor", "maps"])
def test_a_placement_keeps_the_output_that_judged_it(
    made: Callable[[], onnx.ModelProto], labels: np.ndarray, tmp_path: Path
) -> None:
    model, path = made(), tmp_path / "placed.onnx"
    data = {"x": X, "labels": labels[:, None]}
    result = lhc.partition(model, data, max_drop=0.9, draws=2, objective="macs")
    result.save(path)
    stored = read_plan(load_model(path))
    assert stored is not None
    assert stored.outcome is not None
    assert (stored.outcome.output, stored.outcome.metric) == (model.graph.output[1].name, "accuracy")
    assert stored.outcome.baseline == pytest.approx(5 / 6, abs=0.02)
    (again,) = lhc.evaluate(path, data, draws=1)
    assert again.baseline == pytest.approx(5 / 6, abs=0.02)
    outputs = lhc.analog_outputs(path, data)
    assert outputs[model.graph.output[1].name].shape == (96, 4)


@pytest.mark.analog
def test_answers_are_scored_where_probabilities_do_not_give_them(labels: np.ndarray) -> None:
    """Logits beside them, or probabilities of classes that are not counted from 0."""
    data = {"x": X, "labels": labels}
    (found,) = lhc.evaluate(classifier(NONE), data, draws=1, all_analog=True)
    assert found.baseline == pytest.approx(5 / 6, abs=0.02)
    table = lhc.sensitivity(classifier(NONE), data, **OPTIONS)
    assert table.metric == "agreement"
    counted = zipped([1, 2, 3, 4])
    one = onnx.helper.make_node("Add", ["best", "one"], ["label"], "count")
    counted.graph.node[4].output[0] = "best"
    counted.graph.node.insert(5, one)
    counted.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.int64), "one"))
    (found,) = lhc.evaluate(counted, {"x": X, "labels": labels + 1}, draws=1, all_analog=True)
    assert found.baseline == pytest.approx(5 / 6, abs=0.02)


@pytest.mark.analog
@pytest.mark.parametrize("kind", [onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.UINT8])
@pytest.mark.parametrize("metric", [None, "miou", "agreement"])
def test_masks_are_answers(kind: int, metric: str | None) -> None:
    """Scored as the scores of classes that they are taken from."""
    masks = answers(segmenter(), PICTURES)
    masks[:, 0] = -100
    data = {"x": PICTURES, "labels": masks}
    scores = segmenter()
    del scores.graph.node[-2:]
    scores.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("z", 1, ["N", 4, 6, 7]))
    (found,) = lhc.evaluate(segmenter(kind), data, metric=metric, draws=2, all_analog=True)
    (wanted,) = lhc.evaluate(scores, data, metric=metric, draws=2, all_analog=True)
    assert found.metric == (metric or "accuracy")
    assert (found.baseline, found.mean) == pytest.approx((wanted.baseline, wanted.mean))
    assert 0 < found.drop < 1


@pytest.mark.analog
def test_what_answers_cannot_be_scored_by_is_refused() -> None:
    masks = answers(segmenter(), PICTURES)
    with pytest.raises(DataError, match="top5"):
        lhc.evaluate(segmenter(), {"x": PICTURES, "labels": masks}, metric="top5", draws=1, all_analog=True)
    masks[0, 0, :2] = 0, 300
    with pytest.raises(DataError, match="it counts classes 0 to 255; these are 0 to 300"):
        lhc.evaluate(segmenter(), {"x": PICTURES, "labels": masks}, metric="miou", draws=1, all_analog=True)
