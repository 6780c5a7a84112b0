"""Copies as a decision of a partition: what was verified is what the plan says and every reader of it runs."""

from pathlib import Path

import numpy as np
import pytest

import lhc
from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.models import zoo_entry
from lhc.plan import Plan

pytestmark = pytest.mark.analog

_PRESET = Hardware.load("lionheart")
MACHINE = _PRESET.model_copy(
    update={"compensation": _PRESET.compensation.model_copy(update={"copies": True, "outputs": "none"})}
)
FEW = {"samples": 60, "draws": 2, "explain": False}


def _placed(**options: object) -> lhc.PartitionResult:
    asked = {"hardware": MACHINE, "strategy": "all-analog", **FEW, **options}
    return lhc.partition("digits-narrow", **asked)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def on_forty_tiles() -> lhc.PartitionResult:
    return _placed(max_tiles=40)


def test_a_session_with_the_annotated_model_runs_the_chips_that_were_verified(
    on_forty_tiles: lhc.PartitionResult, tmp_path: Path
) -> None:
    result = on_forty_tiles
    plan, outcome = result.plan, result.plan.outcome
    assert outcome is not None
    assert 14 < plan.tiles(result.facts) <= 40  # one tile a layer without further copies
    assert min(row.copies for row in plan.layers if row.tiles > 1) > 3
    result.save(tmp_path / "placed.onnx")
    session = lhc.HybridSession(str(tmp_path / "placed.onnx"))
    assert session.plan is not None
    assert session.plan.copies == plan.copies
    inputs, labels = zoo_entry("digits-narrow").task().read(0, 60)
    found = []
    assert outcome.first_draw is not None
    for draw in range(outcome.first_draw, outcome.first_draw + outcome.draws):
        session.program(outcome.seed, draw)
        session.drift_to(outcome.t_s)
        found.append(float((session.run(None, inputs)[0].argmax(axis=1) == labels).mean()))
    assert np.mean(found) == pytest.approx(outcome.value)


def test_a_plan_file_brings_its_copies(tmp_path: Path) -> None:
    result = _placed(copies=2, max_drop=0.5)
    (tmp_path / "plan.yaml").write_text(result.plan.to_yaml(), encoding="utf-8")
    assert set(result.plan.copies.values()) == {2}
    assert result.plan.outcome is not None
    assert result.plan.outcome.copies == 2, "what was asked for"
    again = lhc.partition("digits-narrow", plan=tmp_path / "plan.yaml", **FEW)  # type: ignore[arg-type]
    assert again.plan.outcome is not None
    assert again.plan.outcome.max_drop == result.plan.outcome.max_drop, "the budget is the plan's"
    assert again.plan.copies == result.plan.copies
    assert again.plan.tiles(again.facts) == result.plan.tiles(result.facts)
    with pytest.raises(UsageError, match="`copies` cannot go with `plan`"):
        lhc.partition("digits-narrow", plan=Plan.load(tmp_path / "plan.yaml"), copies=2)
    with pytest.raises(UsageError, match="`method`, `strategy` cannot go with `plan`"):
        lhc.partition("digits-narrow", plan=Plan.load(tmp_path / "plan.yaml"), strategy="milp", method="measure")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_plan_and_copies_can_be_left_out(on_forty_tiles: lhc.PartitionResult) -> None:
    one, other, none = on_forty_tiles, _placed(max_tiles=40), _placed(copies="off", max_tiles=40)
    assert one.plan == other.plan
    assert none.plan.copies == {}
    assert one.plan.outcome is not None
    assert none.plan.outcome is not None
    assert one.plan.outcome.drop < none.plan.outcome.drop


@pytest.mark.slow
def test_where_the_budget_is_not_met_twice_the_tiles_for_copies_are_tried() -> None:
    result = _placed(max_tiles=16, max_drop=0.0, metric="kl", explain=True)
    assert result.infeasibility is not None
    by_change = {remedy.change: remedy for remedy in result.infeasibility.remedies}
    wider = by_change["tiles 16 -> 32"]
    assert set(wider.analog) == result.plan.analog
    assert result.plan.outcome is not None
    assert wider.evaluation.drop < result.plan.outcome.drop
