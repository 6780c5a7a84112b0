"""Files made to do harm: refused with exit code 2 or 3 in bounded time and memory, and nothing is executed.

What is refused inside single readers is tested with them: `test_external`, `test_annotations`, `test_data_files`.
"""

import os
import pickle
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from typer.testing import CliRunner

from lhc.cli.framework.app import app
from lhc.errors import ModelError
from lhc.onnx_io import load_model
from lhc.runtime.onnxruntime import sandboxed_open as probing

SECONDS = 10
"""Processor time that a refusal may take, of this process and of the one that probes."""


def lhc(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; an exception that is no exit is a failure, and so is too long a time."""
    started = time.process_time(), _children()
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert time.process_time() - started[0] + _children() - started[1] < SECONDS
    return result.exit_code, result.stdout, result.stderr


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _text(body: str, inputs: str = "float[N, 4] x", outputs: str = "float[N, 4] y") -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g ({inputs}) => ({outputs}) {{ {body} }}')


def _plain() -> onnx.ModelProto:
    model = _text("h = MatMul(x, w)\n y = Relu(h)")
    model.graph.initializer.append(numpy_helper.from_array(np.eye(4, dtype=np.float32), "w"))
    return model


def _with_weight(weight: np.ndarray) -> onnx.ModelProto:
    model = _plain()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    return model


def _secret() -> onnx.ModelProto:
    model = _plain()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    return model


def _claims_much() -> onnx.ModelProto:
    model = _plain()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**40, 2**40])
    return model


def _nested(depth: int) -> bytes:
    """An If in an If in an If, which no library of protobuf agrees to write: field number and length, then content."""

    def field(number: int, content: bytes) -> bytes:
        length, prefix = len(content), bytearray([number << 3 | 2])
        while length > 127:
            prefix.append(length & 127 | 128)
            length >>= 7
        return bytes([*prefix, length]) + content

    graph = b""
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, graph)  # AttributeProto: name, g
        graph = field(1, field(4, b"If") + field(5, attribute))  # GraphProto: node; NodeProto: op_type, attribute
    return bytes([1 << 3, 8]) + field(7, graph)  # ModelProto: ir_version, graph


def _planned(plan: str, schema: str = "1") -> onnx.ModelProto:
    model = _plain()
    model.metadata_props.add(key="lhc.schema", value=schema)
    model.metadata_props.add(key="lhc.plan", value=plan)
    return model


def _cycle() -> onnx.ModelProto:
    return _text("a = Add(x, y)\n y = Relu(a)")


def _twice() -> onnx.ModelProto:
    return _text("y = Relu(x)\n y = Abs(x)")


@dataclass(frozen=True)
class Hostile:
    id: str
    make: Callable[[], onnx.ModelProto | bytes]
    message: str


HOSTILE = [
    Hostile("data outside of the folder", _secret, "leaves the model's folder"),
    Hostile("a weight that claims 2⁸⁰ values", _claims_much, "not a valid ONNX model"),
    Hostile(
        "an input of 2⁴⁰ values",
        lambda: _text("y = Relu(x)", "float[N, 1048576, 1048576] x", "float[N, 1048576, 1048576] y"),
        "would hold",
    ),
    Hostile("cycle", _cycle, "not a valid ONNX model"),
    Hostile("an output written twice", _twice, "two values have one name: export it with other output_names"),
    Hostile("hundreds of nested bodies", lambda: _nested(500), "not an ONNX model"),
    Hostile("a plan that nests deeply", lambda: _planned("[" * 10**6), "lhc metadata cannot be read"),
    Hostile("a plan of 40 MB", lambda: _planned(" " * 40_000_000), "larger than 32 MiB"),
    Hostile("a plan of a million layers", lambda: _planned("[" + "{}," * 10**6 + "{}]"), "layers planned"),
    Hostile("a plan of a newer lhc", lambda: _planned("[]", "9"), "lhc reads 1; update lhc"),
]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.id)
def test_a_hostile_model_is_refused(case: Hostile, tmp_path: Path) -> None:
    path, folder = tmp_path / "hostile.onnx", sorted(tmp_path.parent.iterdir())
    made = case.make()
    data = made if isinstance(made, bytes) else made.SerializeToString()
    path.write_bytes(data)
    command = "inspect" if "plan" in case.id else "analyze"
    code, out, err = lhc(command, path)
    assert (code, out) == (3, "")
    assert case.message in err
    assert str(path) in err
    assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]
    assert sorted(tmp_path.parent.iterdir()) == folder


@dataclass(frozen=True)
class Odd:
    id: str
    weight: np.ndarray
    detail: str


ODD = [
    Odd("NaN", np.full((4, 4), np.nan, np.float32), "weight w holds NaN or infinite values"),
    Odd("infinite", np.full((4, 4), np.inf, np.float32), "weight w holds NaN or infinite values"),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", ODD, ids=lambda case: case.id)
def test_weights_that_no_tile_holds_stay_digital(case: Odd, tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    onnx.save(_with_weight(case.weight), path)
    code, out, _ = lhc("analyze", path)
    assert code == 0
    assert case.detail in out


def test_a_batch_that_no_memory_holds_is_refused_before_samples_are_repeated_for_it(tmp_path: Path) -> None:
    proto = _plain()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2**62
    onnx.save(proto, tmp_path / "giant.onnx")
    np.savez(tmp_path / "x.npz", x=np.ones((3, 4), np.float32))
    code, _, err = lhc("compile", tmp_path / "giant.onnx", "--all-analog", "--data", tmp_path / "x.npz")
    assert code == 3
    assert "would hold 4611686018427387904x4 values" in err


def test_tensors_without_values_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    onnx.save(_text("y = MatMul(x, w)", "float[N, 0] x", "y"), path)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((0, 4), np.float32), "w"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, ["N", 4]))
    onnx.save(model, path)
    code, out, _ = lhc("analyze", path)
    assert code == 0
    assert "weight w is empty" in out


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_in_data_is_not_loaded(tmp_path: Path) -> None:
    model, data, marker = tmp_path / "net.onnx", tmp_path / "data.npz", tmp_path / "executed"
    onnx.save(_plain(), model)
    np.savez(data, x=np.array([Bomb(marker)], object))
    for content in (data.read_bytes(), pickle.dumps(Bomb(marker))):
        data.write_bytes(content)
        code, _, err = lhc("run", model, "--data", data)
        assert code == 3
        assert str(data) in err
    assert not marker.exists()


def test_data_that_unpack_to_far_more_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = tmp_path / "net.onnx", tmp_path / "data.npz"
    onnx.save(_plain(), model)
    np.savez_compressed(data, allow_pickle=False, x=np.zeros((2**18, 4), np.float32))
    monkeypatch.setattr("lhc.samples.npy_files.RATIO_FREE_BYTES", 2**20)  # so that a small bomb is one
    code, _, err = lhc("run", model, "--data", data)
    assert code == 3
    assert f"{data}: would unpack from" in err


YAMLS = {
    "a tag that calls": "!!python/object/apply:os.system ['touch {marker}']",
    "a tag inside": "name: !!python/object/new:os.system ['touch {marker}']\n",
    "aliases of a billion": "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + "\n".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]" for i in range(9)),
    "itself": "a: &a [*a]",
    "deep": "[" * 20_000,
    "text": "hello",
    "bytes": "\x00\x01",
}


@pytest.mark.parametrize("option", ["--hardware", "--plan"])
@pytest.mark.parametrize("case", YAMLS)
def test_hostile_yaml_is_refused(case: str, option: str, tmp_path: Path) -> None:
    model, file, marker, data = (tmp_path / name for name in ("net.onnx", "file.yaml", "executed", "data.npz"))
    onnx.save(_plain(), model)
    np.savez(data, allow_pickle=False, x=np.zeros((8, 4), np.float32))
    file.write_text(YAMLS[case].replace("{marker}", str(marker)), encoding="utf-8")
    command = ("analyze", model) if option == "--hardware" else ("partition", model, "--data", data)
    code, out, err = lhc(*command, option, file)
    assert (code, out) == (2, "")
    assert str(file) in err
    assert not marker.exists()
    assert not (tmp_path / "net.lhc.onnx").exists()


def test_what_kills_a_process_is_an_error_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, script = tmp_path / "net.onnx", tmp_path / "probe.py"
    onnx.save(_plain(), path)
    script.write_text("import os\nos.abort()\n", encoding="utf-8")
    monkeypatch.setattr(probing, "__file__", str(script))
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "cache"))  # in which such a file was not opened before
    with pytest.raises(ModelError, match=r"net\.onnx: opening it crashes onnx or onnxruntime \(SIGABRT\)"):
        probing.probe(path)


@pytest.mark.slow
@pytest.mark.parametrize("moved", [False, True], ids=["where it is", "moved"])
@pytest.mark.parametrize(("external", "changed"), [(False, False), (False, True), (True, False)])
def test_a_file_is_opened_first_by_one_process_alone_unless_others_belong_to_it(
    external: bool, changed: bool, moved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, script = tmp_path / "net.onnx", tmp_path / "probe.py"
    onnx.save(_plain(), path, save_as_external_data=external, location="data", size_threshold=0)
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "cache"))
    probing.probe(path)
    script.write_text("import os\nos.abort()\n", encoding="utf-8")
    monkeypatch.setattr(probing, "__file__", str(script))
    monkeypatch.setattr(probing, "_probed", {})
    if changed:
        path.write_bytes(path.read_bytes() + b"\x32\x00")  # an empty doc_string
    if moved:
        path = Path(shutil.copytree(tmp_path, tmp_path.with_name("elsewhere"), dirs_exist_ok=True)) / path.name
    with pytest.raises(ModelError, match="SIGABRT") if external or changed else nullcontext():
        probing.probe(path)


@pytest.mark.slow
def test_what_the_checker_has_nothing_against_is_not_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine, odd = tmp_path / "fine.onnx", tmp_path / "odd.onnx"
    onnx.save(_plain(), fine)
    only_run = _text("y = SimplifiedLayerNormalization<axis = -1>(x, g)")
    only_run.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "g"))
    onnx.save(only_run, odd)
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "cache"))
    for _ in range(2):  # said by the process that opens it, and read from what is kept
        monkeypatch.setattr(probing, "_probed", {})
        assert probing.probe(fine)
        assert not probing.probe(odd)
    asked = list[object]()
    monkeypatch.setattr(onnx.checker, "check_model", asked.append)
    load_model(fine, probe=probing.probe)
    assert asked == []
    load_model(odd, probe=probing.probe)
    load_model(fine)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, None), (1, None), (-11, "SIGSEGV"), (-24, "too much time or memory"), (-9, "too much"), (125, "more memory")],
)
def test_how_a_process_died_is_told(status: int, words: str | None) -> None:
    found = probing.cause_of_death(status)
    assert found is None if words is None else words in (found or "")


@pytest.mark.slow
def test_the_probing_process_imports_nothing_from_the_current_folder(tmp_path: Path) -> None:
    onnx.save(_plain(), tmp_path / "net.onnx")
    (tmp_path / "onnx.py").write_text("raise SystemExit(200)\n", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "lhc", "analyze", "net.onnx"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
