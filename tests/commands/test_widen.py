"""``lhc widen``: the network computes the same, and its tiles err less."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import lhc
from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.onnx_io import annotate, load_model, read_graph
from lhc.pipeline.rewrites.choose_column_copies import WidenedModel
from tests.conftest import Cli
from tests.onnx_io.built_models import model_of, numbers

pytestmark = pytest.mark.analog

X = np.random.default_rng(3).normal(size=(64, 200)).astype(np.float32)
BARE = Hardware.load("lionheart").with_drift_compensation_alone()


def narrow() -> onnx.ModelProto:
    """Two products of few columns; the second has too many for four of each."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], "p"), helper.make_node("MatMul", ["h", "v"], ["y"], "q")]
    return model_of(nodes, {"x": ("batch", 200)}, {"w": numbers(200, 20), "v": numbers(20, 100)}).proto


@pytest.fixture(scope="module")
def widened() -> WidenedModel:
    return lhc.widen(narrow())


def test_columns_are_copied_as_often_as_the_tiles_have_room(widened: WidenedModel) -> None:
    assert [(one.layer, one.columns, one.copies) for one in widened.layers] == [("p", 20, 4), ("q", 100, 2)]
    assert widened.summary == "columns of 2 of 2 layers copied, up to 4 times; no tile more on lionheart"
    before, after = (lhc.analyze(model).plan.layers for model in (narrow(), widened.model))
    assert [layer.tiles for layer in after] == [layer.tiles for layer in before]


def test_errors_of_devices_and_converters_average_out() -> None:
    """Squared error of four copies: a quarter, within what eight chips of 20 columns know of it."""
    one, four = (
        lhc.evaluate(model, {"x": X}, placement=["p"], hardware=BARE, draws=8, metric="nmse", output="h")[0].mean
        for model in (told(narrow()), told(lhc.widen(narrow(), include=["p"]).model.proto))
    )
    assert one / four == pytest.approx(4, rel=0.25)


def told(proto: onnx.ModelProto) -> onnx.ModelProto:
    """With the first product's output as an output of the network."""
    proto.graph.output.append(helper.make_tensor_value_info("h", 1, None))
    return proto


def test_layers_are_chosen_by_patterns() -> None:
    assert [one.layer for one in lhc.widen(narrow(), exclude=["p"]).layers] == ["q"]
    with pytest.raises(UsageError, match="`include` 'z' matches no layer"):
        lhc.widen(narrow(), include=["z"])
    with pytest.raises(UsageError, match="`most` must be at least 2"):
        lhc.widen(narrow(), most=1)


def test_a_placement_that_is_left_out_is_told(cli: Cli, tmp_path: Path) -> None:
    onnx.save(narrow(), str(tmp_path / "m.onnx"))
    assert "left out" not in cli("widen", tmp_path / "m.onnx", "--most", "3").stderr
    network = load_model(tmp_path / "m.onnx")
    graph = read_graph(network, sizes=False)
    annotated = annotate(network, lhc.analyze(tmp_path / "m.onnx", shapes={"x": (8, 200)}).plan, graph)
    onnx.save(annotated, str(tmp_path / "placed.onnx"))
    told = "placed.onnx is of other weights, and is left out; 'lhc partition' makes one"
    assert told in cli("widen", tmp_path / "placed.onnx", "--most", "3").stderr


def test_the_command_writes_a_network_for_the_others(
    cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    onnx.save(narrow(), str(tmp_path / "m.onnx"))
    np.savez(tmp_path / "x.npz", x=X)
    done = cli("widen", tmp_path / "m.onnx", "--most", "3")
    assert done.exit_code == 0, done.output
    assert "columns of 2 of 2 layers copied, up to 3 times" in done.stdout
    again = cli("widen", tmp_path / "m.onnx")
    assert again.exit_code == 2
    assert "exists" in again.stderr
    read = cli("run", tmp_path / "m.wide.onnx", "--data", tmp_path / "x.npz", "--all-analog", "--draws", "2")
    assert read.exit_code == 0, read.output
    assert "columns of 2 layers are written up to 3 times (lhc widen)" in caplog.text
    caplog.clear()
    assert cli("analyze", tmp_path / "m.onnx", "--shape", "x=8,200").exit_code == 0
    assert "lhc widen" not in caplog.text
