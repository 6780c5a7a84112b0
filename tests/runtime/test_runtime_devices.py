"""The same weights at the same place get the same devices, whatever things are called and however they are stored."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import lhc
from lhc.runtime import HybridSession
from tests.runtime.models_on_tiles import LIONHEART, Array, model_of, normal

pytestmark = pytest.mark.analog

RNG = np.random.default_rng(20250818)
X = normal(RNG, (6, 3, 5, 5))
KERNEL, BIAS = normal(RNG, (8, 3, 3, 3)), normal(RNG, (8,))
FIRST, SECOND, OFFSET = normal(RNG, (8, 16)), normal(RNG, (16, 5)), normal(RNG, (16,))


def network(prefix: str, kernel: Array = KERNEL, transposed: bool = False) -> onnx.ModelProto:
    """A Conv, a pool and two fully connected layers, as two exporters might write them."""

    def named(name: str) -> str:
        return f"{prefix}{name}"

    def full(name: str, x: str, y: str, offset: bool) -> list[onnx.NodeProto]:
        if transposed:
            inputs = [x, named(name), *([named("offset")] if offset else [])]
            return [helper.make_node("Gemm", inputs, [y], named(f"{name} product"), transB=1)]
        product = helper.make_node(
            "MatMul", [x, named(name)], [named(f"{name}.xw") if offset else y], named(f"/{name}")
        )
        return [product, *([helper.make_node("Add", [named(f"{name}.xw"), named("offset")], [y])] if offset else [])]

    nodes = [
        helper.make_node("Conv", ["x", named("k"), named("b")], [named("c")], named("conv"), pads=[1, 1, 1, 1]),
        helper.make_node("Relu", [named("c")], [named("r")]),
        helper.make_node("GlobalMaxPool", [named("r")], [named("p")]),
        helper.make_node("Flatten", [named("p")], [named("f")]),
        *full("first", named("f"), named("h"), offset=True),
        helper.make_node("Relu", [named("h")], [named("g")]),
        *full("second", named("g"), "y", offset=False),
    ]
    constants = {"k": kernel, "b": BIAS, "first": FIRST, "second": SECOND, "offset": OFFSET}
    if transposed:
        constants |= {"first": FIRST.T.copy(), "second": SECOND.T.copy()}
    return model_of(nodes, {"x": X}, {"y": 2}, {named(name): value for name, value in constants.items()})


def on_chip(model: onnx.ModelProto, engine: str = "fast") -> Array:
    session = HybridSession(model, LIONHEART, "all-analog", seed=3, engine=engine)  # type: ignore[arg-type]
    return session.run(None, {"x": X})[0]


def without_noise(model: onnx.ModelProto) -> Array:
    return HybridSession(model, LIONHEART, []).run(None, {"x": X})[0]


@pytest.mark.parametrize("engine", ["fast", "aihwkit"])
def test_names_and_orientation_of_storage_do_not_matter(engine: str) -> None:
    expected = on_chip(network(""), engine)
    assert np.abs(expected - without_noise(network(""))).max() > 0.01
    np.testing.assert_array_equal(on_chip(network("other."), engine), expected)
    # The sum of product and offset is one operator here and two there; both round once.
    np.testing.assert_array_equal(on_chip(network("other.", transposed=True), engine), expected)


def test_last_bits_do_not_matter() -> None:
    """What a normalisation was folded into, in another order of operations."""
    scale = np.abs(normal(RNG, (8, 1, 1, 1))) + np.float32(0.5)
    # As two exporters compute it: the factor first, or the weights first.
    deviation = np.sqrt(np.float32(0.7) + np.float32(1e-5))
    one, other = KERNEL * (scale / deviation), KERNEL * scale / deviation
    assert (one != other).any()
    first, second = on_chip(network("", one)), on_chip(network("", other))
    effect = np.abs(first - without_noise(network("", one))).max()
    # A value on a rounding edge of a converter may fall to the other side: one of some hundred steps.
    assert np.abs(first - second).max() < 0.02 * effect


def test_order_in_the_file_does_not_matter() -> None:
    left, right = normal(RNG, (7, 6)), normal(RNG, (7, 6))
    x = normal(RNG, (4, 7))
    nodes = [helper.make_node("MatMul", ["x", "l"], ["a"]), helper.make_node("MatMul", ["x", "r"], ["b"])]
    a, b = (
        HybridSession(
            model_of(order, {"x": x}, {"a": 2, "b": 2}, {"l": left, "r": right}), LIONHEART, "all-analog"
        ).run(None, {"x": x})
        for order in (nodes, nodes[::-1])
    )
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])


def test_sensitivities_do_not_depend_on_names() -> None:
    tables = [
        lhc.sensitivity(model, data={"x": np.repeat(X, 4, axis=0)}, draws=3, metric="agreement")
        for model in (network(""), network("other.", transposed=True))
    ]
    means = [[table.layers[name].mean for name in ("conv", "/first", "/second")] for table in tables[:1]]
    named = [f"other.{name}" for name in ("conv", "first product", "second product")]
    means.append([tables[1].layers[name].mean for name in named])
    # Biases are added in float32 by onnxruntime here and by lhc there.
    np.testing.assert_allclose(means[1], means[0], rtol=1e-5)


@pytest.mark.slow
def test_both_exporters_of_torch_give_the_same_devices(tmp_path: Path) -> None:
    """A batch normalisation is folded into the weights by each in its own way."""
    pytest.importorskip("onnxscript")
    import torch
    from torch import nn

    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    for _ in range(5):
        module(2 * torch.randn(8, 3, 5, 5) + 1)
    module.eval()
    example = torch.from_numpy(X)
    outputs = []
    for dynamo in (False, True):
        path = tmp_path / f"{dynamo}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (example,), str(path), dynamo=dynamo, input_names=["x"], external_data=False)
        outputs.append(on_chip(onnx.load(path)))
    effect = np.abs(outputs[0] - module(example).detach().numpy()).max()
    assert np.abs(outputs[0] - outputs[1]).max() < 0.02 * effect


def test_layers_that_are_alike_have_devices_of_their_own() -> None:
    """Multiples and near copies of a matrix; their errors differ."""
    near = np.nextafter(FIRST, np.float32(np.inf))
    weights = {"w": FIRST, "near": near, "twice": 2 * FIRST}
    x = normal(RNG, (4, 8))
    nodes = [helper.make_node("MatMul", ["x", name], [f"{name}.y"]) for name in weights]
    model = model_of(nodes, {"x": x}, {f"{name}.y": 2 for name in weights}, weights)
    outputs = HybridSession(model, LIONHEART, "all-analog").run(None, {"x": x})
    a, b, c = (y - x @ w for y, w in zip(outputs, weights.values(), strict=True))
    assert np.abs(a - b).max() > 0.01
    assert np.abs(2 * a - c).max() > 0.01
