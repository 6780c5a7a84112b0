"""`lhc report`, `lhc diff` and `--report`, as users run them."""

import json
import shutil
import sqlite3
import sys
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

import lhc
from lhc.cli.framework.app import app
from lhc.onnx_io import load_model, read_plan
from lhc.plan import Plan
from lhc.report.document.report import Report
from lhc.report.exports.formats import read_report
from lhc.store import ResultCache
from tests.cli.conftest import small_data, small_model

pytestmark = pytest.mark.analog


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == code, result.stderr
    assert "Traceback" not in result.stderr
    return result


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small network placed, the report on it and its results."""
    folder = tmp_path_factory.mktemp("made")
    model, data = folder / "small.onnx", folder / "data.npz"
    onnx.save_model(small_model(), model)
    np.savez(data, **small_data())  # type: ignore[arg-type]
    options = ("--objective", "macs", "--max-drop", 0.9, "--draws", 2, "--work-dir", folder / "work")
    run("partition", model, "--data", data, *options, "--report", folder / "first.html")
    return folder


@pytest.fixture
def placed(made: Path, tmp_path: Path) -> Path:
    """A placed model, with its report beside it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "small.lhc.onnx"


def test_partition_and_run_add_to_one_report(placed: Path, data_file: Path, work: Path) -> None:
    first = placed.with_name("first.html").read_text()
    assert first.startswith("<!doctype html>")
    assert "Accuracy over time was not measured" in first
    out = placed.with_name("second.json")
    times = ("--t-inference", "0,86400", "--draws", 2, "--work-dir", work)
    result = run("run", placed, "--data", data_file, *times, "--report", out)
    assert f"written: {out}" in result.stderr
    later = run("report", placed, "--work-dir", work, "--json")
    assert later.stdout == out.read_text()
    report = read_report(out)
    assert [point.evaluation.t_s for point in report.times] == [0, 86400]
    assert report.versions["lhc"].startswith(lhc.__version__)
    assert report.model == "small.lhc.onnx"
    run("run", placed, "--data", data_file, "--t-inference", 3600, *times[2:], "--quiet")
    assert [p.evaluation.t_s for p in lhc.report_of(placed, work_dir=work).times] == [0, 3600, 86400]


def test_a_report_from_the_annotations_alone(placed: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("r.html", "r.md", "r.json", "r.netron.json", "r.node_data.json")]
    options = [option for path in outputs for option in ("-o", path)]
    result = run("report", placed, "--work-dir", tmp_path / "nowhere", *options)
    assert result.stdout == ""
    assert not (tmp_path / "nowhere").exists()
    report = read_report(outputs[2])
    assert report.commands == ()
    assert report.plan.outcome is not None
    assert run("report", outputs[2]).stdout == outputs[1].read_text(), "from the JSON, as Markdown"
    assert json.loads(outputs[3].read_text())["signature"] == "netron:attachment"


def test_a_card_is_printed_or_the_markdown_file(placed: Path, tmp_path: Path) -> None:
    card, page = tmp_path / "README.md", tmp_path / "r.html"
    printed = run("report", placed, "--format", "card").stdout
    assert printed.startswith("---\nlibrary_name: onnx\n")
    assert run("report", placed, "--format", "card", "-o", card, "-o", page).stdout == ""
    assert card.read_text() == printed
    assert page.read_text().startswith("<!doctype html>")


def test_what_mlflow_needs_is_told(placed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert "pip install 'lhc[mlflow]'" in run("report", placed, "--mlflow", code=3).stderr


def test_a_folder_of_results(placed: Path, work: Path) -> None:
    assert run("report", work).stdout == run("report", placed, "--work-dir", work).stdout
    assert "no lhc annotations" not in run("report", work).stderr


def test_the_schema_is_printed(placed: Path, work: Path) -> None:
    import jsonschema

    schema = json.loads(run("report", "--schema").stdout)
    jsonschema.validate(json.loads(run("report", placed, "--work-dir", work, "--json").stdout), schema)


def test_a_changed_model_is_warned_of(placed: Path) -> None:
    model = onnx.load(placed)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]) + 1
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, model.graph.initializer[0].name))
    onnx.save_model(model, placed)
    result = run("report", placed)
    assert "has changed since lhc annotated it" in result.stderr
    assert "> small.lhc.onnx has changed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name an annotated model"),
        (("MODEL",), "no lhc annotations; 'lhc partition' makes them"),
        (("FOLDER",), "holds no report"),
        (("MODEL", "-o", "x.doc"), "a report ends in .html"),
        (("MODEL", "-o", "TAKEN"), "exists; --force replaces it"),
        (("MODEL", "-o", "nowhere/x.html"), "not a file name in an existing folder"),
        (("NO_REPORT",), "not a report of schema 1"),
        (("MODEL", "--format", "card", "-o", "x.html"), "--format card is Markdown"),
        (("MODEL", "--format", "json", "-o", "x.md"), "--format json prints"),
        (("MODEL", "--json", "-o", "x.html"), "--json prints"),
        (("MODEL", "--json", "--format", "card"), "--json and --format card ask for two forms"),
        (("MODEL", "--schema"), "--schema prints the schema of every report"),
    ],
    ids=[
        "nothing",
        "no plan",
        "an empty folder",
        "an unknown kind",
        "a file that exists",
        "no folder",
        "other json",
        "a card as a page",
        "json as a page",
        "json and a page",
        "two forms",
        "a schema of a model",
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], message: str, model_file: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken.html"
    taken.write_text("mine")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    places = {
        "MODEL": model_file,
        "FOLDER": tmp_path / "empty",
        "TAKEN": taken,
        "NO_REPORT": tmp_path / "other.json",
    }
    result = run("report", *(places.get(argument, argument) for argument in arguments), code=2)
    assert message in result.stderr
    assert taken.read_text() == "mine"


def test_files_are_replaced_when_forced(placed: Path) -> None:
    path = placed.with_name("first.html")
    before = path.read_bytes()
    run("report", placed, "-o", path, code=2)
    assert path.read_bytes() == before
    run("report", placed, "-o", path, "--force")
    assert path.read_bytes() != before, "without the command that was recorded elsewhere"


def test_a_place_for_the_report_is_checked_before_any_work(model_file: Path, data_file: Path) -> None:
    bad = ("--report", model_file.with_name("report.docx"))
    assert (
        "a report ends in"
        in run("partition", model_file, "--objective", "macs", "--data", data_file, *bad, code=2).stderr
    )
    assert not model_file.with_name("small.lhc.onnx").exists()
    good = ("--report", model_file.with_name("report.html"))
    result = run("run", model_file, "--data", data_file, "--all-analog", *good, code=2)
    assert "--report is about the placement, the hardware and the output that a model carries" in result.stderr


def test_a_report_of_another_schema_is_left_and_nothing_else_is_lost(placed: Path, data_file: Path, work: Path) -> None:
    plan = read_plan(load_model(placed))
    assert plan is not None
    name = sha256(plan.model_dump_json().encode()).hexdigest()
    with ResultCache(work) as cache:
        assert len(cache.documents("report", name)) == 1
        cache.update("report", name, lambda _: b'{"schema_version": 99}')
    out = placed.with_name("again.html")
    result = run("run", placed, "--data", data_file, "--draws", 2, "--work-dir", work, "--report", out)
    assert "warning: the report is not kept for later" in result.stderr
    assert "accuracy" in result.stdout
    assert out.read_text().startswith("<!doctype html>")
    later = run("report", placed, "--work-dir", work)
    assert "what was measured of it before cannot be read" in later.stderr
    assert later.stdout.startswith("# small.lhc.onnx")


def test_a_damaged_report_is_not_believed_and_kept_anew(placed: Path, data_file: Path, work: Path) -> None:
    (path,) = work.glob("*.sqlite3")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE documents SET text = replace(text, '0', '1') WHERE kind = 'report'")
    report = run("report", placed, "--work-dir", work, "--json")
    assert json.loads(report.stdout)["times"] == []
    result = run("run", placed, "--data", data_file, "--draws", 2, "--work-dir", work)
    assert "not kept" not in result.stderr
    assert len(json.loads(run("report", placed, "--work-dir", work, "--json").stdout)["times"]) == 1


@pytest.mark.slow
def test_the_budget_is_not_met_and_the_report_says_so(model_file: Path, data_file: Path) -> None:
    out = model_file.with_name("r.md")
    arguments = ("--data", data_file, "--max-drop", 0, "--draws", 2, "--strategy", "all-analog", "--report", out)
    run("partition", model_file, *arguments, code=1)
    assert out.read_text().splitlines()[0].startswith("# small.lhc.onnx on lionheart: ")
    assert "within the budget" not in out.read_text().splitlines()[0]


def test_diff(placed: Path, model_file: Path, data_file: Path) -> None:
    other = model_file.with_name("other.onnx")
    options = ("--max-drop", 0.9, "--draws", 2, "--force-digital", "stem", "-o", other)
    run("partition", model_file, "--objective", "macs", "--data", data_file, *options)
    result = run("diff", placed, other)
    assert "analog -> digital" in result.stdout
    assert "placed otherwise" in result.stdout.splitlines()[-1]
    document = json.loads(run("diff", placed, other, "--json").stdout)
    assert document["schema_version"] == 1
    assert document["same_network"] is True
    assert "stem" in [layer["name"] for layer in document["layers"] if layer["moved"]]
    assert run("diff", placed, placed).stdout == "no difference\n"
    assert "no lhc annotations" in run("diff", placed, model_file, code=2).stderr
    assert run("diff", placed, model_file.with_name("missing.onnx"), code=3).stderr.startswith("error: ")


def test_diff_of_machines(placed: Path, tmp_path: Path) -> None:
    run("hardware", "lionheart", "-o", tmp_path / "mine.yaml")
    (tmp_path / "other.yaml").write_text((tmp_path / "mine.yaml").read_text().replace("rows: 256", "rows: 128"))
    told = run("diff", tmp_path / "mine.yaml", tmp_path / "other.yaml").stdout
    assert "hardware tiles.rows: 256 -> 128\n" in told
    assert run("diff", "lionheart", tmp_path / "mine.yaml").stdout == "no difference\n"
    document = json.loads(run("diff", "lionheart", tmp_path / "other.yaml", "--json").stdout)
    assert document["hardware"]["tiles.rows"] == [256, 128]
    assert "as a machine's YAML is" in run("diff", placed, "lionheart", code=2).stderr


@pytest.mark.slow
def test_attribute_and_diff_call_layers_by_their_modules(model_file: Path, data_file: Path, work: Path) -> None:
    model = onnx.load(model_file)
    scopes = "['', 'stem', 'stem.conv', 'conv2d']"
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    onnx.save_model(model, model_file)
    options = ("--data", data_file, "--draws", 2, "--work-dir", work)
    told = ("attribute", model_file, *options, "--include", "stem")
    assert "stem.conv (stem) " in run(*told).stdout
    document = json.loads(run(*told, "--json").stdout)
    assert list(document["layers"]) == ["stem"]
    assert "titles" not in document
    placed = [model_file.with_name(f"{name}.onnx") for name in ("one", "two")]
    for path, strategy in zip(placed, ("all-analog", "all-digital"), strict=True):
        run("partition", model_file, *options, "--max-drop", 0.9, "--strategy", strategy, "-o", path)
    assert "stem.conv (stem) " in run("diff", *placed).stdout


@pytest.mark.slow
def test_diff_of_unrelated_networks_says_so_first(placed: Path, data_file: Path) -> None:
    model = onnx.load(placed.with_name("small.onnx"))
    for node in model.graph.node:
        node.name = f"other_{node.name}"
    for tensor in model.graph.initializer:
        for node in model.graph.node:
            node.input[:] = [f"other_{name}" if name == tensor.name else name for name in node.input]
        tensor.name = f"other_{tensor.name}"
    path = placed.with_name("unrelated.onnx")
    onnx.save_model(model, path)
    run("partition", path, "--data", data_file, "--strategy", "all-digital", "--draws", 2, "--max-drop", 0.9)
    unrelated = path.with_name("unrelated.lhc.onnx")
    lines = run("diff", placed, unrelated).stdout.splitlines()
    assert lines[0].startswith(f"{placed}, {unrelated}: different networks: of 3 and 3 layers, 0 have the same name")
    assert not any(line.startswith(("stem", "other_stem")) for line in lines)
    assert len(json.loads(run("diff", placed, unrelated, "--json").stdout)["layers"]) == 6


def test_the_same_in_python(model_file: Path, data_file: Path, tmp_path: Path) -> None:
    result = lhc.partition(model_file, data_file, objective="macs", max_drop=0.9, draws=2)
    report = lhc.report_of(result, name="mine", command="my script")
    assert isinstance(report, Report)
    assert (report.model, report.commands, report.plan) == ("mine", ("my script",), result.plan)
    times = lhc.evaluate(result.model, data_file, times=[0.0, 60.0], draws=2)
    both = lhc.report_of(result, times=times, work_dir=tmp_path)
    assert [point.evaluation for point in both.times] == list(times)
    assert lhc.report_of(tmp_path) == both
    assert lhc.diff(result.plan, result.model).empty
    assert isinstance(report.plan, Plan)
    assert np.isfinite(both.times[0].evaluation.mean)


def test_a_model_whose_sizes_are_open(placed: Path, work: Path) -> None:
    model = onnx.load(placed)
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.ClearField("dim_value")
        dimension.dim_param = "S"
    del model.graph.value_info[:]
    onnx.save_model(model, placed)
    report = lhc.report_of(placed)
    assert report.costs is None
    assert (report.tiles, report.operators) == (3, 6)
    assert "Latency and energy are not known" in run("report", placed, "--work-dir", work.with_name("other")).stdout


@pytest.mark.slow
def test_what_explores_adds_to_the_report(placed: Path, model_file: Path, data_file: Path, work: Path) -> None:
    options = ("--data", data_file, "--draws", 2, "--work-dir", work, "--quiet")
    run("pareto", model_file, *options, "--points", 2)
    out = placed.with_name("robust.json")
    run("robustness", placed, *options, "--chips", 3, "--t-inference", "0,60", "--report", out)
    run("attribute", placed, *options)
    report = lhc.report_of(placed, work_dir=work)
    assert report.front is not None
    assert report.front.verified
    assert [point.evaluation.t_s for point in report.over_time] == [0, 60]
    assert report.robustness == read_report(out).robustness
    assert report.attribution is not None
    assert list(report.attribution.layers) == ["stem", "hidden", "head"]
    page = run("report", placed, "--work-dir", work).stdout
    assert "was not measured" not in page
    refused = run("robustness", model_file, *options, "--report", model_file.with_name("x.html"), code=2)
    assert "--report is about the placement" in refused.stderr


def test_robustness_needs_a_placement(model_file: Path, data_file: Path) -> None:
    refused = run("robustness", model_file, "--data", data_file, code=2)
    assert "carries no placement; 'lhc partition' makes one, --all-analog takes every layer" in refused.stderr


@pytest.mark.slow
def test_attribute_takes_the_machine_of_the_annotations(model_file: Path, data_file: Path, work: Path) -> None:
    options = ("--data", data_file, "--draws", 2, "--work-dir", work, "--quiet")
    run("partition", model_file, *options, "--hardware", "ideal")
    placed = model_file.with_suffix(".lhc.onnx")
    layers = json.loads(run("attribute", placed, *options, "--json").stdout)["layers"]
    assert [layer["effects"] for layer in layers.values()] == [{}, {}, {}], "an ideal machine has no effects"
    layers = json.loads(run("attribute", placed, *options, "--hardware", "lionheart", "--json").stdout)["layers"]
    assert all("programming" in layer["effects"] for layer in layers.values())


@pytest.mark.slow
def test_a_front_of_a_machine_of_ones_own_is_in_its_report(
    model_file: Path, data_file: Path, work: Path, tmp_path: Path
) -> None:
    chip = tmp_path / "chip.yaml"
    chip.write_text(run("hardware", "lionheart").stdout.replace("rows: 256", "rows: 128"), encoding="utf-8")
    options = ("--data", data_file, "--draws", 2, "--work-dir", work, "--quiet", "--hardware", chip)
    run("partition", model_file, *options, "--max-drop", 0.9)
    placed = model_file.with_name("small.lhc.onnx")
    assert "was not measured" in run("report", placed, "--work-dir", work).stdout
    run("pareto", model_file, *options, "--points", 2)
    front = lhc.report_of(placed, work_dir=work).front
    assert front is not None
    assert front.verified
