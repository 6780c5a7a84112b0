"""The same samples in every form give the same task, and what does not fit the model is refused."""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import lhc
from lhc.cli.framework.app import app
from lhc.errors import DataError, UsageError
from lhc.models import zoo_entry
from lhc.onnx_io import load_model
from lhc.onnx_model import OnnxModel
from lhc.options.data import SomeSamples
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.inputs.samples import has_labels, load_task
from lhc.samples.metrics import METRICS, Array
from lhc.samples.task import DataSource, Task
from tests.conftest import Cli
from tests.networks import parsed

Arrays = dict[str, Array]

MODEL = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 2, 3] image, int64[N, T] tokens, float rate) => (float[N, 2, 3] y) { y = Mul (image, rate) }"""


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return load_model(onnx.parser.parse_model(MODEL))


def arrays(samples: int = 23) -> Arrays:
    """Floats and integers of other widths than the model takes, one value without axes, and labels."""
    rng = np.random.default_rng(samples)
    return {
        "image": rng.normal(size=(samples, 2, 3)),
        "tokens": rng.integers(0, 99, (samples, 4), dtype=np.int32),
        "rate": np.array(0.5),
        "labels": rng.integers(0, 10, samples),
    }


def rows(given: Arrays, start: int, stop: int | None) -> Arrays:
    return {name: array[start:stop] if array.ndim else array for name, array in given.items()}


def write_npz(path: Path, given: Arrays) -> Path:
    np.savez(path, **given)  # type: ignore[arg-type]
    return path


def write_folder(folder: Path, given: Arrays) -> Path:
    folder.mkdir()
    for name, array in given.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def write_shards(folder: Path, given: Arrays, save: Callable[..., None] = np.savez) -> Path:
    folder.mkdir()
    for number, (start, stop) in enumerate([(0, 7), (7, 7), (7, 8), (8, None)]):
        save(folder / f"{number}.npz", **rows(given, start, stop))
    return folder


def blocks(given: Arrays) -> Iterator[Arrays]:
    for start, stop in [(0, 1), (1, 12), (12, 12), (12, None)]:
        yield rows(given, start, stop)


def a_task(given: Arrays) -> Task:
    inputs = {name: array for name, array in given.items() if name != "labels"}
    return Task(inputs, given["labels"], METRICS["accuracy"])


FORMS: dict[str, Callable[[Path, Arrays], DataSource]] = {
    "arrays": lambda path, given: given,
    "task": lambda path, given: a_task(given),
    "npz": lambda path, given: write_npz(path / "data.npz", given),
    "path of an npz": lambda path, given: str(write_npz(path / "data.npz", given)),
    "folder of npy": lambda path, given: write_folder(path / "arrays", given),
    "shards": lambda path, given: write_shards(path / "shards", given),
    "packed shards": lambda path, given: write_shards(path / "packed", given, np.savez_compressed),
    "function that yields": lambda path, given: lambda: blocks(given),
    "function that returns a list": lambda path, given: lambda: list(blocks(given)),
    "function that returns arrays": lambda path, given: lambda: given,
    "function that returns a task": lambda path, given: lambda: a_task(given),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_task(form: str, tmp_path: Path, model: OnnxModel) -> None:
    given = arrays()
    task = load_task(FORMS[form](tmp_path, given), model)
    assert task.metric.name == "accuracy"
    assert task.metric.chosen is form.endswith("task")
    assert (len(task), set(task.inputs)) == (23, {"image", "tokens", "rate"})
    for where, feeds in task.blocks(5):
        np.testing.assert_array_equal(feeds["image"], given["image"][where].astype(np.float32), strict=True)
        np.testing.assert_array_equal(feeds["tokens"], given["tokens"][where].astype(np.int64), strict=True)
        np.testing.assert_array_equal(feeds["rate"], np.float32(0.5), strict=True)
    assert task.targets is not None
    np.testing.assert_array_equal(task.targets, given["labels"], strict=True)
    expected = Task(
        {
            "image": given["image"].astype(np.float32),
            "tokens": given["tokens"].astype(np.int64),
            "rate": np.array(0.5, np.float32),
        },
        given["labels"],
        METRICS["accuracy"],
    )
    assert task.digest == expected.digest
    order = np.array([22, 0, 7, 7, 6, 8, 1])
    assert task.take(order).digest == expected.take(order).digest


@pytest.mark.parametrize("form", FORMS)
def test_every_form_can_be_cut_to_its_first_samples(form: str, tmp_path: Path, model: OnnxModel) -> None:
    given = arrays()
    given["image"][9] = np.nan
    task = load_task(FORMS[form](tmp_path, given) if "task" not in form else given, model, samples=9)
    assert task.digest == load_task(rows(arrays(), 0, 9), model).digest


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1e300, r"'image', sample 20: 1e\+300 is beyond the range of float32.*to 3.403e\+38\)"),
        (np.nan, "'image' holds NaN or infinite values"),
    ],
    ids=["too large", "NaN"],
)
def test_values_that_are_not_finite_in_the_type_of_the_model_are_refused(
    form: str, value: float, message: str, tmp_path: Path, model: OnnxModel
) -> None:
    given = arrays()
    given["image"][20, 1, 1] = value
    with pytest.raises(DataError, match=message):
        load_task(FORMS[form](tmp_path, given), model)


SMALL_TYPES = """<ir_version: 8, opset_import: ["" : 17]>
g (int32[N, T] tokens, uint8[N] code, float16[N, 2] x, int8 flag) => (float16[N, 2] y) { y = Identity (x) }"""


@dataclass(frozen=True)
class Beyond:
    id: str
    name: str
    array: Array
    message: str


def _tokens(value: int, dtype: str = "int64") -> Array:
    array = np.zeros((23, 4), dtype)
    array[17, 2] = value
    return array


BEYOND = [
    Beyond("wraps to 3", "tokens", _tokens(2**32 + 3), "'tokens', sample 17: 4294967299 is beyond the range of int32"),
    Beyond("far below", "tokens", _tokens(-(2**31) - 1), r"-2147483649 is .* int32.*\(-2147483648 to 2147483647\)"),
    Beyond("unsigned to signed", "tokens", _tokens(2**31, "uint32"), "2147483648 is beyond the range of int32"),
    Beyond(
        "largest of all", "tokens", _tokens(2**64 - 1, "uint64"), "18446744073709551615 is beyond the range of int32"
    ),
    Beyond(
        "negative", "code", _tokens(-1, "int8")[:, 2], r"'code', sample 17: -1 is beyond the range of uint8.*\(0 to 255"
    ),
    Beyond("half precision", "x", _tokens(70000)[:, :2].astype("f4") + _tokens(70000)[:, 2:], r"70000.0 is .* float16"),
    Beyond("without axes", "flag", np.array(128), r"'flag': 128 is beyond the range of int8.*\(-128 to 127\)"),
]


@pytest.mark.parametrize("form", ["arrays", "task", "npz", "folder of npy", "shards", "function that yields"])
@pytest.mark.parametrize("case", BEYOND, ids=lambda case: case.id)
def test_numbers_that_the_model_has_no_room_for_are_refused(case: Beyond, form: str, tmp_path: Path) -> None:
    """They would wrap: 2^32 + 3 would be 3."""
    small = load_model(onnx.parser.parse_model(SMALL_TYPES))
    fitting: Arrays = {
        "tokens": np.full((23, 4), 2**31 - 1, np.int64),
        "code": np.full(23, 255, np.int64),
        "x": np.full((23, 2), -65504.0),
        "flag": np.array(-128),
        "labels": np.zeros(23, np.int64),
    }
    fits = load_task(FORMS[form](tmp_path, fitting), small)
    for name, array in fitting.items():
        np.testing.assert_array_equal(np.asarray(fits.inputs.get(name, fits.targets)), array)
    folder = tmp_path / "beyond"
    folder.mkdir()
    data = FORMS[form](folder, fitting | {case.name: case.array})
    with pytest.raises(DataError, match=case.message):
        load_task(data, small)
    if case.array.ndim:
        assert len(load_task(data, small, samples=17)) == 17, "what lies behind is not looked at"


@pytest.mark.slow
@pytest.mark.analog
def test_sensitivities_are_the_same_bytes_in_every_form(tmp_path: Path) -> None:
    task = zoo_entry("digits").task().head(150)
    given = {"x": np.asarray(task.inputs["x"]), "labels": np.asarray(task.targets)}
    tables = [
        lhc.sensitivity("digits-narrow", FORMS[form](tmp_path, given), draws=2, include=("conv1", "linear"))
        for form in ("npz", "folder of npy", "packed shards", "function that yields")
    ]
    reports = {repr(table).encode() for table in tables}
    assert len(reports) == 1


@dataclass(frozen=True)
class Misfit:
    id: str
    change: Callable[[Arrays], Arrays]
    message: str


def _with(**changes: Array) -> Callable[[Arrays], Arrays]:
    return lambda given: given | changes


def _without(name: str) -> Callable[[Arrays], Arrays]:
    return lambda given: {key: array for key, array in given.items() if key != name}


MISFITS = [
    Misfit("input missing", _without("tokens"), r"no array for input 'tokens'. Keys must be the input names"),
    Misfit("one too many", _with(extra=np.zeros(23)), "'extra' is neither an input nor the labels"),
    Misfit("one too many: the remedy", _with(extra=np.zeros(23)), "for the labels; leave out what is neither"),
    Misfit(
        "other type",
        _with(image=np.zeros((23, 2, 3), np.uint8)),
        "'image' is uint8, the model takes float32; convert it and scale",
    ),
    Misfit(
        "other shape", _with(image=np.zeros((23, 3, 2))), r"'image' has shape \(23, 3, 2\), the model takes \(N, 2, 3"
    ),
    Misfit(
        "axes where there are none", _with(rate=np.ones(23)), r"'rate' has shape \(23,\).*one value for all samples"
    ),
    Misfit("no axes where there are some", _with(image=np.array(1.0)), r"'image' has shape \(\), .*first axis samples"),
    Misfit("no samples", lambda given: rows(given, 0, 0), "holds no samples: every array is empty; give at least one"),
]


@pytest.mark.parametrize("form", ["arrays", "npz", "folder of npy", "shards", "function that yields"])
@pytest.mark.parametrize("case", MISFITS, ids=lambda case: case.id)
def test_data_that_does_not_fit_the_model_is_refused(case: Misfit, form: str, tmp_path: Path, model: OnnxModel) -> None:
    with pytest.raises(DataError, match=case.message):
        load_task(FORMS[form](tmp_path, case.change(arrays())), model)


@pytest.mark.parametrize(
    ("declared", "shape", "told"),
    [
        ("N, 1, 8, 8", (5, 8, 8, 1), "; np.transpose(array, (0, 3, 1, 2)) fits: one of both has channels last"),
        ("N, 8, 8, 3", (5, 3, 8, 8), "; np.transpose(array, (0, 2, 3, 1)) fits: one of both has channels last"),
        ("N, 1, 8, 8", (5, 3, 8, 8), "; they differ on axis 1 alone, 3 instead of 1"),
        ("1, 1, 8, 8", (1, 3, 8, 8), "; they differ on axis 1 alone, 3 instead of 1"),
        ("6, 1, 8", (6, 5, 8), "; if axis 1 counts samples, say --sample-axis x=1"),
        ("6, N, 8", (6, 5, 7), "first axis samples"),
        ("N, 4, 8", (5, 3, 7), "first axis samples"),
        ("N, 16", (5, 4, 4, 1), "first axis samples"),
    ],
    ids=[
        "channels last",
        "channels second",
        "channels alone",
        "a batch of 1",
        "time first",
        "time and more",
        "two axes",
        "more axes",
    ],
)
def test_what_may_be_wrong_with_axes_is_told(declared: str, shape: tuple[int, ...], told: str) -> None:
    text = (
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[{declared}] x) => (float[{declared}] y) {{ y = Relu(x) }}'
    )
    with pytest.raises(DataError) as refused:
        load_task({"x": np.zeros(shape, np.float32)}, load_model(parsed(text, {})))
    assert told in str(refused.value)
    assert ("--sample-axis" in str(refused.value)) == ("--sample-axis" in told)


STRINGS = """<ir_version: 8, opset_import: ["" : 17]>
g (string[N] words, float[N, 4] x) => (float[N, 4] y, string[N] same) {
  [fc] y = MatMul (x, w)
  same = Identity (words)
}"""


@pytest.mark.analog
@pytest.mark.parametrize("form", ["npz", "folder of npy", "shards"])
def test_strings_are_text_in_files_and_come_back_as_text(cli: Cli, form: str, tmp_path: Path) -> None:
    proto = parsed(STRINGS, {"w": np.eye(4, dtype=np.float32)})
    onnx.save_model(proto, str(tmp_path / "strings.onnx"))
    given: Arrays = {"words": np.array([f"wörd {i}" for i in range(9)]), "x": np.ones((9, 4), np.float32)}
    objects = given | {"words": given["words"].astype(object)}
    data = FORMS[form](tmp_path, given)
    assert isinstance(data, Path)
    assert load_task(data, load_model(proto)).digest == load_task(objects, load_model(proto)).digest
    model, out = str(tmp_path / "strings.onnx"), str(tmp_path / "out.npz")
    command = ["run", model, "--data", str(data), "--draws", "1", "--all-analog", "--metric", "nmse", "--outputs", out]
    result = cli(*command)
    assert result.exit_code == 0, result.stderr
    np.testing.assert_array_equal(np.load(out)["same"], given["words"])


@pytest.mark.parametrize("form", ["arrays", "npz", "folder of npy"])
def test_lengths_that_differ_are_refused_even_where_fewer_samples_are_asked_for(
    form: str, tmp_path: Path, model: OnnxModel
) -> None:
    source = FORMS[form](tmp_path, arrays() | {"labels": np.zeros(22, np.int64)})
    with pytest.raises(DataError, match=r"different length: '[^{]*'labels': 22 samples; "):
        load_task(source, model, samples=5)


def test_targets_that_are_no_classes_need_a_metric_to_be_named(tmp_path: Path, model: OnnxModel) -> None:
    source = write_folder(tmp_path / "data", arrays() | {"labels": np.zeros((23, 2, 3), np.float32)})
    with pytest.raises(UsageError, match="labels are float32, not integer class indices"):
        load_task(source, model)
    assert load_task(source, model, METRICS["mse"]).metric is METRICS["mse"]


def test_another_key_of_the_targets(tmp_path: Path, model: OnnxModel) -> None:
    given = arrays()
    given["classes"] = given.pop("labels")
    folder = write_folder(tmp_path / "data", given)
    assert load_task(folder, model, label_key="classes").targets is not None
    with pytest.raises(DataError, match="or --label-key classes"):
        load_task(folder, model)


def test_an_input_that_is_called_as_labels_are_needs_another_key_of_these() -> None:
    text = MODEL.replace("image", "labels")
    renamed = load_model(onnx.parser.parse_model(text))
    given = arrays()
    given["classes"], given["labels"] = given.pop("labels"), given.pop("image")
    unlabelled = {name: array for name, array in given.items() if name != "classes"}
    with pytest.raises(DataError, match="'labels' is an input of the model, and the key of labels; name another key"):
        load_task(unlabelled, renamed)
    assert load_task(unlabelled, renamed, label_key="none").targets is None
    task = load_task(given, renamed, label_key="classes")
    assert set(task.inputs) == {"labels", "tokens", "rate"}
    assert task.targets is not None


def test_what_is_no_data_is_refused(model: OnnxModel) -> None:
    with pytest.raises(UsageError, match="data is of type int; give a path"):
        load_task(3, model)  # type: ignore[arg-type]


def test_a_single_array_file_is_refused_with_what_to_give_instead(tmp_path: Path, model: OnnxModel) -> None:
    np.save(tmp_path / "image.npy", arrays()["image"])
    with pytest.raises(DataError, match=r"image.npy: one array; give its folder"):
        load_task(tmp_path / "image.npy", model)


DOCS = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.analog
def test_both_forms_of_the_documented_samples_print_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export, *measure = re.findall(r"^\$ lhc (.*)$", DOCS, re.MULTILINE)
    assert len(measure) == 2
    run(export)
    ((name, module),) = re.findall(r"^`(\w+\.py)`\n\n```python\n(.*?)```", DOCS, re.DOTALL | re.MULTILINE)
    Path(name).write_text(module)
    (printed,) = {run(command) for command in measure}
    assert "layer1.0.expand" in printed
    assert "3 draws, 150 samples" in printed  # chips are calibrated on the others


def run(command: str) -> str:
    """What the command prints."""
    result = CliRunner().invoke(app, shlex.split(command), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not has_labels(tmp_path / "pipe", "labels")


def test_an_array_of_another_name_is_told_once(
    cli: Cli, tmp_path: Path, model: OnnxModel, caplog: pytest.LogCaptureFixture
) -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> one (float[N, 3] x) => (float[N, 3] y) { y = Relu (x) }"""
    )
    onnx.save_model(proto, tmp_path / "one.onnx")
    for name, times in (("tokens", 1), ("x", 0)):
        data = write_npz(tmp_path / f"{name}.npz", {name: np.ones((8, 3), np.float32)})
        found = cli("run", tmp_path / "one.onnx", "--data", data, "--metric", "nmse", "--draws", 1)
        assert found.exit_code == 0, found.stderr
        assert caplog.text.count(f"array 'tokens' of {data} is taken for the only input, 'x'") == times
        caplog.clear()
    told: list[str] = []
    assert len(load_task(arrays(), model, tell=told.append)) == 23
    assert not told


def test_labels_of_a_folder_are_seen(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    assert not has_labels(tmp_path, "labels")
    np.save(tmp_path / "labels.npy", np.zeros(2, np.int64))
    assert has_labels(str(tmp_path), "labels")
    assert not has_labels(tmp_path, "targets")


@pytest.mark.parametrize(
    ("samples", "skip", "told"),
    [
        (99_999, 0, ["digits-narrow: --samples 99999: the data holds only 797 samples"]),
        (100, 790, ["digits-narrow: --samples 100: the data holds only 7 samples after --skip 790"]),
        (797, 0, []),
        (None, 790, []),
    ],
    ids=["more than all", "more than are left", "all", "not said"],
)
def test_fewer_samples_than_were_asked_for_are_told_once(
    samples: int | None, skip: int, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    opened = open_model("digits-narrow")
    for _ in range(2):
        opened.chosen(SomeSamples(samples=samples, skip=skip))
    assert [record.getMessage() for record in caplog.records] == told


def test_labels_are_found_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    np.savez(tmp_path / "shards" / "0.npz", x=np.zeros((4, 2)), labels=np.zeros(4))
    np.savez(tmp_path / "shards" / "1.npz", x=np.zeros((4, 2)), labels=np.zeros(4))
    assert has_labels(tmp_path / "shards", "labels")
    assert not has_labels(tmp_path / "shards", "classes")
    assert has_labels("digits", "labels")
    assert has_labels(tmp_path / "a.txt", "labels")  # a text is its own target
    assert not has_labels(Task({"x": np.zeros((4, 2))}, None, METRICS["kl"]), "labels")


@pytest.mark.parametrize("form", [form for form in FORMS if form.endswith("arrays") or "npz" in form or "task" in form])
def test_few_samples_of_data_that_is_sorted_by_class_are_told(form: str, tmp_path: Path, model: OnnxModel) -> None:
    given = arrays()
    given["labels"] = np.sort(np.arange(23) % 4)
    source, told = FORMS[form](tmp_path, given), list[str]()
    load_task(source, model, samples=12, tell=told.append)
    assert [text.replace(text[text.index(" of ") : text.index(" hold")], "") for text in told] == [
        "the first 12 samples hold 2 of its 4 classes, as it is sorted by class; shuffle it, or leave out --samples"
    ]


@pytest.mark.parametrize(("order", "samples"), [("sorted", None), ("sorted", 1), ("sorted", 20), ("mixed", 2)])
def test_classes_of_other_samples_are_not_told(order: str, samples: int | None, model: OnnxModel) -> None:
    labels, told = np.arange(23) % 4, list[str]()
    given = arrays() | {"labels": np.sort(labels) if order == "sorted" else labels}
    load_task(given, model, samples=samples, tell=told.append)
    assert not told
