"""Where energy is wanted, no more tiles are filled with copies than a placement needs."""

from typing import Literal

import pytest

import lhc
from lhc.costs.plan_costs import plan_cost
from lhc.hardware import Hardware
from lhc.pipeline.steps.heal.fewest_copies import MOST_JUDGEMENTS, fewest_tiles


@pytest.mark.parametrize("needed", range(10, 51))
def test_the_fewest_tiles_that_hold_are_found_to_an_eighth(needed: int) -> None:
    asked: list[int] = []

    def holds(tiles: int) -> bool:
        asked.append(tiles)
        return tiles >= needed

    found = fewest_tiles(10, 50, holds)
    assert needed <= found < needed + 5
    assert len(asked) <= MOST_JUDGEMENTS
    assert 50 not in asked, "that all tiles hold is known"


def test_nothing_is_asked_where_there_are_no_further_copies() -> None:
    assert fewest_tiles(10, 10, lambda tiles: pytest.fail(f"asked about {tiles}")) == 10


@pytest.mark.slow
@pytest.mark.analog
def test_a_budget_that_holds_anyway_leaves_tiles_unused_for_energy_and_fills_them_for_macs() -> None:
    preset = Hardware.load("lionheart")
    machine = preset.model_copy(update={"compensation": preset.compensation.model_copy(update={"outputs": "none"})})
    assert machine.compensation.copies

    def tiles(objective: Literal["energy", "macs"]) -> int:
        found = lhc.partition(
            "digits", hardware=machine, objective=objective, max_tiles=40, max_drop="100%", samples=60, draws=2,
            include=["layer3.*.expand"], method="measure", digital_precision="as-file",  # int8 hides what copies bring
        )  # fmt: skip
        assert len(found.plan.analog) == 5
        return found.plan.tiles(found.facts)

    assert tiles("energy") == 13  # as many as five layers take with one copy each
    assert tiles("macs") > 30


@pytest.mark.slow
@pytest.mark.analog
def test_what_further_copies_cost_is_said_where_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # No drop is as small: all tiles stay filled.
    monkeypatch.setattr("lhc.pipeline.steps.heal.fewest_copies.ROOM_IN_BUDGET", -1.0)
    found = lhc.partition(
        "digits", objective="energy", max_tiles=40, max_drop="100%", samples=60, draws=2,
        include=["layer3.*.expand"], method="measure", digital_precision="as-file",  # int8 hides what copies bring
    )  # fmt: skip
    (note,) = [note for note in found.notes if "further copies" in note]
    alone = found.plan.with_copies(found.facts, dict.fromkeys(found.plan.copies, 1))
    assert f"fill {found.plan.tiles(found.facts) - alone.tiles(found.facts)} tiles" in note
    costs = [plan_cost(plan, found.facts) for plan in (alone, found.plan)]
    without, with_ = (cost.energy_j for cost in costs if cost is not None)
    assert with_ > without
    assert f"add {100 * (with_ / without - 1):.1f} % to the energy" in note
