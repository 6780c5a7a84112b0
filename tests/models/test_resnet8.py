"""ResNet-8 of MLPerf Tiny: structure, conversion of Keras' weights, accuracy."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import lhc
from lhc.errors import ModelError
from lhc.models import resnet8, zoo_entry
from lhc.models.resnet8 import from_keras

pytestmark = pytest.mark.analog


def keras_weights() -> dict[str, np.ndarray]:
    """Random arrays with Keras' names and shapes."""
    rng = np.random.default_rng(0)
    shapes = [(3, 3, 16), (3, 16, 16), (3, 16, 16), (3, 16, 32), (3, 32, 32), (1, 16, 32), (3, 32, 64), (3, 64, 64),
              (1, 32, 64)]  # fmt: skip
    arrays = {"dense.kernel": rng.normal(size=(64, 10)), "dense.bias": rng.normal(size=10)}
    for number, (size, inputs, outputs) in enumerate(shapes):
        name = "conv2d" if number == 0 else f"conv2d_{number}"
        arrays[f"{name}.kernel"] = rng.normal(size=(size, size, inputs, outputs)) / (size * inputs**0.5)
        arrays[f"{name}.bias"] = rng.normal(size=outputs)
    for number, width in enumerate([16, 16, 16, 32, 32, 64, 64]):
        name = "batch_normalization" if number == 0 else f"batch_normalization_{number}"
        for part in ("gamma", "beta", "moving_mean"):
            arrays[f"{name}.{part}"] = rng.normal(size=width)
        arrays[f"{name}.moving_variance"] = rng.uniform(0.5, 2, width)
    return arrays


def conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """Keras' Conv2D, "same", by sums: channels last."""
    size = kernel.shape[0]
    out = -(-x.shape[1] // stride)
    total = max(0, (out - 1) * stride + size - x.shape[1])
    before = total // 2
    padded = np.pad(x, ((0, 0), (before, total - before), (before, total - before), (0, 0)))
    result = np.zeros((len(x), out, out, kernel.shape[3])) + bias
    for i in range(size):
        for j in range(size):
            result += (
                padded[:, i : i + out * stride : stride, j : j + out * stride : stride][:, :out, :out] @ kernel[i, j]
            )
    return np.asarray(result)


def expected(w: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The network of the benchmark's training code, layer by layer."""

    def c(x: np.ndarray, number: int, stride: int = 1) -> np.ndarray:
        name = "conv2d" if number == 0 else f"conv2d_{number}"
        return np.asarray(conv(x, w[f"{name}.kernel"], w[f"{name}.bias"], stride))

    def n(x: np.ndarray, number: int) -> np.ndarray:
        name = "batch_normalization" if number == 0 else f"batch_normalization_{number}"
        scaled = (x - w[f"{name}.moving_mean"]) / np.sqrt(w[f"{name}.moving_variance"] + 1e-3)
        return np.asarray(w[f"{name}.gamma"] * scaled + w[f"{name}.beta"])

    def relu(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(x, 0))

    x = relu(n(c(x, 0), 0))
    x = relu(x + n(c(relu(n(c(x, 1), 1)), 2), 2))
    x = relu(c(x, 5, 2) + n(c(relu(n(c(x, 3, 2), 3)), 4), 4))
    x = relu(c(x, 8, 2) + n(c(relu(n(c(x, 6, 2), 5)), 7), 6))
    return np.asarray(x.mean((1, 2)) @ w["dense.kernel"] + w["dense.bias"])


def test_it_computes_what_keras_does(tmp_path: Path) -> None:
    weights = keras_weights()
    path = tmp_path / "weights.npz"
    np.savez(path, **weights)  # type: ignore[arg-type]
    model = zoo_entry("resnet8").model(path)
    images = np.random.default_rng(1).uniform(0, 255, (3, 3, 32, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(None, {"x": images})[0]
    wanted = expected(weights, images.transpose(0, 2, 3, 1).astype(np.float64))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3 * np.abs(wanted).max())
    graph = lhc.analyze(model).facts
    assert sum(layer.matrix.macs for layer in graph.candidates if layer.matrix) == 12_501_632
    assert len(graph.candidates) == 10


def test_weights_that_are_missing_are_named() -> None:
    weights = keras_weights()
    del weights["conv2d_5.kernel"]
    with pytest.raises(ModelError, match=r"here: .*conv2d_5\.kernel"):
        from_keras(weights, "here")


@pytest.mark.slow
def test_accuracy_on_the_test_images(lhc_data: Path) -> None:
    """87.19 % of all 10,000, as measured in Keras' graph with the same weights."""
    (found,) = lhc.evaluate("resnet8", placement=[], draws=1)
    assert found.baseline == pytest.approx(0.8719, abs=0.0005)


def test_pixels_are_whole_numbers() -> None:
    from lhc.models.cifar10 import normalize

    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert np.array_equal(resnet8.pixels(normalize(images)), images.transpose(0, 3, 1, 2))
