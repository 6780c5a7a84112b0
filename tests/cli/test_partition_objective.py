"""What a placement is best at by default, and what is said of it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner, Result

import lhc
from lhc.cli.framework.app import app
from lhc.hardware import Hardware

WIDE = """<ir_version: 8, opset_import: ["" : 17]>
wide (float[N, 250] x) => (float[N, 4] logits) {
  [first] a = MatMul (x, u)
  [act] b = Relu (a)
  [second] c = MatMul (b, v)
  [act2] d = Relu (c)
  [head] logits = Gemm (d, w, bias)
}"""
FEW = ("--draws", "2", "--max-drop", "0.9", "--method", "measure", "-q")


@pytest.fixture
def wide_file(tmp_path: Path) -> Path:
    """Two large products, which pay on tiles, and a small one, which does not."""
    model, path = onnx.parser.parse_model(WIDE), tmp_path / "wide.onnx"
    rng = np.random.default_rng(0)
    for name, shape in {"u": (250, 250), "v": (250, 250), "w": (250, 4), "bias": (4,)}.items():
        array = (rng.normal(size=shape) / 16).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save_model(model, str(path))
    return path


@pytest.fixture
def wide_data(tmp_path: Path) -> Path:
    rng, path = np.random.default_rng(1), tmp_path / "wide.npz"
    np.savez(path, x=rng.normal(size=(40, 250)).astype(np.float32), labels=rng.integers(0, 4, 40))
    return path


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        return result

    return run


def test_least_energy_is_the_default_and_what_is_gained_is_said(
    cli: Callable[..., Result], wide_file: Path, wide_data: Path
) -> None:
    command = ("partition", wide_file, "--data", wide_data, *FEW)
    document = json.loads(cli(*command, "--json").stdout)
    assert document["objective"] == "energy"
    rows = {row["name"]: row for row in document["layers"]}
    assert [rows[name]["placement"] for name in ("first", "second", "head")] == ["analog", "analog", "digital"]
    assert rows["head"]["reason"] == "cost"
    assert rows["head"]["detail"].startswith("dearer on tiles than digital: ")
    cost = document["cost"]
    assert cost["all_digital"].keys() == {"latency_s", "energy_j"}
    times = {key: cost["all_digital"][key] / cost[key] for key in ("energy_j", "latency_s")}
    assert min(times.values()) > 2
    gain = f"energy {times['energy_j']:.0f} times less, latency {times['latency_s']:.0f} times less than all digital"
    assert f"tiles of 256x255, estimated {gain}, drop " in document["summary"]
    lines = cli(*command, "--force", "-v").stdout.splitlines()
    assert "objective energy: a layer is on tiles only where that takes less energy than a digital core" in lines
    assert lines[-1] == document["summary"]
    assert gain in cli("inspect", "wide.lhc.onnx").stdout
    assert json.loads(cli("inspect", "wide.lhc.onnx", "--json").stdout)["cost"]["all_digital"] == cost["all_digital"]
    written = lhc.HybridSession("wide.lhc.onnx")
    assert written is not None
    by_macs = json.loads(cli(*command, "--objective", "macs", "--json", "--force").stdout)
    assert by_macs["objective"] == "macs"
    assert by_macs["analog_mac_fraction"] == 1.0
    assert by_macs["cost"]["energy_j"] > cost["energy_j"]


@pytest.mark.slow
def test_macs_are_the_default_without_costs_and_of_published_walks(
    cli: Callable[..., Result], wide_file: Path, wide_data: Path, tmp_path: Path
) -> None:
    command = ("partition", wide_file, "--data", wide_data, *FEW, "--json", "--force")
    machine = tmp_path / "machine.yaml"
    machine.write_text(Hardware.load("lionheart").model_copy(update={"costs": None}).to_yaml())
    unpriced = json.loads(cli(*command, "--hardware", machine).stdout)
    assert (unpriced["objective"], unpriced["cost"], unpriced["analog_mac_fraction"]) == ("macs", None, 1.0)
    assert "times" not in unpriced["summary"]
    assert "describes no costs" in cli(*command, "--hardware", machine, "--objective", "energy", code=2).stderr
    walked = json.loads(cli(*command, "--strategy", "lionheart").stdout)
    assert (walked["objective"], walked["analog_mac_fraction"]) == ("macs", 1.0)
    for more in ((), ("--dry-run",)):
        refused = cli(*command, "--strategy", "lionheart", "--objective", "energy", *more, code=2).stderr
        assert "'lionheart' does not go by latency or energy" in refused


def test_where_nothing_pays_all_is_digital_and_it_is_said(
    cli: Callable[..., Result], model_file: Path, data_file: Path
) -> None:
    command = ("partition", model_file, "--data", data_file, *FEW)
    result = cli(*command)
    assert "no layer pays on this machine" in result.stderr
    assert "--objective macs" in result.stderr
    assert "analog 0/3 layers" in result.stdout
    assert result.stdout.count("dearer on tiles than digital: ") == 3
    steps = json.loads(cli(*command, "--dry-run", "--json").stdout)["steps"]
    assert [step["what"] for step in steps] == ["verifying"], "no sensitivity matters"


def test_limits_are_kept_to_by_the_default_strategy(
    cli: Callable[..., Result], wide_file: Path, wide_data: Path
) -> None:
    command = ("partition", wide_file, "--data", wide_data, *FEW, "--json", "--force")
    free = json.loads(cli(*command).stdout)["cost"]
    kept = json.loads(cli(*command, "--objective", "macs", "--max-energy", 1.001 * free["energy_j"]).stdout)
    assert kept["limits_kept"]
    assert kept["cost"]["energy_j"] == pytest.approx(free["energy_j"])
    missed = json.loads(cli(*command, "--max-latency", free["latency_s"] / 2, code=1).stdout)
    assert not missed["limits_kept"]
    compiled = (
        "compile",
        wide_file,
        "--data",
        wide_data,
        "--max-drop",
        "0.9",
        "--force",
        "-o",
        wide_file.with_name("chip.onnx"),
    )
    told = cli(*compiled, "--max-latency", free["latency_s"] / 2, code=1).stderr
    assert "no placement keeps to all limits (--max-latency); the files were written all the same" in told
    few = json.loads(cli(*command, "--max-tiles", 1).stdout)
    assert few["tiles"] == 1


@pytest.mark.slow
def test_a_front_goes_for_energy_and_answers_budgets_for_what_it_was_measured(
    cli: Callable[..., Result], wide_file: Path, wide_data: Path, tmp_path: Path
) -> None:
    work = ("--work-dir", tmp_path / "work", "--json")
    measured = ("--data", wide_data, "--draws", 4, "--points", 3, "--method", "measure", "-q")
    front = json.loads(cli("pareto", wide_file, *measured, *work).stdout)
    assert front["objective"] == "energy"
    assert not any("head" in point["analog"] for point in front["points"])
    answer = json.loads(cli("pareto", wide_file, "--from", tmp_path / "work", "--max-drop", "100%", "--json").stdout)
    least = min(point["energy_j"] for point in front["points"] if point["evaluation"] is not None)
    assert answer["verified"]["energy_j"] == least
    unknown = cli("pareto", wide_file, "--from", tmp_path / "work", "--max-drop", "100%", "--objective", "macs", code=2)
    assert "no front of objective macs is kept; measured are: energy" in unknown.stderr
