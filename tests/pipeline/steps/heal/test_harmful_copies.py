"""Layers have no copies of weights that do harm, or with which they would cost more than digital."""

import numpy as np
import pytest
from onnx import helper

import lhc
from lhc.commands.partition import begin, preparation
from lhc.costs import cost_terms, costs_on_tiles
from lhc.hardware import Hardware
from lhc.measure import Running
from lhc.options.by_command import PartitionOptions
from lhc.passes.strategies.base import Objective
from lhc.pipeline.inputs.model_source import loaded_model
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.plan import Plan
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from tests.runtime.models_on_tiles import model_of

pytestmark = pytest.mark.analog

ROWS = 12
FREE = 42
"""Copies of so many inputs that fit 512 rows."""


def machine(bits: int, bound: float = 16.0) -> Hardware:
    """Tall tiles, whose converters have few bits."""
    preset = Hardware.load("lionheart")
    dac = preset.dac.model_copy(update={"bits": bits})
    adc = preset.adc.model_copy(update={"bits": bits + 1, "bound": bound})
    tiles = preset.tiles.model_copy(update={"rows": 512, "cols": 128})
    return preset.model_copy(update={"tiles": tiles, "dac": dac, "adc": adc})


def prepared(
    machine: Hardware,
    rows: int = ROWS,
    copies: str | int = "auto",
    objective: Objective = "macs",
    cols: int = 64,
    forced: tuple[str, ...] = (),
) -> PreparedNetwork:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, rows)).astype(np.float32)
    task = Task({"x": x}, None, get_metric("nmse"))
    weights = rng.normal(size=(rows, cols)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "a")
    model = model_of([node], {"x": x}, {"y": 2}, {"w": weights})
    options = PartitionOptions(model, task, hardware=machine, copies=copies, objective=objective, force_analog=forced)
    with Running(options) as running:
        return preparation(options).apply(begin(options, running, loaded_model(options)))


def damage(machine: Hardware, copies: int) -> float:
    state = prepared(machine, copies=copies)
    return float(state.evaluator(state.splits.judged).measure(frozenset("a"), range(4), "x").drops.mean())


def test_copies_that_do_harm_are_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    coarse = machine(6)
    state = prepared(coarse)
    kept = state.plan.copies["a"]
    assert 1 < kept < FREE
    (told,) = [note for note in state.notes if "do harm to 1 layer" in note]
    assert f"with {FREE} as with {kept}" in told
    best, most = damage(coarse, kept), damage(coarse, FREE)
    assert best < 0.5 * most
    assert best < 0.5 * damage(coarse, 1)
    assert f"--copies {FREE}: copies of weights do harm" in caplog.text, "what the user asks for is done, and told"


def test_copies_that_help_stay() -> None:
    state = prepared(machine(8, bound=64.0))
    assert max(state.plan.sums["a"]) * FREE > 1, "some sums are read again"
    assert state.plan.copies == {"a": FREE}
    assert not state.notes


@pytest.mark.parametrize("objective", ["macs", "energy"])
def test_copies_do_not_make_a_layer_dearer_than_digital(objective: Objective) -> None:
    state = prepared(machine(12, bound=2.0), 64, objective=objective)
    plan: Plan = state.plan

    def energy(copies: int) -> float:
        return costs_on_tiles(state.graph, plan.hardware, plan.sums)("a", copies).energy_j

    digital = cost_terms(state.graph, plan.hardware).digital["a"].energy_j
    assert energy(1) < digital < energy(8)
    assert energy(plan.copies.get("a", 1)) < digital or objective == "macs"
    assert ("more energy than digital" in " ".join(state.notes)) == (objective == "energy")


def test_a_layer_that_is_dearer_with_one_copy_too_has_one_and_analyze_counts_it_alike() -> None:
    """By the same machine and the same rule, without sums that were measured; forced onto tiles it has all copies."""
    tall = machine(8)
    state = prepared(tall, cols=2, objective="energy")
    analysis = lhc.analyze(state.model, hardware=tall)
    assert analysis.plan.copies == state.plan.copies == {}
    assert analysis.costs is not None
    counted = analysis.costs.analog["a"]
    assert counted == costs_on_tiles(state.graph, tall, state.plan.sums)("a", 1)
    assert counted.energy_j > analysis.costs.digital["a"].energy_j
    assert not state.notes, "it stays digital, whatever its copies"
    forced = prepared(tall, cols=2, objective="energy", forced=("a",))
    assert forced.plan.copies == prepared(tall, cols=2).plan.copies == {"a": FREE}
