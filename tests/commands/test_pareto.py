"""Fronts of digits, as users call them."""

import json
from pathlib import Path

import pytest

import lhc
from lhc.report.front_svg import front_svg
from tests.conftest import Cli

pytestmark = pytest.mark.analog

FEW = ("layer2.*",)


def test_a_front_is_verified_kept_and_answers_budgets(cli: Cli, tmp_path: Path) -> None:
    work, out, plot = tmp_path / "work", tmp_path / "front.json", tmp_path / "front.svg"
    measured = ("--samples", "60", "--draws", "2", "--points", "3", "--include", "layer2.*", "--method", "measure")
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
    assert plot.read_text().count("<circle") == len(points)

    answer = ["pareto", "digits-narrow", "--from", str(work), "--json", "--max-drop"]
    generous = json.loads(cli(*answer, "100%").stdout)
    assert generous["verified"]["analog"] == verified[-1]["analog"]
    assert generous["estimated"] is None
    none = json.loads(cli(*answer, "0").stdout)
    bounds = [p for p in verified if p["evaluation"]["drop_interval"][1] <= 0]
    assert none["verified"] == bounds[-1]
    if none["estimated"] is not None:
        assert none["command"].startswith("lhc partition digits-narrow --samples 60 --draws 2 --strategy all-analog")
    assert cli("pareto", "digits-narrow", "--from", tmp_path, "--max-drop", "100%").exit_code == 2
    assert cli("pareto", "digits-narrow", "--max-drop", "100%").exit_code == 2


def test_intervals_of_a_front_hold_together() -> None:
    """Each has its share of the chance of error: four points err with a quarter of it."""
    front = lhc.pareto("digits-narrow", objective="macs", samples=60, draws=2, points=4, include=FEW, method="measure")
    levels = {point.evaluation.confidence for point in front.verified if point.evaluation is not None}
    assert list(levels) == [pytest.approx(1 - 0.1 / 4)]
    assert front.calibration is not None
    for point in front.points:
        assert point.predicted_drop == pytest.approx(front.calibration.factor * point.damage)
    assert front_svg(front).count("<circle") == len(front.points)
