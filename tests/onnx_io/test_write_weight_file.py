"""Weights that go to a file while a model is made."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from lhc.errors import UsageError
from lhc.onnx_io import save_model, stored_array
from lhc.onnx_io.write import WeightFile
from lhc.onnx_model import is_external
from tests.onnx_io.built_models import model_of, numbers, product_node


def test_weights_are_read_from_the_file_and_saved_beside_the_model(tmp_path: Path) -> None:
    kept = {"a": numbers(30, 50), "b": np.asfortranarray(numbers(40, 40)), "small": numbers(3)}
    data = WeightFile(tmp_path / "cache")
    made = {name: data.put(name, array) for name, array in kept.items()}
    assert all((stored_array(made[name]) == array).all() for name, array in kept.items())
    assert [is_external(tensor) for tensor in made.values()] == [True, True, False]
    proto = onnx.ModelProto()
    proto.CopyFrom(
        model_of([product_node("p", "MatMul", "x", "a")], {"x": (2, 30)}, {"a": kept["a"]}, ("p.out",)).proto
    )
    proto.graph.initializer[0].CopyFrom(made["a"])
    save_model(proto, tmp_path / "m.onnx", "copy")
    del data, made
    assert list((tmp_path / "cache").iterdir()) == []  # it goes with who holds it
    assert (onnx.numpy_helper.to_array(onnx.load(tmp_path / "m.onnx").graph.initializer[0]) == kept["a"]).all()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="LHC_CACHE"):
        WeightFile(tmp_path / "file" / "cache")
