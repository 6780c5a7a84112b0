"""Front, robustness, attribution and infeasibility on digits, as users call them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

import lhc
from lhc.cli.app import app
from lhc.graph import LayerGraph
from lhc.passes import PassResult, Strategy
from lhc.plan import Plan
from lhc.report.front_svg import front_svg

pytestmark = pytest.mark.analog

FEW = ("layer2.*",)


def test_a_front_is_verified_kept_and_answers_budgets(tmp_path: Path) -> None:
    work, out, plot = tmp_path / "work", tmp_path / "front.json", tmp_path / "front.svg"
    measured = ("--samples", "60", "--draws", "2", "--points", "3", "--include", "layer2.*", "--method", "measure")
    kept = ("--work-dir", str(work), "-o", str(out), "--plot", str(plot), "--json", "-q")
    result = CliRunner().invoke(app, ["pareto", "digits-narrow", "--objective", "macs", *measured, *kept])
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
    generous = json.loads(CliRunner().invoke(app, [*answer, "100%"]).stdout)
    assert generous["verified"]["analog"] == verified[-1]["analog"]
    assert generous["estimated"] is None
    none = json.loads(CliRunner().invoke(app, [*answer, "0"]).stdout)
    bounds = [p for p in verified if p["evaluation"]["drop_interval"][1] <= 0]
    assert none["verified"] == bounds[-1]
    if none["estimated"] is not None:
        assert none["command"].startswith("lhc partition digits-narrow --samples 60 --draws 2 --strategy all-analog")
    assert (
        CliRunner().invoke(app, ["pareto", "digits-narrow", "--from", str(tmp_path), "--max-drop", "100%"]).exit_code
        == 2
    )
    assert CliRunner().invoke(app, ["pareto", "digits-narrow", "--max-drop", "100%"]).exit_code == 2


def test_intervals_of_a_front_hold_together() -> None:
    """Each has its share of the chance of error: four points err with a quarter of it."""
    front = lhc.pareto("digits-narrow", objective="macs", samples=60, draws=2, points=4, include=FEW, method="measure")
    levels = {point.evaluation.confidence for point in front.verified if point.evaluation is not None}
    assert list(levels) == [pytest.approx(1 - 0.1 / 4)]
    assert front.calibration is not None
    for point in front.points:
        assert point.predicted_drop == pytest.approx(front.calibration.factor * point.damage)
    assert front_svg(front).count("<circle") == len(front.points)


def test_robustness_over_time_chips_and_noise() -> None:
    layers = ["layer2.0.conv1", "layer1.0.conv2"]
    found = lhc.robustness(
        "digits-narrow", placement=layers, samples=60, draws=2, chips=4, times=[86400, 0], max_drop=0.5, seed=1
    )
    assert [at.evaluation.t_s for at in found.times] == [0, 86400]
    gains = [at.gain for at in found.times]
    assert gains[0] == pytest.approx(1, abs=0.05)
    assert gains[1] is not None
    assert gains[1] > 1.3, "conductances have drifted to less than three quarters"
    assert found.times[1].gain_range is not None
    assert found.times[1].gain_range[0] <= gains[1] <= found.times[1].gain_range[1]
    assert found.chips.draws == 4
    # The same chips whatever is asked of them: the first two are those of the times.
    assert found.chips.values[:2] == found.times[1].evaluation.values
    assert all(scale.within == (scale.scale <= found.margin) for scale in found.scales)
    assert found.margin >= 1
    if found.fails_at is not None:
        assert found.margin < found.fails_at <= found.margin * 1.1 + 1e-9


@pytest.mark.parametrize("generalize", [False, True])
def test_at_the_machines_own_noise_a_margin_is_the_verification(generalize: bool) -> None:
    """Same samples, chips and level: not a second opinion beside the first one."""
    placed = lhc.partition(
        "digits-narrow", draws=3, strategy="all-analog", max_drop=0.06, include=FEW, seed=2, generalize=generalize
    )
    outcome = placed.plan.outcome
    assert outcome is not None
    assert outcome.held_out

    found = lhc.robustness("digits-narrow", placement=placed.plan, chips=4, times=[outcome.t_s])

    (here,) = (one for one in found.scales if one.scale == 1)
    assert here.within == outcome.within_budget == (found.margin >= 1)
    assert found.interval(here.evaluation) == outcome.interval
    assert here.evaluation.confidence == outcome.confidence
    assert found.times[0].evaluation.values == here.evaluation.values == found.chips.values[:3]
    assert found.differs == ()

    other = lhc.robustness(
        "digits-narrow", placement=placed.plan, chips=2, times=[0.0], samples=60, draws=2, confidence=0.8
    )
    assert other.differs == (
        f"other samples (60 instead of {outcome.samples})",
        f"a level of 80 % instead of {100 * outcome.confidence:.3g} %",
    )
    chips = lhc.robustness("digits-narrow", placement=placed.plan, chips=2, times=[0.0], seed=3)
    assert chips.differs == ("other chips (3 of seed 3)",)


def test_attribution_names_what_does_damage() -> None:
    found = lhc.attribute("digits-narrow", samples=60, draws=3, include=["conv1", "layer1.0.conv1"])
    assert list(found.layers) == ["conv1", "layer1.0.conv1"]
    for one in found.layers.values():
        assert set(one.effects) == {"dac", "adc", "programming", "drift", "read", "output"}
        assert one.damage.mean > 0
        # Perfect tiles compute the layer itself.
        assert one.rest.mean == pytest.approx(0, abs=1e-9)
    loud = lhc.Hardware.load("lionheart")
    loud = loud.model_copy(update={"adc": loud.adc.model_copy(update={"noise": 1.0})})
    (one,) = lhc.attribute(
        "digits-narrow", samples=60, draws=3, hardware=loud, include=["layer2.0.conv1"]
    ).layers.values()
    assert max(one.effects, key=lambda effect: one.effects[effect].mean) == "output"


def test_a_budget_that_cannot_be_met_is_explained() -> None:
    forced = ["conv1", "layer1.1.conv1"]
    result = lhc.partition(
        "digits-narrow", samples=100, draws=3, max_drop=0.0, force_analog=forced, strategy="lionheart", method="measure"
    )
    assert result.plan.outcome is not None
    assert not result.plan.outcome.within_budget
    found = result.infeasibility
    assert found is not None
    assert set(found.analog) == result.plan.analog
    assert found.nearest_budget == pytest.approx(max(result.plan.outcome.interval[1], 0))  # type: ignore[index]
    assert set(found.in_the_way) <= result.plan.analog
    assert found.in_the_way
    assert [r.change for r in found.remedies] == [
        "--t-inference 86400 -> 3600",
        "--t-inference 86400 -> 0",
        "adc.bits 8 -> 10",
    ]
    assert all(r.within == (r.evaluation.drop_interval[1] <= 0) for r in found.remedies)  # type: ignore[index]


def test_where_only_all_digital_holds_it_is_written_and_told_what_was_tried() -> None:
    @dataclass(frozen=True)
    class Bold(Strategy):
        """Everything, or nothing."""

        name: ClassVar[str] = "bold"

        def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
            whole = dict.fromkeys(plan.eligible, ("analog", "strategy", "by bold"))
            return PassResult(plan.decide(whole), fallbacks=(frozenset(),))  # type: ignore[arg-type]  # literals

    result = lhc.partition("digits-narrow", samples=60, draws=2, max_drop=0.0, strategy=Bold, include=FEW)
    outcome, found = result.plan.outcome, result.infeasibility
    assert outcome is not None
    assert outcome.within_budget
    assert result.plan.analog == frozenset()
    assert found is not None
    assert len(found.analog) == len([row for row in result.plan.layers if row.reason == "sensitivity"]) > 0
    assert found.nearest_budget > 0
    tried = [note for note in result.notes if note.startswith("verified before that: ")]
    assert len(tried) == 1
    assert "not shown to hold 0.00 %" in tried[0]
    assert any(note.startswith("nothing is analog") for note in result.notes)


def test_a_placement_is_kept_where_there_is_no_time_to_explain_it() -> None:
    result = lhc.partition(
        "digits-narrow", samples=60, draws=2, max_drop=0.0, strategy="all-analog", include=FEW, timeout=1e-9
    )
    assert result.plan.outcome is not None
    assert not result.plan.outcome.within_budget
    assert result.plan.analog
    assert result.infeasibility is None or not result.infeasibility.remedies


def test_limits_that_nothing_keeps_are_told() -> None:
    result = lhc.partition(
        "digits-narrow",
        samples=60,
        draws=2,
        strategy="milp",
        objective="energy",
        max_energy=1e-9,
        method="measure",
        max_drop="100%",
    )
    outcome = result.plan.outcome
    assert outcome is not None
    assert (outcome.objective, outcome.limits, outcome.limits_kept) == ("energy", {"energy": 1e-9}, False)
    assert any("no placement keeps to" in note for note in result.notes)


def test_provenance_of_a_search_is_in_the_plan() -> None:
    result = lhc.partition(
        "digits-narrow", samples=60, draws=2, strategy="milp", objective="macs", group=["block"], max_tiles=6,
        method="measure", max_drop="100%",
    )  # fmt: skip
    outcome = result.plan.outcome
    assert outcome is not None
    assert outcome.limits == {"tiles": 6}
    assert ("layer1.0.conv1", "layer1.0.conv2") in outcome.groups
    assert result.plan.tiles(result.graph) <= 6
    assert outcome.estimate is not None
    assert outcome.estimate.predicted_drop == pytest.approx(outcome.estimate.factor * outcome.estimate.damage)
    for block in outcome.groups:
        assert set(block) <= result.plan.analog or result.plan.analog.isdisjoint(block)
