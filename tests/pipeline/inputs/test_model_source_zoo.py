"""Networks that are opened by a name of the zoo, to be placed or to be looked at."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lhc.errors import ModelError
from lhc.models import ZooEntry
from lhc.pipeline.inputs import model_source
from lhc.pipeline.inputs.model_source import open_model
from lhc.report import viewer
from lhc.samples.task import Task


class Recurrent(ZooEntry):
    """An LSTM over three steps."""

    name = "recurrent"
    description = "an LSTM"
    max_drop = 0.01

    def model(self, weights: Path | None = None) -> onnx.ModelProto:
        """Of random weights."""
        rng = np.random.default_rng(0)
        held = {name: rng.normal(size=(1, 16, 4)).astype(np.float32) for name in ("w", "r")}
        graph = helper.make_graph(
            [helper.make_node("LSTM", ["x", "w", "r"], ["y"], "lstm", hidden_size=4)],
            "recurrent",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, "batch", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 1, "batch", 4])],
            [numpy_helper.from_array(array, name) for name, array in held.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def task(self) -> Task:
        """None: it is only looked at."""
        raise NotImplementedError


def test_a_network_of_the_zoo_is_in_its_canonical_form_as_its_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_source, "is_zoo_name", lambda name: name == "recurrent")
    monkeypatch.setattr(model_source, "zoo_entry", lambda _: Recurrent())
    path = tmp_path / "recurrent.onnx"
    onnx.save(Recurrent().model(), path)

    by_name, by_file = open_model("recurrent"), open_model(path)

    assert by_name.entry is not None
    assert [node.name for node in by_name.model.proto.graph.node] == [
        node.name for node in by_file.model.proto.graph.node
    ]
    assert "MatMul" in {node.op_type for node in by_name.model.proto.graph.node}


def test_a_network_of_the_zoo_is_shown_as_its_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "is_zoo_name", lambda name: name == "recurrent")
    monkeypatch.setattr(viewer, "zoo_entry", lambda _: Recurrent())

    assert [node.op_type for node in viewer.open_for_viewing("recurrent").proto.graph.node] == ["LSTM"]


def test_a_name_near_one_of_the_zoo_is_answered_with_it() -> None:
    with pytest.raises(ModelError, match=r"digit: no such file.*did you mean 'digits'\?"):
        open_model("digit")
