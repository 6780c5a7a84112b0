"""Bad input: a clear message on stderr and the right exit code, never a traceback, and nothing lost."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from lhc.cli.framework.app import app
from tests.networks import parsed

pytestmark = pytest.mark.analog


def lhc(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command; an exception that is not an exit is a failure."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@dataclass(frozen=True)
class BadModel:
    id: str
    write: Callable[[Path, bytes], object]
    message: str


BAD_MODELS = [
    BadModel("missing", lambda path, good: None, "no such file"),
    BadModel("empty", lambda path, good: path.write_bytes(b""), "empty"),
    BadModel("truncated", lambda path, good: path.write_bytes(good[: len(good) // 2]), "truncated"),
    BadModel("text", lambda path, good: path.write_text("this is not a model\n" * 20), "not an ONNX model"),
    BadModel("noise", lambda path, good: path.write_bytes(bytes(range(256)) * 8), "not an ONNX model"),
    BadModel("GGUF", lambda path, good: path.write_bytes(b"GGUF\3\0\0\0" + bytes(100)), "looks like a GGUF file"),
    BadModel("folder", lambda path, good: path.mkdir(), "not a file"),
]


@pytest.mark.parametrize("case", BAD_MODELS, ids=lambda case: case.id)
@pytest.mark.parametrize("command", ["analyze", "inspect", "partition", "run", "sensitivity"])
def test_bad_model(case: BadModel, command: str, tmp_path: Path, model_file: Path, data_file: Path) -> None:
    bad = tmp_path / "bad.onnx"
    case.write(bad, model_file.read_bytes())
    data = () if command in ("analyze", "inspect") else ("--data", data_file)
    code, out, err = lhc(command, bad, *data)
    assert (code, out) == (3, "")
    assert case.message in err
    assert str(bad) in err


def _with(**changes: np.ndarray | None) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    return lambda arrays: {name: array for name, array in {**arrays, **changes}.items() if array is not None}


def _renamed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"picture": arrays["image"], "other": arrays["image"], "labels": arrays["labels"]}


@dataclass(frozen=True)
class BadData:
    id: str
    change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
    message: str


IMAGE = np.zeros((40, 2, 6, 6), np.float32)
BAD_DATA = [
    BadData("wrong keys", _renamed, "Keys must be the input names"),
    BadData("extra key", _with(more=np.zeros(40)), "Keys must be the input names"),
    BadData("labels only", _with(image=None), "no array for input 'image'"),
    BadData("wrong shape", _with(image=np.zeros((40, 2, 6, 5), np.float32)), "has shape (40, 2, 6, 5)"),
    BadData("wrong rank", _with(image=np.zeros((40, 72), np.float32)), "has shape (40, 72)"),
    BadData("wrong type", _with(image=IMAGE.astype(np.uint8)), "is uint8, the model takes float32"),
    BadData("wrong length", _with(labels=np.zeros(39, np.int64)), "different length"),
    BadData("no samples", _with(image=IMAGE[:0], labels=np.zeros(0, np.int64)), "no samples"),
    BadData("nan", _with(image=np.full_like(IMAGE, np.nan)), "NaN"),
    BadData("infinite", _with(image=np.full_like(IMAGE, np.inf)), "infinite"),
    BadData("pickle", _with(labels=np.array([{"a": 1}] * 40, dtype=object)), "pickled objects"),
]


@pytest.mark.parametrize("case", BAD_DATA, ids=lambda case: case.id)
@pytest.mark.parametrize("command", ["partition", "run", "sensitivity"])
def test_bad_data(case: BadData, command: str, tmp_path: Path, model_file: Path, data_file: Path) -> None:
    bad = tmp_path / "bad.npz"
    np.savez(bad, **case.change(dict(np.load(data_file))))  # type: ignore[arg-type]
    code, out, err = lhc(command, model_file, "--data", bad, "--draws", 2)
    assert (code, out) == (3, "")
    assert case.message in err
    assert not (tmp_path / "small.lhc.onnx").exists()


def test_labels_of_wrong_shape(tmp_path: Path, model_file: Path, data_file: Path) -> None:
    bad = tmp_path / "bad.npz"
    np.savez(bad, image=IMAGE, labels=np.zeros((40, 2), np.int64))
    code, _, err = lhc("partition", model_file, "--data", bad)
    assert code == 3
    assert "one class index per position" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "damaged"),
        (b"PK\x03\x04 nonsense", "damaged"),
        (b"text", "damaged"),
        (pickle.dumps({"image": IMAGE}), "not an .npz file"),  # not loaded
    ],
    ids=["missing", "empty", "broken zip", "text", "pickle"],
)
def test_bad_archive(content: bytes | None, message: str, tmp_path: Path, model_file: Path) -> None:
    bad = tmp_path / "bad.npz"
    if content is not None:
        bad.write_bytes(content)
    code, _, err = lhc("run", model_file, "--data", bad)
    assert code == 3
    assert message in err


@dataclass(frozen=True)
class BadUse:
    id: str
    arguments: tuple[str, ...]
    message: str
    code: int = 2


BAD_USE = [
    BadUse("unknown metric", ("--metric", "acuracy"), "unknown metric 'acuracy'"),
    BadUse("unknown hardware", ("--hardware", "lionhart"), "unknown hardware 'lionhart'"),
    BadUse("two forms", ("--json", "--format", "csv"), "--json and --format csv ask for two forms; give one of them"),
    BadUse("unknown strategy", ("--strategy", "magic"), "unknown strategy 'magic'"),
    BadUse("unknown drop type", ("--drop-type", "weird"), "--drop-type 'weird': choose absolute, relative"),
    BadUse("pattern without a match", ("--exclude", "stm"), "nearest: stem"),
    BadUse("bad regular expression", ("--include", "re:("), "not a regular expression"),
    BadUse("both forced", ("--force-analog", "stem", "--force-digital", "s*"), "named by both"),
    BadUse("negative drop", ("--max-drop", "-0.1"), "--max-drop must be at least 0"),
    BadUse("one point or all", ("--max-drop", "1"), "would be 100 points; for one point give 1% or 0.01"),
    BadUse("more than all", ("--max-drop", "2"), "would be 200 points; for 2 points give 2% or 0.02\n"),
    BadUse("percent taken for a share", ("--max-drop", "2"), "for 2 points give 2% or 0.02"),
    BadUse("relative drop of one", ("--max-drop", "1", "--drop-type", "relative"), "for 1 % of it give 1% or 0.01"),
    BadUse("percentage of no share", ("--max-drop", "1%", "--metric", "kl"), "which kl is not"),
    BadUse("percentage of no share, with targets", ("--max-drop", "1%", "--metric", "nll"), "or --drop-type relative"),
    BadUse("more than all", ("--max-drop", "150%"), "cannot drop by more than 100 points"),
    BadUse("drop in words", ("--max-drop", "little"), "give one point as 1% or 0.01"),
    BadUse("unknown scored output", ("--output", "mapped.onnx"), "the model's outputs are logits"),
    BadUse("unknown format", ("--format", "pdf"), "--format 'pdf': choose table, csv, markdown, latex, json"),
    BadUse("direction missing", ("--metric", "some.module:function"), "--higher-is-better or --lower-is-better"),
    BadUse("confidence", ("--confidence", "95"), "--confidence must lie between 0 and 1"),
    BadUse("plan missing", ("--plan", "none.yaml"), "no such file"),
    BadUse("drop not a number", ("--max-drop", "nan"), "--max-drop must be at least 0"),
    BadUse("no samples", ("--samples", "0"), "--samples must be at least 1"),
    BadUse("one draw", ("--draws", "1"), "--draws must be at least 2"),
    BadUse("negative seed", ("--seed", "-1"), "--seed must be at least 0"),
    BadUse("negative time", ("--t-inference", "-5"), "time of inference"),
    BadUse("output folder missing", ("-o", "nowhere/out.onnx"), "does not exist"),
    BadUse("unknown option", ("--fast",), "No such option"),
    BadUse("latency with a unit", ("--max-latency", "3ms"), "--max-latency '3ms': write a number, in s"),
    BadUse("half a process", ("--jobs", "1.5"), "--jobs '1.5': write a whole number"),
    BadUse(
        "kl needs no targets but mse does", ("--metric", "mse"), "numbers of shape (4,), the data one label", code=3
    ),
]


@pytest.mark.parametrize("case", BAD_USE, ids=lambda case: case.id)
def test_bad_use(case: BadUse, model_file: Path, data_file: Path) -> None:
    code, out, err = lhc("partition", model_file, "--data", data_file, *case.arguments)
    assert (code, out) == (case.code, "")
    assert case.message in err


def test_mistakes_in_a_hardware_file_are_named_by_path(tmp_path: Path, model_file: Path) -> None:
    bad = tmp_path / "machine.yaml"
    bad.write_text("name: mine\ntiles: {rows: 0}\nadc: {nois: 1}\n")
    code, _, err = lhc("analyze", model_file, "--hardware", bad)
    assert code == 2
    assert "tiles.rows" in err
    assert "adc.nois" in err


def test_a_plan_and_a_hardware_file_in_each_others_place_are_told_apart(
    tmp_path: Path, model_file: Path, data_file: Path
) -> None:
    machine, plan = tmp_path / "machine.yaml", tmp_path / "plan.yaml"
    machine.write_text("name: mine\ntiles: {rows: many}\n")
    plan.write_text("hardware: {name: mine}\nlayers: []\n")
    code, _, err = lhc("partition", model_file, "--data", data_file, "--plan", machine)
    assert code == 2
    assert "a hardware description, not a plan; give it with --hardware" in err
    code, _, err = lhc("analyze", model_file, "--hardware", plan)
    assert code == 2
    assert "a plan, not a hardware description; give it with --plan" in err
    code, _, err = lhc("analyze", model_file, "--hardware", machine)
    assert "tiles.rows: write a whole number (got 'many')" in err


def test_output_equal_to_input_is_refused(model_file: Path, data_file: Path) -> None:
    before = model_file.read_bytes()
    code, _, err = lhc("partition", model_file, "--data", data_file, "-o", model_file, "--force")
    assert code == 2
    assert "the output is the input" in err
    assert model_file.read_bytes() == before


def test_foreign_output_is_kept_unless_forced(tmp_path: Path, model_file: Path, data_file: Path) -> None:
    foreign = tmp_path / "mine.onnx"
    foreign.write_text("precious")
    command = ("partition", model_file, "--data", data_file, "--draws", 2, "-o", foreign, "--max-drop", "100%")
    code, _, err = lhc(*command)
    assert code == 2
    assert "--force" in err
    assert foreign.read_text() == "precious"
    assert lhc(*command, "--force")[0] == 0
    assert lhc(*command)[0] == 0, "a file that lhc wrote for this model is replaced"
    assert onnx.load(foreign).graph.node[0].metadata_props


@pytest.mark.parametrize(
    "command",
    [
        ("partition", "small.onnx", "--data", "d.npz", "--plan-out", "small.onnx"),
        ("partition", "small.onnx", "--data", "d.npz", "-o", "d.npz"),
        ("pareto", "small.onnx", "--data", "d.npz", "--plot", "d.npz"),
        ("run", "small.onnx", "--data", "d.npz", "--outputs", "link.npz"),
        ("hardware", "lionheart", "--fault-map", "d.npz", "-o", "d.npz"),
    ],
    ids=" ".join,
)
def test_no_output_is_an_input(
    command: tuple[str, ...], tmp_path: Path, model_file: Path, data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_file.rename(tmp_path / "d.npz")
    (tmp_path / "link.npz").symlink_to(tmp_path / "d.npz")
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code, _, err = lhc(*command, "--force")
    assert code == 2
    assert ": the output is the input; choose another name with " in err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_two_outputs_are_two_files(tmp_path: Path, model_file: Path, data_file: Path) -> None:
    there = tmp_path / "r.html"
    code, _, err = lhc("partition", model_file, "--data", data_file, "--report", there, "--plan-out", there)
    assert code == 2
    assert "name the same file; give each one of its own" in err
    assert not there.exists()


@pytest.mark.slow
def test_budget_that_cannot_be_met_writes_the_best_plan_and_exits_1(model_file: Path, data_file: Path) -> None:
    command = ("partition", model_file, "--data", data_file, "--metric", "kl", "--max-drop", 1e-9, "--draws", 2)
    code, out, err = lhc(*command, "--strategy", "all-analog")
    assert code == 1
    assert "budget is not met" in err
    assert "budget 1e-09 not met" in out
    assert model_file.with_name("small.lhc.onnx").exists()


def test_data_is_asked_for(model_file: Path) -> None:
    code, _, err = lhc("partition", model_file)
    assert code == 2
    assert "--data FILE.npz" in err


def test_sizes_that_the_file_leaves_open_are_those_of_an_example(tmp_path: Path) -> None:
    path = tmp_path / "tokens.onnx"
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[B, T, 4] x) => (float[B, T, 3] y) { y = MatMul (x, w) }'
    model = parsed(text, {"w": np.ones((4, 3), np.float32)})
    onnx.save_model(model, str(path))
    code, out, _ = lhc("analyze", path)
    assert code == 0
    assert "x=1,128,4; give yours in its place: --shape x=1,128,4" in out
    assert f"{128 * 12:,} per sample in all" in out
    code, out, _ = lhc("analyze", path, "--shape", "x=1,5,4")
    assert code == 0
    assert "example" not in out
    assert lhc("analyze", path, "--shape", "x=1,5")[0] == 2
    assert lhc("analyze", path, "--shape", "z=1,5,4")[0] == 2
    assert lhc("analyze", path, "--shape", "x=one")[0] == 2
