from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from lhc.errors import UsageError
from lhc.models import zoo_entry
from lhc.models.digits import Digits


@pytest.fixture(scope="module", params=["digits", "digits-narrow"])
def model(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return zoo_entry(request.param).model()


def _logits(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"x": x})[0])


def test_the_model_is_small_valid_and_has_a_dynamic_batch(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    (image,), (logits,) = model.graph.input, model.graph.output

    assert len(model.SerializeToString()) < 5_000_000
    assert model.opset_import[0].version <= 21
    assert (image.name, logits.name) == ("x", "logits")
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == ["batch", 1, 8, 8]
    assert [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim] == ["batch", 10]


def test_there_are_enough_candidates_each_named_after_its_module(model: onnx.ModelProto) -> None:
    candidates = [node for node in model.graph.node if node.op_type in {"Conv", "Gemm", "MatMul"}]
    names = [node.name for node in model.graph.node]

    assert len(candidates) >= 8
    assert len(set(names)) == len(names)
    assert all(f"{node.name}.weight" == node.input[1] for node in candidates)
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)


def test_nothing_in_the_file_tells_of_the_machine_that_made_it(model: onnx.ModelProto) -> None:
    text = model.SerializeToString()

    assert not any(part.metadata_props or part.doc_string for part in (model, model.graph, *model.graph.node))
    for trace in (b".py", b"/home", b"/root", b"/tmp", b"stack_trace", b"site-packages"):
        assert trace not in text


def test_the_samples_are_greyscale_in_0_to_1_with_every_class_in_its_share() -> None:
    task = zoo_entry("digits").task()
    assert task.targets is not None
    x = task.inputs["x"]

    assert x.shape == (797, 1, 8, 8)
    assert x.dtype == np.float32
    assert set(np.unique(np.asarray(x, np.float64) * 16)) == set(range(17))
    assert task.targets.dtype == np.int64
    counts = np.bincount(np.asarray(task.targets, np.int64), minlength=10)
    assert counts.min() >= 76
    assert counts.max() <= 82


def test_digital_accuracy_on_the_held_out_samples(model: onnx.ModelProto) -> None:
    task = zoo_entry("digits").task()
    assert task.targets is not None

    scores = task.metric.score(_logits(model, np.asarray(task.inputs["x"])), task.targets)

    assert task.metric.name == "accuracy"
    assert np.mean(scores) >= 0.95


def test_an_answer_does_not_depend_on_the_batch(model: onnx.ModelProto) -> None:
    x = np.asarray(zoo_entry("digits").task().inputs["x"])[:7]

    one_by_one = np.concatenate([_logits(model, image[np.newaxis]) for image in x])

    np.testing.assert_allclose(_logits(model, x), one_by_one, atol=1e-5)


def test_every_call_gives_a_model_of_its_own() -> None:
    first = Digits().model()
    first.graph.node[0].name = "changed"

    assert Digits().model().graph.node[0].name != "changed"


def test_other_weights_are_refused() -> None:
    with pytest.raises(UsageError, match="--weights"):
        Digits().model(Path("other.npz"))
