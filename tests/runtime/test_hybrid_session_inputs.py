"""What a session takes: types that fit without a loss, a word where nothing is placed, and whose index is refused."""

import numpy as np
import onnx
import pytest

import lhc
from lhc import HybridSession
from lhc.errors import DataError, ModelError
from lhc.models import zoo_entry

EMBEDDING = """<ir_version: 8, opset_import: ["" : 17]> texts (int64[N, 3] ids, float[N, 3] mask) => (float[N, 3] y)
    <float[4] table = {1.0, 2.0, 3.0, 4.0}> { found = Gather (table, ids) y = Mul (found, mask) }"""
IDS = np.array([[0, 1, 2], [3, 2, 1]])
MASK = np.ones((2, 3), np.float32)


@pytest.fixture
def session() -> HybridSession:
    return HybridSession(onnx.parser.parse_model(EMBEDDING))


def test_other_widths_are_converted_as_those_of_data_files_are(session: HybridSession) -> None:
    (plain,) = session.run(None, {"ids": IDS, "mask": MASK})
    (converted,) = session.run(None, {"ids": IDS.astype(np.int32), "mask": MASK.astype(np.float64)})
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(plain, converted)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS.astype(np.float32), "model: 'ids' is float32, the model takes int64; convert it"),
        (np.full((2, 3), 2**63, np.uint64), "'ids', sample 0: 9223372036854775808 is beyond the range of int64"),
        (np.array([[0, 1, 2], [0, 9, 9]]), "input 'ids' holds it, first in sample 1 of this call"),
        (np.array([[0, -7, 2], [0, 1, 2]], np.int16), "idx=-7 .*input 'ids' holds it, first in sample 0 of this call"),
    ],
)
def test_what_does_not_fit_names_the_input(session: HybridSession, ids: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        session.run(None, {"ids": ids, "mask": MASK})


PRODUCT = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 2] x) => (float[N, 2] y)
    <float[2, 2] w = {1.0, 2.0, 3.0, 4.0}> { [fc] y = MatMul (x, w) }"""


@pytest.mark.parametrize("placement", [(), pytest.param("all-analog", marks=pytest.mark.analog)], ids=str)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"input 'x' is None, and is not optional; give an array, tensor\(float\)"),
        ([[1.0, 2.0], [3.0]], r"input 'x' is no array: .*give an array, tensor\(float\)"),
        ([["a", "b"]], "'x' is <U1, the model takes float32"),
        ([np.ones((3, 2), np.float32)], r"input 'x' has shape \(1, 3, 2\), the model takes \(N, 2\)"),
    ],
    ids=["None", "ragged list", "text", "list of arrays"],
)
def test_what_is_no_array_is_refused(given: object, message: str, placement: str | tuple[str, ...]) -> None:
    session = HybridSession(onnx.parser.parse_model(PRODUCT), "ideal", placement)
    with pytest.raises(DataError, match=message):
        session.run(None, {"x": given})  # type: ignore[dict-item]  # what the annotation refuses


def test_a_list_of_numbers_is_an_array() -> None:
    session = HybridSession(onnx.parser.parse_model(PRODUCT), placement=())
    assert session.run(None, {"x": [[1.0, 0.0]]})[0].tolist() == [[1.0, 2.0]]  # type: ignore[list-item]


@pytest.mark.analog
def test_a_weight_that_its_operator_does_not_take_is_told_before_tiles_are_counted() -> None:
    scalar = onnx.parser.parse_model(PRODUCT.replace("<float[2, 2] w = {1.0, 2.0, 3.0, 4.0}>", "<float w = {1.0}>"))
    with pytest.raises(ModelError, match="layer 'fc' cannot be analog: weight w is a scalar"):
        HybridSession(scalar, placement=["fc"])


def test_a_network_without_a_placement_is_said_to_run_digital(caplog: pytest.LogCaptureFixture) -> None:
    proto = onnx.parser.parse_model(EMBEDDING)
    session = HybridSession(proto)
    session.run(None, {"ids": IDS, "mask": MASK})
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "model carries no placement, so everything runs digital; see 'lhc partition' and placement=\"all-analog\""
    ]
    caplog.clear()
    HybridSession(proto, placement=())
    assert not caplog.records


def test_a_network_that_changed_since_it_was_placed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    plan = lhc.analyze(onnx.parser.parse_model(PRODUCT)).plan
    HybridSession(onnx.parser.parse_model(PRODUCT), placement=plan)
    assert not caplog.records

    HybridSession(onnx.parser.parse_model(PRODUCT.replace("4.0", "5.0")), placement=plan)

    (record,) = caplog.records
    assert "model: the placement was made for other weights or another graph" in record.getMessage()


def test_sizes_that_do_not_fit_are_named() -> None:
    session = HybridSession(zoo_entry("digits-narrow").model(), placement="all-analog")
    with pytest.raises(DataError, match=r"for the following indices index: 3 Got: 7 Expected: 8"):
        session.run(None, {"x": np.zeros((2, 1, 8, 7), np.float32)})
