"""Fronts of digits, as users call them."""

import json
from pathlib import Path
from typing import Any

import pytest

import lhc
from lhc.hardware import Hardware
from lhc.report.charts.report_charts import front_svg
from tests.conftest import Cli

pytestmark = pytest.mark.analog

FEW = ("layer2.*",)


def test_a_front_is_verified_kept_and_answers_budgets(cli: Cli, tmp_path: Path) -> None:
    work, out, plot = tmp_path / "work", tmp_path / "front.json", tmp_path / "front.svg"
    exact = ("--digital-precision", "as-file")  # in int8 some layers on tiles are better than all digital
    measured = (
        *exact,
        "--samples",
        "60",
        "--draws",
        "2",
        "--points",
        "3",
        "--include",
        "layer2.*",
        "--method",
        "measure",
    )
    kept = ("--work-dir", str(work), "-o", str(out), "--plot", str(plot), "--json", "-q")
    result = cli("pareto", "digits-narrow", "--objective", "macs", *measured, *kept)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    points = document["points"]
    verified = [point for point in points if point["evaluation"] is not None]
    assert len(verified) == 3
    assert verified[0]["analog"] == []
    assert len(verified[-1]["analog"]) == 6
    assert [p["damage"] for p in points] == sorted(p["damage"] for p in points)
    shares = [p["analog_mac_fraction"] for p in points]
    assert shares == sorted(shares)
    assert json.loads(out.read_text())["points"] == points
    assert plot.read_text().count("of MACs analog: ") == len(points) + len(verified), "a mark each, and an interval"

    answer = ["pareto", "digits-narrow", "--from", str(work), "--json", "--max-drop"]
    generous = json.loads(cli(*answer, "100%").stdout)
    assert generous["verified"]["analog"] == verified[-1]["analog"]
    assert generous["estimated"] is None
    none = json.loads(cli(*answer, "0").stdout)
    bounds = [p for p in verified if p["evaluation"]["drop_interval"][1] <= 0]
    assert none["verified"] == bounds[-1]
    if none["estimated"] is not None:
        assert none["command"].startswith(
            "lhc partition digits-narrow --samples 60 --digital-precision as-file --draws 2 --strategy all-analog"
        )
    other = cli(*answer, "100%", "--hardware", "hermes")
    assert "--hardware hermes: no front on it is kept; measured are: lionheart" in other.stderr
    for options, message in (
        (("--draws", "5", "--copies", "off"), "--from measures nothing: --draws, --copies cannot go with it"),
        (("-o", tmp_path / "again.json"), "-o and --plot are of a front that is measured: they cannot go with --from"),
    ):
        assert message in cli(*answer, "100%", *options).stderr
    assert cli("pareto", "digits-narrow", "--from", tmp_path, "--max-drop", "100%").exit_code == 2
    assert cli("pareto", "digits-narrow", "--max-drop", "100%").exit_code == 2


def test_intervals_of_a_front_hold_together() -> None:
    """Each has its share of the chance of error: four points err with a quarter of it."""
    asked: dict[str, Any] = {"samples": 60, "draws": 2, "include": FEW, "method": "measure"}
    front = lhc.pareto("digits-narrow", objective="macs", points=4, digital_precision="as-file", **asked)
    levels = {point.evaluation.confidence for point in front.verified if point.evaluation is not None}
    assert list(levels) == [pytest.approx(1 - 0.1 / 4)]
    assert front.calibration is not None
    for point in front.points:
        assert point.predicted_drop == pytest.approx(front.calibration.factor * point.damage)
    assert front_svg(front).count("of MACs analog: ") == len(front.points) + len(front.verified)


def test_accuracy_against_tiles_has_all_layers_analog_with_ever_more_copies(cli: Cli, tmp_path: Path) -> None:
    machine = tmp_path / "copies.yaml"
    preset = Hardware.load("lionheart")
    on = preset.compensation.model_copy(update={"copies": True, "outputs": "none"})
    machine.write_text(preset.model_copy(update={"compensation": on}).to_yaml(), encoding="utf-8")
    asked = [
        "digits-narrow",
        "--digital-precision",
        "as-file",
        "--samples",
        60,
        "--draws",
        2,
        "--points",
        3,
        "--method",
        "measure",
        "--include",
    ]
    command = ["pareto", *asked, "layer2.*", "--objective", "tiles", "--hardware", machine, "--json", "-q"]
    result = cli(*command, "--max-tiles", 20, "--work-dir", tmp_path, "--plot", tmp_path / "front.svg")
    assert result.exit_code == 0, result.stderr
    none = cli(*command, "--max-tiles", 0)
    assert none.exit_code == 2
    assert "there are 0" in none.stderr
    points = json.loads(result.stdout)["points"]
    assert {len(point["analog"]) for point in points} == {6}
    tiles, damages = [p["tiles"] for p in points], [p["damage"] for p in points]
    assert tiles == sorted(tiles, reverse=True)
    assert damages == sorted(damages)
    assert (tiles[0], tiles[-1]) == (20, 6)
    assert min(points[0]["copies"].values()) > min(points[-1]["copies"].values())
    assert [p["evaluation"] is not None for p in (points[0], points[-1])] == [True, True]
    kept = json.loads(cli("pareto", "digits-narrow", "--from", tmp_path, "--max-drop", "100%", "--json").stdout)
    assert kept["verified"]["tiles"] == 6
    refused = cli(*command, "--copies", "off")
    assert refused.exit_code == 2
    assert "--objective tiles is about copies" in refused.stderr
    refused = cli(*command, "--max-tiles", 5)
    assert refused.exit_code == 2
    assert "takes 6 tiles; there are 5" in refused.stderr
