"""The report of a file, beside what the command that placed it said."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import lhc
from lhc.onnx_io import load_model, read_plan
from tests.networks import drawn, parsed

pytestmark = pytest.mark.analog

TEXT = """
<ir_version: 8, opset_import: ["": 17]>
words (float[N, L, 24] x, float[N, 24] bias) => (float[N, L, 8] y)
{
    shift = Unsqueeze(bias, axis)
    moved = Add(x, shift)
    a = MatMul(moved, v)
    b = Tanh(a)
    c = Softmax <axis = 1> (b)
    d = MatMul(c, w)
    y = Relu(d)
}
"""


def _open_length() -> onnx.ModelProto:
    return parsed(TEXT, drawn({"v": (24, 40), "w": (40, 8)}) | {"axis": np.array([1])})


@pytest.mark.slow
@pytest.mark.parametrize("length", [3, 17])
def test_a_file_of_open_length_costs_what_was_placed(length: int, tmp_path: Path) -> None:
    """Operators that are no products too, whose elements follow the length that the samples have."""
    samples = drawn({"x": (24, length, 24), "bias": (24, 24)})
    result = lhc.partition(
        _open_length(), samples, metric="nmse", max_drop=0.9, strategy="all-analog", draws=2, explain=False
    )
    file = result.save(tmp_path / "placed.onnx")
    report = lhc.report(file)
    assert result.cost is not None
    assert result.digital_cost is not None
    assert report.costs is not None
    for found, said in ((result.cost, report.costs.total), (result.digital_cost, report.costs.all_digital)):
        assert (said.latency_s, said.energy_j) == pytest.approx((found.total.latency_s, found.total.energy_j), rel=1e-9)
    stored = read_plan(load_model(file))
    assert stored is not None
    assert stored.shapes == {"x": (1, length, 24)}, "of the other input nothing is open but how many samples there are"


def test_nothing_is_added_to_a_report_that_was_saved(tmp_path: Path) -> None:
    for saved in (tmp_path, tmp_path / "report.json"):
        with pytest.raises(lhc.LhcError, match=r"name, command: .* is a report that was saved, and nothing is added"):
            lhc.report(saved, name="mine", command="my script")


def test_the_operators_of_a_report_are_those_of_the_file() -> None:
    """A recurrent operator is one, into however many it is written out for tiles."""
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    steps (float[N, 5, 3] x) => (float[N, 4] y)
    {
        turned = Transpose <perm = [1, 0, 2]> (x)
        all, last = LSTM <hidden_size = 4> (turned, w, r)
        y = Squeeze (last, axis)
    }
    """
    weights = drawn({"w": (1, 16, 3), "r": (1, 16, 4)}) | {"axis": np.array([0])}
    found = lhc.partition(
        parsed(text, weights),
        drawn({"x": (24, 5, 3)}),
        metric="nmse",
        max_drop=0.9,
        strategy="all-analog",
        draws=2,
        explain=False,
    )
    assert lhc.report(found).operators == 3


@pytest.mark.slow
def test_a_compiled_model_is_called_one_and_not_changed(tmp_path: Path) -> None:
    placed = lhc.partition("digits-narrow", samples=60, draws=2, max_drop="100%", strategy="first-last")
    lhc.compile(placed.save(tmp_path / "placed.onnx")).save(tmp_path / "chip.onnx")
    (warning,) = lhc.report(tmp_path / "chip.onnx").warnings
    assert "chip.onnx: a compiled model (" in warning
