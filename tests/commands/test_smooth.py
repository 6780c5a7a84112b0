"""``lhc smooth``: the network computes the same, and its tiles err less."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import lhc
from lhc.errors import DataError, ModelError, UsageError
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_io.rewrites.channel_scales import scalable_inputs
from lhc.pipeline.rewrites.choose_channel_scales import SmoothedModel, chosen_factors
from tests.conftest import Cli
from tests.onnx_io.built_models import model_of

RNG = np.random.default_rng(3)
K, N = 64, 48
X = RNG.normal(size=(32, 4, K)).astype(np.float32)


def outlying() -> onnx.ModelProto:
    """A product behind a gain that makes a few channels thirty times as large as others; their weights are small."""
    gain = np.ones(K)
    gain[[3, 17, 40]] = 30.0
    weights = RNG.normal(size=(K, N)) / gain[:, None]
    nodes = [helper.make_node("Mul", ["x", "gain"], ["h"], "norm"), helper.make_node("MatMul", ["h", "w"], ["y"], "p")]
    constants = {"gain": gain.astype(np.float32), "w": weights.astype(np.float32)}
    return model_of(nodes, {"x": ("batch", 4, K)}, constants).proto


@pytest.fixture(scope="module")
def smoothed() -> SmoothedModel:
    return lhc.smooth(outlying(), {"x": X})


def test_outliers_move_into_weights(smoothed: SmoothedModel) -> None:
    (told,) = smoothed.inputs
    assert (told.tensor, told.products) == ("h", ("p",))
    assert told.exponent is not None
    assert told.after < 0.3 * told.before
    assert smoothed.difference == 0.0
    assert "the same bit for bit" in smoothed.summary


def test_fewer_samples_may_be_looked_at_and_progress_is_told(smoothed: SmoothedModel) -> None:
    told: list[tuple[str, int, int]] = []
    found = lhc.smooth(outlying(), {"x": X}, samples=8, progress=lambda *report: told.append(report))
    assert (found.samples, smoothed.samples) == (8, 32)
    assert "on vectors of 8 samples" in found.legend
    assert told[-2:] == [("scaling inputs", 0, 1), ("scaling inputs", 1, 1)]
    assert {what for what, _, _ in told} == {"reading samples", "scaling inputs"}
    with pytest.raises(UsageError, match="`samples` must be at least 1"):
        lhc.smooth(outlying(), {"x": X}, samples=0)


def test_the_placed_network_errs_less(smoothed: SmoothedModel) -> None:
    before, after = (
        lhc.evaluate(model, {"x": X}, placement="all-analog", draws=3)[0].mean for model in (outlying(), smoothed.model)
    )
    assert after < 0.4 * before


def test_nothing_is_scaled_where_nothing_is_gained() -> None:
    found = lhc.smooth(outlying(), {"x": X}, hardware="ideal")
    assert [one.exponent for one in found.inputs] == [None]
    assert found.summary.startswith("0 of 1 inputs scaled")


def test_a_network_whose_answers_are_infinite_is_refused() -> None:
    model = outlying()
    model.graph.node.append(helper.make_node("Div", ["y", "nothing"], ["z"], "blow"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    model.graph.output[0].name = "z"
    with pytest.raises(DataError, match="the digital network gives NaN or infinite values in 'z' on these samples"):
        lhc.smooth(model, {"x": X})


def test_inputs_of_products_that_are_infinite_are_refused() -> None:
    """Even where the answers are finite."""
    model = outlying()
    gain = next(tensor for tensor in model.graph.initializer if tensor.name == "gain")
    gain.CopyFrom(numpy_helper.from_array(np.full(K, np.inf, np.float32), "gain"))
    model.graph.node.append(helper.make_node("Sigmoid", ["y"], ["z"], "bound"))
    model.graph.output[0].name = "z"
    with pytest.raises(DataError, match="the digital network gives NaN or infinite values in 'h' on these samples"):
        lhc.smooth(model, {"x": np.abs(X)})


@pytest.mark.parametrize("vectors", [0, 1, 2])
def test_inputs_that_are_hardly_ever_driven(vectors: int) -> None:
    x = np.zeros_like(X)
    x.reshape(-1, K)[:vectors] = X.reshape(-1, K)[:vectors]
    (found,) = lhc.smooth(outlying(), {"x": x}).inputs
    assert (found.before > 0) == (vectors > 0)
    assert (found.exponent is not None) == (vectors > 0)


def test_inputs_too_small_to_be_squared_in_float32_are_left_as_zeros_are() -> None:
    (found,) = lhc.smooth(outlying(), {"x": X * np.float32(1e-44)}).inputs
    assert (found.before, found.exponent) == (0.0, None)


def test_a_product_that_reads_other_channels_than_its_input_has_is_named() -> None:
    """As where a file contradicts itself behind the input, so that it runs up to there."""
    model = load_model(outlying())
    graph = read_graph(model)
    (one,) = scalable_inputs(model, graph)
    with pytest.raises(ModelError, match=rf"p reads {K} channels, and its input h has {N}"):
        chosen_factors(model, graph, one, X[:, 0, :N], Hardware.load("lionheart"), 0, 0.0)


def test_a_network_without_such_inputs_is_refused() -> None:
    with pytest.raises(ModelError, match="no input of its products can be scaled"):
        lhc.smooth("digits-narrow")


def test_the_command_writes_weights_beside_the_model_where_they_were(cli: Cli, tmp_path: Path) -> None:
    onnx.save_model(
        outlying(), str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0
    )
    np.savez(tmp_path / "x.npz", x=X)
    done = cli("smooth", tmp_path / "m.onnx", "--data", tmp_path / "x.npz")
    assert done.exit_code == 0, done.output
    assert "1 of 1 inputs scaled" in done.stdout
    assert "products that read it" in done.stdout
    assert "exponent: how much of the spread" in done.stdout
    assert (tmp_path / "m.smooth.onnx.data").is_file()
    again = cli("smooth", tmp_path / "m.onnx", "--data", tmp_path / "x.npz")
    assert again.exit_code == 2
    assert "exists" in again.stderr
    read = cli("run", tmp_path / "m.smooth.onnx", "--data", tmp_path / "x.npz", "--all-analog", "--draws", "2")
    assert read.exit_code == 0, read.output
