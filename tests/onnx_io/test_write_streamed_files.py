"""A model in pieces is, byte for byte, what protobuf makes of it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.errors import ModelError
from lhc.onnx_io import load_model, save_model, whole
from lhc.onnx_io.write import model_bytes, model_size

TEXT = """<ir_version: 10, opset_import: ["" : 17, "own" : 1], producer_name: "somebody", metadata_props: ["a": "b"]>
network (float[N, 700] x) => (float[N, 4] y) {
  h = own.twice (x)
  c = MatMul (h, w)
  y = MatMul (c, o)
}
<opset_import: ["" : 17], domain: "own"> twice (x) => (y) { y = Add (x, x) }"""


def _network(columns: int) -> onnx.ModelProto:
    model = onnx.parser.parse_model(TEXT)
    model.graph.doc_string = "behind the weights"
    rng = np.random.default_rng(0)
    for name, shape in (("w", (700, columns)), ("o", (columns, 4))):
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    model.graph.initializer[0].doc_string = "behind the values"
    return model


@pytest.mark.parametrize("columns", [3, 600, 7000], ids=["small", "one beside", "two beside"])
def test_pieces_are_the_whole(columns: int) -> None:
    network = _network(columns)
    loaded = load_model(network)
    for proto in (network, loaded.proto):
        expected = whole(proto).SerializeToString(deterministic=True)
        assert b"".join(model_bytes(proto)) == expected
        assert model_size(proto) == len(expected)


def test_a_file_of_more_than_2_gib_is_refused_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_model(_network(600))
    monkeypatch.setattr("lhc.onnx_io.write._MOST", model_size(loaded.proto) - 1)
    with pytest.raises(ModelError, match="more than 2 GiB in one model"):
        save_model(loaded.proto, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
