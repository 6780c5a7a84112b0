"""The forms and JSON fields that users and scripts rely on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from typer.testing import CliRunner

from lhc.cli.framework.app import app
from lhc.onnx_io import load_model, read_plan
from lhc.plan import Plan
from lhc.support.files import write_npz
from tests.cli.conftest import small_data, small_model
from tests.conftest import Cli

pytestmark = pytest.mark.analog

ROOT = Path(__file__).resolve().parents[2]


def run_json(*arguments: object) -> dict[str, object]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.stderr
    document: dict[str, object] = json.loads(result.stdout)
    assert document["schema_version"] == 1
    return document


def rows(document: dict[str, object], key: str = "layers") -> list[dict[str, object]]:
    value = document[key]
    assert isinstance(value, list)
    return value


def partition(model: Path, data: Path, *more: object, max_drop: object = "100%", draws: int = 2) -> tuple[object, ...]:
    """The command that the tests here place the small network by."""
    options = ("--objective", "macs", "--max-drop", max_drop, "--draws", draws)
    return "partition", model, "--data", data, *options, *more


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The small network as `lhc partition` writes it."""
    folder = tmp_path_factory.mktemp("annotated")
    model, data, out = folder / "small.onnx", folder / "data.npz", folder / "out.onnx"
    onnx.save_model(small_model(), model)
    np.savez(data, **small_data())  # type: ignore[arg-type]
    run_json(*partition(model, data, "-o", out))
    return out.read_bytes()


def test_analyze(model_file: Path) -> None:
    document = run_json("analyze", model_file)
    layers = rows(document)
    assert [(r["name"], r["op_type"], r["eligible"], r["macs"], r["tiles"]) for r in layers] == [
        ("stem", "Conv", True, 8 * 2 * 9 * 36, 1),
        ("hidden", "MatMul", True, 48, 1),
        ("head", "Gemm", True, 24, 1),
    ]
    assert all({"reason", "detail", "parameters"} <= set(r) for r in layers)
    assert document["totals"] == {
        "macs": 5184 + 48 + 24, "activation_macs": 0, "candidates": 3, "eligible": 3, "eligible_mac_fraction": 1.0,
        "tiles": 3, "uncounted": [],
    }  # fmt: skip


def test_sensitivity(model_file: Path, data_file: Path) -> None:
    document = run_json("sensitivity", model_file, "--data", data_file, "--samples", 20, "--draws", 3)
    assert (document["metric"], document["draws"]) == ("kl", 3)
    assert document["samples"] + document["calibrated"] == 20  # type: ignore[operator]
    for row in rows(document):
        assert row["interval"][0] <= row["mean"] <= row["interval"][1]  # type: ignore[index]
        assert row["std"] > 0  # type: ignore[operator]
    assert [r["name"] for r in rows(document)] == ["stem", "hidden", "head"]


def test_partition(model_file: Path, data_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    document = run_json(*partition(model_file, data_file, "-o", out, max_drop=0.5, draws=3))
    assert document["baseline"]["metric"] == "accuracy"  # type: ignore[index]
    assert {"value", "drop", "interval"} <= set(document["result"])  # type: ignore[call-overload]
    assert document["within_budget"] is True
    assert document["held_out"] is False, "40 samples are too few to split"
    assert 0 < document["analog_mac_fraction"] <= 1  # type: ignore[operator]
    keys = {"name", "placement", "reason", "detail", "sensitivity", "macs", "tiles"}
    assert all(keys <= set(r) for r in rows(document))
    plan = read_plan(load_model(out))
    assert plan is not None
    assert {r["name"] for r in rows(document) if r["placement"] == "analog"} == plan.analog
    inspected = run_json("inspect", out)
    assert inspected["layers"] == document["layers"]
    assert inspected["stale"] is False


def test_default_output_and_summary_line(cli: Cli, model_file: Path, data_file: Path) -> None:
    result = cli(*partition(model_file, data_file, max_drop=0.5, draws=3))
    assert result.exit_code == 0
    last = result.stdout.strip().splitlines()[-1]
    assert last.startswith("analog ")
    assert " layers, " in last
    assert " % of MACs, " in last
    assert " tiles of 256x255, estimated energy " in last
    assert " times more than all digital, drop " in last
    assert last.endswith("<= 50.00 points")
    assert model_file.with_name("small.lhc.onnx").exists()


def test_run(cli: Cli, model_file: Path, data_file: Path, bare_machine: Path) -> None:
    cli(*partition(model_file, data_file, "--hardware", bare_machine))  # all samples judge
    annotated = model_file.with_name("small.lhc.onnx")
    document = run_json("run", annotated, "--data", data_file, "--t-inference", "0,3600,86400", "--draws", 4)
    assert [row["t_s"] for row in rows(document, "times")] == [0, 3600, 86400]
    assert all({"mean", "std", "interval", "drop"} <= set(row) for row in rows(document, "times"))
    labels = np.load(data_file)["labels"]
    session = onnxruntime.InferenceSession(str(model_file))
    digital = session.run(None, {"image": np.load(data_file)["image"]})[0].argmax(axis=1)
    assert document["digital"]["value"] == pytest.approx((digital == labels).mean())  # type: ignore[index]


def test_outputs_alone_without_labels(cli: Cli, model_file: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(9, 2, 6, 6)).astype(np.float32)
    data, out = tmp_path / "images.npz", tmp_path / "out.npz"
    np.savez(data, anything=images)
    result = cli("run", model_file, "--all-analog", "--data", data, "--outputs", out)
    assert (result.exit_code, result.stdout) == (0, "")
    analog = np.load(out)["logits"]
    digital = onnxruntime.InferenceSession(str(model_file)).run(None, {"image": images})[0]
    assert analog.shape == digital.shape
    assert not np.array_equal(analog, digital)
    assert np.linalg.norm(analog - digital) / np.linalg.norm(digital) < 0.6


def test_outputs_are_written_as_what_their_file_is_called(cli: Cli, model_file: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "images.npz", tmp_path / "out.npy"
    np.savez(data, image=np.zeros((2, 2, 6, 6), np.float32))
    result = cli("run", model_file, "--all-analog", "--data", data, "--outputs", out)
    assert result.exit_code == 2
    assert "out.npy: outputs are arrays by name; give a file that ends in .npz" in result.stderr
    assert not out.exists()


def test_same_command_twice_gives_the_same_bytes(
    cli: Cli, model_file: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of processes and threads, memory, the seed of hashes, the folder; nothing kept is shared."""
    first, second = tmp_path / "first", tmp_path / "second"

    def asked(folder: Path, *more: object) -> list[str]:
        folder.mkdir()
        command = partition(model_file, data_file, max_drop=0.3, draws=3)
        return [*map(str, (*command, "--json", "--work-dir", folder / "kept", "-o", folder / "out.onnx", *more))]

    command = asked(first)
    monkeypatch.chdir(first)
    here = cli(*command)
    elsewhere = subprocess.run(
        [sys.executable, "-m", "lhc", *asked(second, "--jobs", 2, "--memory", "50MB")],
        capture_output=True,
        check=True,
        cwd=second,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "2"},
    )
    assert here.exit_code == 0, here.stderr
    assert here.stdout_bytes == elsewhere.stdout
    assert (first / "out.onnx").read_bytes() == (second / "out.onnx").read_bytes()


def test_annotated_model_is_the_same_network(
    annotated: bytes, model_file: Path, data_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.onnx"
    out.write_bytes(annotated)
    onnx.checker.check_model(str(out), full_check=True)
    images = np.load(data_file)["image"]
    before, after = (
        onnxruntime.InferenceSession(str(path)).run(None, {"image": images})[0] for path in (model_file, out)
    )
    assert before.tobytes() == after.tobytes()


def test_stale_annotations_are_warned_of(cli: Cli, annotated: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    out.write_bytes(annotated)
    model = onnx.load(str(out))
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]) + 1
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, model.graph.initializer[0].name))
    onnx.save_model(model, str(out))
    result = cli("inspect", out)
    assert result.exit_code == 0
    assert "has changed since lhc annotated it" in result.stderr


def test_hardware_is_listed_and_printed(cli: Cli, tmp_path: Path, model_file: Path) -> None:
    listed = cli("hardware").stdout
    assert "lionheart: " in listed
    assert "ideal: " in listed
    printed = cli("hardware", "lionheart").stdout
    mine = tmp_path / "mine.yaml"
    mine.write_text(printed.replace("rows: 256", "rows: 8"))
    document = run_json("analyze", model_file, "--hardware", mine)
    assert [row["tiles"] for row in rows(document)] == [3, 1, 1]


def test_nothing_to_place_is_success(cli: Cli, tmp_path: Path) -> None:
    path, data = tmp_path / "relu.onnx", tmp_path / "x.npz"
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N, 3] x) => (float[N, 3] y) { y = Relu (x) }'
    onnx.save_model(onnx.parser.parse_model(text), str(path))
    np.savez(data, x=np.ones((5, 3), np.float32))
    result = cli("partition", path, "--data", data)
    assert result.exit_code == 0
    assert "nothing to place" in result.stdout
    assert result.stdout.strip().splitlines()[-1].startswith("analog 0/0 layers")


def test_zoo_export(cli: Cli, tmp_path: Path) -> None:
    model, data = tmp_path / "digits.onnx", tmp_path / "digits.npz"
    result = cli("export", "digits", "-o", model, "--data-out", data)
    assert result.exit_code == 0, result.stderr
    assert set(np.load(data).files) == {"x", "labels"}
    assert len(rows(run_json("analyze", model))) >= 8


def test_few_samples_cannot_show_a_small_budget(cli: Cli, model_file: Path, tmp_path: Path) -> None:
    """Five samples on which nothing changes say nothing of a drop of one point."""
    data = tmp_path / "five.npz"
    images = np.random.default_rng(0).normal(size=(5, 2, 6, 6)).astype(np.float32)
    digital = onnxruntime.InferenceSession(str(model_file)).run(None, {"image": images})[0]
    np.savez(data, image=images, labels=digital.argmax(axis=1))
    result = cli("partition", model_file, "--data", data, "--draws", "3")
    assert result.exit_code == 0
    assert result.stdout.strip().splitlines()[-1].startswith("analog 0/3 layers")


@pytest.mark.slow
def test_other_samples_are_never_surer_than_these(model_file: Path, data_file: Path, tmp_path: Path) -> None:
    for draws in (2, 3, 5):
        out = tmp_path / f"{draws}.onnx"
        result = run_json(*partition(model_file, data_file, "-o", out, draws=draws))["result"]
        these, others = result["chip_interval"], result["sample_interval"]  # type: ignore[index]
        assert others[0] <= these[0] <= these[1] <= others[1]


@pytest.mark.parametrize(
    ("form", "start"),
    [("csv", "layer,operator,analog"), ("markdown", "| layer | operator |"), ("latex", "\\begin{tabular}")],
)
def test_tables_in_other_forms(cli: Cli, form: str, start: str, model_file: Path) -> None:
    result = cli("analyze", model_file, "--format", form)
    assert result.exit_code == 0
    assert result.stdout.startswith(start)
    as_json = cli("analyze", model_file, "--format", "json")
    assert json.loads(as_json.stdout) == run_json("analyze", model_file)


def test_plan_is_written_edited_and_fed_back(cli: Cli, model_file: Path, data_file: Path, tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.yaml", tmp_path / "out.onnx"
    base = partition(model_file, data_file)
    run_json(*base, "-o", out, "--plan-out", plan)
    written = Plan.load(plan)
    assert written == read_plan(load_model(out))
    edited = plan.read_text().replace("placement: analog", "placement: digital", 1)
    plan.write_text(edited)
    document = run_json(*base, "-o", tmp_path / "edited.onnx", "--plan", plan)
    first = written.layers[0].name
    assert {r["name"] for r in rows(document) if r["placement"] == "analog"} == written.analog - {first}
    assert document["strategy"] == "plan"
    result = cli(*base, "-o", tmp_path / "x.onnx", "--plan-out", plan)
    assert result.exit_code == 2
    assert "exists" in result.stderr


@pytest.mark.slow
def test_forged_annotations_are_noticed(cli: Cli, annotated: bytes, data_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    out.write_bytes(annotated)
    model = onnx.load(str(out))
    placement = next(e for e in model.graph.node[0].metadata_props if e.key == "lhc.placement")
    placement.value = "digital" if placement.value == "analog" else "analog"
    onnx.save_model(model, str(out))
    for command in (["inspect", str(out)], ["run", str(out), "--data", str(data_file), "--draws", "2", "-q"]):
        result = cli(*command)
        assert result.exit_code == 0
        assert "'stem': lhc.placement differ from lhc.plan" in result.stderr


def test_a_plan_and_patterns_contradict(cli: Cli, model_file: Path, data_file: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    base = partition(model_file, data_file)
    run_json(*base, "-o", tmp_path / "a.onnx", "--plan-out", plan)
    again = run_json(*base, "-o", tmp_path / "b.onnx", "--plan", plan)
    assert again["held_out"] is False
    result = cli(*base, "--plan", plan, "--force-digital", "stem", "-o", tmp_path / "c.onnx")
    assert result.exit_code == 2
    assert "cannot go with --plan" in result.stderr


def test_export_twice_replaces_its_own_file(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "digits.onnx"
    for _ in range(2):
        result = cli("export", "digits", "-o", out)
        assert result.exit_code == 0, result.stderr


def test_half_width_that_is_not_reached_is_said(
    model_file: Path, data_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_json("sensitivity", model_file, "--data", data_file, "--draws", 3, "--half-width", 0.001)
    assert "did not reach a half-width of 0.001 within 3 draws" in caplog.text


@pytest.mark.parametrize("name", ["file", "allow_pickle", "/layer/out:0"])
def test_arrays_of_any_name_are_written_as_npz(name: str, tmp_path: Path) -> None:
    arrays = {name: np.arange(6.0).reshape(2, 3), "text": np.array(["a", "bc"], object), "one": np.array(7)}
    write_npz(tmp_path / "out.npz", arrays)
    with np.load(tmp_path / "out.npz") as found:
        assert set(found) == set(arrays)
        np.testing.assert_array_equal(found[name], arrays[name])
        assert found["text"].tolist() == ["a", "bc"]
        assert found["one"].shape == ()
