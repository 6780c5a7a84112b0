"""Which layers are trained as analog, and which of two results is the better."""

from dataclasses import replace

import pytest

import lhc
from lhc.commands.partition import begin, pipeline
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure import Running
from lhc.options.commands import PartitionOptions
from lhc.plan import Outcome
from lhc.report.builder import graph_of_plan
from lhc.study.source import open_model
from lhc.study.train import _better, winnable
from tests.passes.costly_networks import mobile

pytestmark = pytest.mark.analog

UNHEALED = Hardware.load("lionheart").with_drift_compensation_alone()
"""On which some layers of digits-narrow do damage that training could not make good."""


def test_layers_that_no_training_can_save_stay_digital_in_training() -> None:
    found = lhc.partition("digits-narrow", hardware=UNHEALED, max_drop=0.02, draws=4, objective="macs")
    plan, names = found.plan, [row.name for row in found.plan.layers]
    graph = graph_of_plan(plan)
    assert plan.outcome is not None
    assert plan.outcome.estimate is not None
    assert winnable(graph, plan, names, 0.1) == frozenset(names)

    some = winnable(graph, plan, names, 0.002)

    damage = {row.name: row.sensitivity.mean for row in plan.layers if row.sensitivity is not None}
    macs = {row.name: row.macs for row in plan.layers}
    assert 0 < len(some) < len(names)
    assert sum(damage[name] for name in some) * plan.outcome.estimate.factor <= 4 * 0.002
    assert max(damage[name] / macs[name] for name in some) <= min(
        damage[name] / macs[name] for name in set(names) - some
    )
    assert winnable(graph, plan.model_copy(update={"outcome": None}), names, 0.002) == frozenset(names)


def test_layers_that_share_weights_are_trained_as_analog_together_or_not_at_all() -> None:
    found = lhc.partition("digits-narrow", hardware=UNHEALED, max_drop=0.02, draws=4, objective="macs")
    plan, names = found.plan, [row.name for row in found.plan.layers]
    apart = graph_of_plan(plan)
    first = winnable(apart, plan, names, 0.002)
    one, other = min(first), min(set(names) - first)
    shared = [replace(layer, weight=apart[one].weight) if layer.name == other else layer for layer in apart.layers]
    graph = LayerGraph(shared, apart.inputs, apart.outputs)

    for budget in (0.0005, 0.001, 0.002, 0.004, 0.008):
        some = winnable(graph, plan, names, budget)
        assert (one in some) == (other in some)


def test_layers_that_do_not_pay_are_not_trained_as_analog() -> None:
    graph, plan = mobile()
    names = plan.eligible
    outcome = Outcome(
        metric="accuracy", percent=True, baseline=0.9, value=0.9, drop=0.0, interval=None, confidence=0.9,
        chips_within=1.0, max_drop=0.1, drop_type="absolute", within_budget=True, held_out=True, samples=9, draws=2,
        seed=0, t_s=0.0, strategy="sensitivity", data="d", objective="energy",
    )  # fmt: skip
    placed = plan.decide(dict.fromkeys(names, ("digital", "sensitivity", "")))
    by_energy = placed.model_copy(update={"outcome": outcome})
    by_macs = placed.model_copy(update={"outcome": outcome.model_copy(update={"objective": "macs"})})
    assert winnable(graph, by_energy, names, 0.1) == {name for name in names if "depthwise" not in name}
    assert winnable(graph, by_macs, names, 0.1) == set(names)
    forced = by_energy.decide({"block0.depthwise": ("analog", "forced", "")})
    assert "block0.depthwise" in winnable(graph, forced, names, 0.1)


@pytest.mark.parametrize(("objective", "kept"), [("macs", "more"), ("energy", "less")])
def test_the_better_of_two_results_is_that_of_the_objective(objective: str, kept: str) -> None:
    """A placement with more MACs on tiles may cost more energy: on digits, whose layers fill no tile, it does."""
    more = PartitionOptions("digits-narrow", strategy="all-analog", max_drop=0.9, draws=2, samples=40)
    studies = {
        name: pipeline(options).apply(begin(options, Running(), open_model("digits-narrow")))
        for name, options in (("more", more), ("less", replace(more, exclude=("layer*",))))
    }
    for name, study in studies.items():
        assert study.plan.outcome is not None
        outcome = study.plan.outcome.model_copy(update={"objective": objective})
        studies[name] = replace(study, plan=study.plan.model_copy(update={"outcome": outcome}))
    better = _better(studies["less"], studies["more"])
    assert better.plan.analog == studies[kept].plan.analog
