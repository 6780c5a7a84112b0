"""Budgets and limits that cannot be met are explained, and what was searched is written down."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import lhc
from lhc.graph import LayerGraph
from lhc.hardware import Hardware, Override, StateIndependent
from lhc.hardware.circuits.faults import Faults
from lhc.passes import PassResult, Strategy
from lhc.plan import Plan

pytestmark = pytest.mark.analog

FEW = ("layer2.*",)


def test_a_budget_that_cannot_be_met_is_explained() -> None:
    forced = ["conv1", "layer1.1.conv1"]
    result = lhc.partition(
        "digits-narrow",
        samples=100,
        draws=3,
        max_drop=0.0,
        force_analog=forced,
        strategy="sensitivity",
        method="measure",
    )
    assert result.plan.outcome is not None
    assert not result.plan.outcome.within_budget
    found = result.infeasibility
    assert found is not None
    assert set(found.analog) == result.plan.analog
    assert found.nearest_budget == pytest.approx(max(result.plan.outcome.interval[1], 0))  # type: ignore[index]
    assert set(found.in_the_way) <= result.plan.analog
    assert found.in_the_way
    tiles = result.plan.tiles(result.facts)
    assert [r.change for r in found.remedies] == [
        "--t-inference 1 day -> 1 hour",
        "--t-inference 1 day -> 0 s",
        "adc.bits 8 -> 10",
        "dac.bits 8 -> 10",
        f"tiles {tiles} -> {2 * tiles}",
    ]
    drops = result.plan.outcome.drop
    for remedy in found.remedies:
        assert remedy.difference is not None
        assert sum(remedy.difference) / 2 == pytest.approx(remedy.evaluation.drop - drops), "of the same chips"
    assert found.least.drop <= drops
    assert all(r.within == (r.evaluation.drop_interval[1] <= 0) for r in found.remedies)  # type: ignore[index]


@pytest.mark.slow
def test_remedies_are_compared_on_the_first_chips_of_a_long_test() -> None:
    asked: dict[str, Any] = {"samples": 60, "metric": "kl", "strategy": "all-analog", "include": FEW, "copies": 1}
    found = lhc.partition("digits-narrow", max_drop=1e-9, draws=12, max_draws=12, **asked).infeasibility
    assert found is not None
    assert found.least.draws == 12, "of the placement itself"
    (sooner, *_) = found.remedies
    assert sooner.evaluation.draws == 10
    assert sooner.difference is not None
    assert sum(sooner.difference) / 2 == pytest.approx(sooner.evaluation.drop - np.mean(found.least.drops[:10]))


@pytest.mark.slow
def test_no_earlier_time_is_tried_where_devices_do_not_change_with_time() -> None:
    still = StateIndependent(drift_scale=0.0, read_noise_scale=0.0)
    machine = Hardware.load("lionheart").model_copy(update={"devices": still})
    asked: dict[str, Any] = {"samples": 60, "draws": 2, "max_draws": 2, "strategy": "all-analog", "include": FEW}
    found = lhc.partition("digits-narrow", max_drop=0.0, hardware=machine, copies=1, **asked).infeasibility
    assert found is not None
    assert [remedy.change for remedy in found.remedies] == ["adc.bits 8 -> 10", "dac.bits 8 -> 10"]


@pytest.mark.slow
def test_a_rule_is_explained_by_damage_and_by_what_its_machine_lacks() -> None:
    """Nothing was ranked for it: the file has the layer with the coarse ADC last."""
    coarse = Override(layers="layer2.1.conv2", adc={"bits": 2})
    faults = Faults(stuck_low=0.05)
    machine = Hardware.load("lionheart").model_copy(update={"faults": faults, "overrides": (coarse,)})
    asked: dict[str, Any] = {"samples": 60, "draws": 4, "hardware": machine, "include": ["layer1.1.*", "layer2.1.*"]}
    ranking = lhc.sensitivity("digits-narrow", method="measure", **asked).ranking()
    result = lhc.partition("digits-narrow", metric="kl", max_drop=2e-3, strategy="all-analog", max_draws=4, **asked)
    assert all(row.sensitivity is None for row in result.plan.layers)
    found = result.infeasibility
    assert found is not None
    assert set(found.in_the_way) <= set(ranking)  # which is of one copy; here layers have those of the placement
    assert found.in_the_way[0] == "layer2.1.conv2"
    assert 1 < len(found.in_the_way) < 4
    (remapped,) = (remedy for remedy in found.remedies if remedy.change == "faults.remap false -> true")
    assert remapped.evaluation.drop < result.plan.outcome.drop  # type: ignore[union-attr]  # it has one


@pytest.mark.slow
def test_where_only_all_digital_holds_it_is_written_and_told_what_was_tried() -> None:
    @dataclass(frozen=True)
    class Bold(Strategy):
        """Everything, or nothing."""

        name: ClassVar[str] = "bold"

        def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
            whole = dict.fromkeys(plan.eligible, ("analog", "strategy", "by bold"))
            return PassResult(plan.decide(whole), fallbacks=(frozenset(),))  # type: ignore[arg-type]  # literals

    result = lhc.partition("digits-narrow", samples=60, draws=2, max_draws=3, max_drop=0.0, strategy=Bold, include=FEW)
    outcome, found = result.plan.outcome, result.infeasibility
    assert outcome is not None
    assert outcome.within_budget
    assert result.plan.analog == frozenset()
    assert found is not None
    assert len(found.analog) == len([row for row in result.plan.layers if row.reason == "sensitivity"]) > 0
    assert found.nearest_budget > 0
    tried = [note for note in result.notes if note.startswith("tested too: ")]
    assert len(tried) == 1
    assert "0.00 points not met" in tried[0]
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
    assert result.plan.tiles(result.facts) <= 6
    assert outcome.estimate is not None
    assert outcome.estimate.predicted_drop == pytest.approx(outcome.estimate.factor * outcome.estimate.damage)
    for block in outcome.groups:
        assert set(block) <= result.plan.analog or result.plan.analog.isdisjoint(block)


@pytest.mark.slow
def test_nothing_is_said_of_the_budget_where_no_placement_was_tested_by_it() -> None:
    """Without room for a tile everything is digital, and a larger budget changes nothing."""
    result = lhc.partition("digits-narrow", samples=60, draws=2, max_drop="50%", objective="macs", max_tiles=0)
    assert result.plan.analog == frozenset()
    assert not any(note.startswith("nothing is analog") for note in result.notes)
