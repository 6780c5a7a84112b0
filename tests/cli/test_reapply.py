"""``lhc reapply`` names its output as the other commands do."""

import os
from pathlib import Path

import onnx
import pytest

from lhc.hardware import Hardware
from lhc.onnx_io import annotate, load_model, read_graph
from lhc.passes import Qualify, initial_plan
from tests.conftest import Cli


@pytest.fixture
def placed(model_file: Path) -> onnx.ModelProto:
    model = load_model(model_file)
    graph = read_graph(model)
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), model.source, "0")).plan
    model_file.unlink()
    return annotate(model, plan, graph)


def test_the_output_lies_beside_the_model(placed: onnx.ModelProto, tmp_path: Path, cli: Cli) -> None:
    onnx.save_model(placed, str(tmp_path / "slim.onnx"))
    assert cli("reapply", tmp_path / "slim.onnx").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slim.lhc.onnx", "slim.onnx"]


def test_an_output_that_would_be_the_input_is_refused(placed: onnx.ModelProto, tmp_path: Path, cli: Cli) -> None:
    onnx.save_model(placed, str(tmp_path / "placed.lhc.onnx"))
    result = cli("reapply", tmp_path / "placed.lhc.onnx")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "placed.lhc.onnx: the output is the input; choose another name with -o" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["placed.lhc.onnx"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_an_output_that_is_a_pipe_is_refused_before_it_is_read(
    placed: onnx.ModelProto, tmp_path: Path, cli: Cli
) -> None:
    onnx.save_model(placed, str(tmp_path / "placed.onnx"))
    os.mkfifo(tmp_path / "pipe")
    result = cli("reapply", tmp_path / "placed.onnx", "-o", tmp_path / "pipe")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pipe: is no file, and would be replaced by one; choose another name" in result.stderr
