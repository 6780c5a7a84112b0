"""The training form of products: the operator itself without noise, the stated noise with it, and its gradients."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import onnx
import pytest
import torch

from lhc.hardware import Hardware
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.hardware.tile_geometry import split_sizes
from lhc.onnx_io import load_model
from lhc.onnx_io.operators.matrix_product import Product
from lhc.runtime.onnxruntime.sessions import observe_tensors
from lhc.train.chip_noise import DrawnMatrix, column_scales, draw_matrix
from lhc.train.noisy_network import NoisyNetwork, ranges_in
from tests.train.conftest import Build
from tests.train.product_cases import CASES, network

pytestmark = pytest.mark.analog


def without_devices(**adc: float | str | None) -> Hardware:
    base = Hardware.load("lionheart").model_copy(update={"devices": None, "compensation": Compensation(drift="none")})
    dac = base.dac.model_copy(update={"bits": None})
    return base.model_copy(update={"adc": base.adc.model_copy(update=adc), "dac": dac})


@pytest.mark.parametrize("case", CASES)
def test_without_noise_it_is_the_operator(build: Build, case: str) -> None:
    noisy, feeds = network(build, case, without_devices(bits=None, noise=0.0))
    noisy.draw(1.0)
    expected = observe_tensors(noisy.module.model, ["y"], feeds)["y"]
    np.testing.assert_allclose(noisy(feeds, "y").detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "sensing"), [*((case, "current") for case in CASES), ("grouped conv", "voltage"), ("gemm", "voltage")]
)
def test_output_noise_is_as_large_as_a_tile_makes_it(build: Build, case: str, sensing: str) -> None:
    """Per output and vector: noise times the vector's greatest input times the column's greatest weight.

    Where voltages are sensed, times the sum of its weights instead.

    1,500 draws of at least 15 values: their mean deviation is known to 0.5 %, that of one to 1.8 %.
    """
    sigma = 0.06
    noisy, feeds = network(build, case, without_devices(bits=None, noise=sigma, sensing=sensing))
    name = next(iter(noisy.analog))
    noisy.draw(1.0)
    torch.manual_seed(0)
    clean = noisy.module(feeds, ["y"])["y"]
    with torch.no_grad():
        seen = torch.stack([noisy(feeds, "y") - clean for _ in range(1500)])
    expected = sigma * _spread(noisy, name, feeds["x"], np.sum if sensing == "voltage" else np.max)
    ratio = seen.std(0) / torch.tensor(expected, dtype=torch.float32)
    assert abs(float(seen.mean(0).abs().max())) < 0.1 * float(expected.max())
    assert 0.9 < float(ratio.min()) <= float(ratio.max()) < 1.1
    assert abs(float(ratio.mean()) - 1) < 0.015


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "kind"), [*((case, "current") for case in CASES), ("grouped conv", "constant"), ("gemm", "constant")]
)
def test_read_noise_grows_with_weights_and_squares_of_inputs(
    build: Build, case: str, kind: Literal["current", "constant"]
) -> None:
    """Its variance is the operator itself, of squares, with |w| times its column's greatest; as for output noise.

    Constant noise: with the square of the column's greatest.
    """
    sigma = 0.06
    currents = Currents(read_noise=sigma, read_noise_kind=kind)
    hardware = without_devices(bits=None, noise=0.0).model_copy(update={"currents": currents})
    noisy, feeds = network(build, case, hardware)
    noisy.draw(1.0)
    torch.manual_seed(0)
    clean = noisy.module(feeds, ["y"])["y"]
    with torch.no_grad():
        seen = torch.stack([noisy(feeds, "y") - clean for _ in range(1500)])
    layer = noisy.analog[next(iter(noisy.analog))].layer
    proto = onnx.ModelProto.FromString(noisy.module.model.proto.SerializeToString())
    node = next(n for n in proto.graph.node if n.name == layer.name)
    assert layer.weight is not None
    weights = noisy.weights()[layer.weight.name]
    form = Product.of_layer(node, layer)
    matrix = np.abs(form.matrix(weights))
    greatest = matrix.max(1, keepdims=True)
    by_weight = greatest * (matrix if kind == "current" else greatest + 0 * matrix)
    worth = form.stored(torch.from_numpy(by_weight), weights.shape).numpy()
    for tensor in proto.graph.initializer:
        values = worth if tensor.name == layer.weight.name else np.zeros(tuple(tensor.dims), np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values, np.float32), tensor.name))
    power = observe_tensors(load_model(proto), ["y"], {"x": feeds["x"] ** 2})["y"] * form.alpha
    ratio = seen.std(0) / torch.tensor(sigma * np.sqrt(power), dtype=torch.float32)
    assert 0.9 < float(ratio.min()) <= float(ratio.max()) < 1.1
    assert abs(float(ratio.mean()) - 1) < 0.015


def _spread(noisy: NoisyNetwork, name: str, x: np.ndarray, of_column: Callable[..., np.ndarray] = np.max) -> np.ndarray:
    """Greatest input of every vector times greatest weight (or the sum) of every column, in the output's shape."""
    layer = noisy.analog[name].layer
    node = next(n for n in noisy.module.model.proto.graph.node if n.name == name)
    assert layer.weight is not None
    values = noisy.weights()[layer.weight.name]
    columns = of_column(np.abs(Product.of_layer(node, layer).matrix(values)), 1)
    if node.op_type == "Conv":
        return np.asarray(
            _greatest_of_windows(node, values.shape, np.abs(x)) * columns.reshape(-1, *[1] * (x.ndim - 2))
        )
    rows = np.abs(x).max(-2 if name.startswith("MatMul") and layer.weight.operand == 0 else -1)
    if layer.weight.operand == 0:
        return np.asarray(columns[:, None] * (rows[:, None] if rows.ndim == 2 else rows[None]))
    factor = 2.0 if node.op_type == "Gemm" else 1.0
    return np.asarray(factor * rows * columns[0] if values.ndim == 1 else factor * rows[..., None] * columns)


def _greatest_of_windows(node: onnx.NodeProto, weight: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    """Greatest value under every window of a convolution, one window after the other: ``(samples, outputs, ...)``."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    axes = len(weight) - 2
    pads, steps = given.get("pads", [0] * 2 * axes), given.get("strides", [1] * axes)
    gaps = given.get("dilations", [1] * axes)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:axes], pads[axes:], strict=True)])
    spans = [(size - 1) * gap + 1 for size, gap in zip(weight[2:], gaps, strict=True)]
    sizes = [(size - span) // step + 1 for size, span, step in zip(padded.shape[2:], spans, steps, strict=True)]
    per_group = weight[0] // given.get("group", 1)
    result = np.zeros((len(x), weight[0], *sizes))
    for sample, output, *place in np.ndindex(*result.shape):
        first = output // per_group * weight[1]
        starts = [index * step for index, step in zip(place, steps, strict=True)]
        window = [slice(at, at + span, gap) for at, span, gap in zip(starts, spans, gaps, strict=True)]
        result[(sample, output, *place)] = padded[(sample, slice(first, first + weight[1]), *window)].max()
    return result


def test_noise_of_row_splits_adds_up_and_the_rounding_of_the_adc_counts(build: Build) -> None:
    base = without_devices(bits=6, noise=0.06)
    hardware = base.model_copy(update={"tiles": base.tiles.model_copy(update={"rows": 4})})
    noisy, feeds = network(build, "matmul", hardware)
    noisy.draw(1.0)
    weights = torch.tensor(noisy.weights()["w"]).T
    scales = torch.stack([weights[:, :3].abs().amax(1), weights[:, 3:].abs().amax(1)], 1)
    assert torch.equal(column_scales(weights, hardware), scales)
    assert split_sizes(6, 4) == [3, 3]
    torch.manual_seed(0)
    clean = noisy.module(feeds, ["y"])["y"]
    with torch.no_grad():
        seen = torch.stack([noisy(feeds, "y") - clean for _ in range(1500)]).std(0)
    step = 2 * 12 / (2**6 - 2)
    greatest = torch.tensor(np.abs(feeds["x"]).max(-1, keepdims=True))
    expected = math.sqrt(0.06**2 + step**2 / 12) * greatest * torch.linalg.vector_norm(scales, dim=1)
    assert abs(float((seen / expected).mean()) - 1) < 0.015


@pytest.mark.parametrize("case", ["conv", "gemm", "weight on the left"])
def test_gradients_reach_the_weights_straight_through_and_the_scales(build: Build, case: str) -> None:
    """With W + s e the derivative is that of the operator at the realised weight, plus e at the greatest weight."""
    noisy, feeds = network(build, case, without_devices(bits=None, noise=0.0))
    noisy.draw(1.0)
    (name,) = noisy.analog
    product = noisy.analog[name]
    assert isinstance(product.drawn, DrawnMatrix)
    errors = torch.randn_like(product.drawn.errors) * 0.1
    product.drawn = DrawnMatrix(errors, errors, product.drawn.gains)
    parameter = dict(noisy.module.named_parameters())["w"]
    noisy(feeds, "y").square().sum().backward()  # type: ignore[no-untyped-call]
    assert parameter.grad is not None
    found, before = parameter.grad.clone(), parameter.detach().clone()
    matrix = product.form.matrix(before)
    realised = matrix + matrix.abs().amax(1, keepdim=True) * errors
    with torch.no_grad():
        parameter.copy_(realised.reshape(before.shape))
    parameter.grad = None
    noisy.module(feeds, ["y"])["y"].square().sum().backward()
    straight = product.form.matrix(torch.as_tensor(parameter.grad))
    signs = matrix.sign() * (matrix.abs() == matrix.abs().amax(1, keepdim=True))
    expected = straight + signs * (straight * errors).sum(1, keepdim=True)
    torch.testing.assert_close(product.form.matrix(found), expected, rtol=1e-4, atol=1e-4)


def _corrected(build: Build, case: str, errors: Callable[[torch.Tensor], torch.Tensor], kind: str) -> torch.Tensor:
    """How far the corrected output is from the digital one, relative to its greatest; every first input is 1."""
    hardware = without_devices(bits=None, noise=0.0)
    changed = hardware.compensation.model_copy(update={"outputs": kind})
    noisy, feeds = network(build, case, hardware.model_copy(update={"compensation": changed}))
    noisy.draw(1.0)
    (product,) = noisy.analog.values()
    x = feeds["x"] / np.abs(feeds["x"]).max()
    x[(slice(None),) * (1 if "left" in case or "conv" in case else x.ndim - 1) + (0,)] = 1
    matrix = product.form.matrix(torch.tensor(noisy.weights()["w"]))
    moved = errors(matrix / column_scales(matrix, hardware))
    product.drawn = DrawnMatrix(moved, moved, torch.ones(len(matrix), 1))
    product._corrects = kind  # type: ignore[assignment]  # without devices there is nothing to correct
    with torch.no_grad():
        found, expected = noisy({"x": x}, "y"), noisy.module({"x": x}, ["y"])["y"]
    difference: torch.Tensor = (found - expected).abs().max() / expected.abs().max()
    return difference


@pytest.mark.parametrize("case", CASES)
def test_corrections_undo_errors_of_gain(build: Build, case: str) -> None:
    """Whatever the bias; without gains among the corrections they stay."""
    assert _corrected(build, case, lambda weights: 0.1 * weights, "affine") < 1e-5
    assert _corrected(build, case, lambda weights: 0.1 * weights, "offset") > 0.01


@pytest.mark.parametrize("case", ["conv of one axis", "matmul", "gemm", "weight on the left", "vector"])
def test_corrections_undo_what_is_the_same_for_all_vectors(build: Build, case: str) -> None:
    """An error at an input that is always 1 (of a convolution without pads: at the channel)."""

    def at_first(weights: torch.Tensor) -> torch.Tensor:
        moved = torch.zeros_like(weights)
        moved[:, : 3 if case == "conv of one axis" else 1] = 0.3
        return moved

    assert _corrected(build, case, at_first, "offset") < 1e-5
    assert _corrected(build, case, at_first, "affine") < 1e-5


def test_input_scales_are_held_constant(build: Build) -> None:
    """What an input's gradient is without noise it is with noise, though the noise grows with the greatest input."""
    noisy, feeds = network(build, "conv", without_devices(bits=None, noise=0.5))
    noisy.draw(1.0)
    x = [torch.tensor(feeds["x"], requires_grad=True) for _ in range(2)]
    noisy.module({"x": x[0]}, ["y"], noisy.analog)["y"].sum().backward()
    noisy.module({"x": x[1]}, ["y"])["y"].sum().backward()
    assert x[0].grad is not None
    torch.testing.assert_close(x[0].grad, x[1].grad)


@pytest.mark.slow
@pytest.mark.parametrize(("code", "least"), [("sign-magnitude", -0.5), ("unsigned", 0.0)])
def test_static_ranges_clip_inputs_and_scale_the_noise(build: Build, code: str, least: float) -> None:
    base = without_devices(bits=None, noise=0.05)
    hardware = base.model_copy(update={"dac": base.dac.model_copy(update={"scaling": "static", "code": code})})
    noisy, feeds = network(build, "matmul", hardware)
    (name,) = noisy.analog
    noisy = NoisyNetwork(
        noisy.module.model, noisy.module.graph, noisy._trained, hardware, 0.0, ranges={name: (0.4, 0.5)}
    )
    noisy.place([name])
    noisy.draw(1.0)
    torch.manual_seed(0)
    with torch.no_grad():
        seen = torch.stack([noisy(feeds, "y") for _ in range(1500)])
    weights = noisy.weights()["w"]
    np.testing.assert_allclose(seen.mean(0).numpy(), feeds["x"].clip(least, 0.5) @ weights, atol=0.02)
    expected = 0.05 * 0.5 * np.abs(weights).max(0)
    assert abs(float((seen.std(0).numpy() / expected).mean()) - 1) < 0.015


def test_the_rounding_of_the_dac_counts_as_noise(build: Build) -> None:
    """Against real rounding of 2,000 dense vectors by 5 bits: their errors' deviation is known to 1.6 %."""
    base = without_devices(bits=None, noise=0.0)
    hardware = base.model_copy(update={"dac": base.dac.model_copy(update={"bits": 5})})
    noisy, _ = network(build, "matmul", hardware)
    noisy.draw(1.0)
    x = np.random.default_rng(2).normal(size=(500, 4, 6)).astype(np.float32)
    scale = np.abs(x).max(-1, keepdims=True)
    step = scale * 2 / (2**5 - 2)
    weights = noisy.weights()["w"]
    rounding = ((np.rint(x / step) * step - x) @ weights) / scale
    torch.manual_seed(0)
    with torch.no_grad():
        seen = (noisy({"x": x}, "y").numpy() - x @ weights) / scale
    # The greatest input of every vector lies on a step: 5 of 6 inputs are rounded.
    np.testing.assert_allclose(rounding.std((0, 1)), np.sqrt(5 / 6) * seen.std((0, 1)), rtol=0.1)


def test_static_ranges_stay_where_the_hardware_does_not_learn_them(build: Build) -> None:
    noisy, _ = network(build, "conv", Hardware.load("static-range"))
    (name,) = noisy.analog
    for learns in (True, False):
        hardware = Hardware.load("static-range")
        training = hardware.training.model_copy(update={"learn_input_range": learns})
        hardware = hardware.model_copy(update={"training": training})
        again = NoisyNetwork(
            noisy.module.model, noisy.module.graph, noisy._trained, hardware, 0.0, ranges={name: (0.8,)}
        )
        again.place([name])
        assert ranges_in(again.weights()).keys() == ({name} if learns else set())
        assert sum(p.ndim == 0 for p, _ in again.parameters(analog=False)) == learns


def test_static_ranges_are_trained(build: Build) -> None:
    """What a range gains by less noise, and loses by clipping, is in its gradient: the difference quotient agrees."""
    base = without_devices(bits=None, noise=0.05)
    hardware = base.model_copy(update={"dac": base.dac.model_copy(update={"scaling": "static"})})
    noisy, feeds = network(build, "conv", hardware)
    (name,) = noisy.analog
    model, graph = noisy.module.model, noisy.module.graph
    noisy = NoisyNetwork(model, graph, noisy._trained, hardware, 0.0, ranges={name: (0.8,)})
    assert not ranges_in(noisy.weights())
    noisy.place([name])
    noisy.draw(1.0)
    (parameter,) = [p for p, _ in noisy.parameters(analog=False) if p.ndim == 0]

    def loss() -> torch.Tensor:
        torch.manual_seed(0)
        return noisy(feeds, "y").square().sum()

    loss().backward()  # type: ignore[no-untyped-call]
    assert parameter.grad is not None
    beside = []
    for value in (0.799, 0.801):
        noisy.load({**noisy.weights(), f"input range of {name}": np.array(value, np.float32)})
        beside.append(float(loss().detach()))
    assert float(parameter.grad) == pytest.approx((beside[1] - beside[0]) / 0.002, rel=0.02)
    assert ranges_in(noisy.weights()) == {name: pytest.approx(0.801)}


def test_noise_of_the_preset_is_relative_to_each_weight_or_to_the_tile() -> None:
    hardware = Hardware.load("lionheart")
    matrix = torch.randn(5, 7)
    torch.manual_seed(0)
    errors = torch.stack([draw_matrix(matrix, hardware, 0.0, "preset").errors for _ in range(1500)]).std(0)
    weights = matrix / matrix.abs().amax(1, keepdim=True)
    torch.testing.assert_close(errors, 0.08 * weights.abs(), rtol=0.1, atol=1e-6)
    additive = hardware.model_copy(
        update={"training": hardware.training.model_copy(update={"weight_noise_type": "additive"})}
    )
    errors = torch.stack([draw_matrix(matrix, additive, 0.0, "preset").errors for _ in range(1500)]).std(0)
    torch.testing.assert_close(errors, torch.full((5, 7), 0.08), rtol=0.1, atol=1e-6)
