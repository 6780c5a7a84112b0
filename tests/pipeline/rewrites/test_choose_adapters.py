"""Adapters beside the analog layers of a state: what the plan says of them, and what training does with them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lhc
from lhc.errors import ModelError, UsageError
from lhc.measure import Budget, Running
from lhc.onnx_io import able_to_adapt, adapters_of
from lhc.options import training
from lhc.options.by_command import RunOptions
from lhc.options.training import TrainingOptions
from lhc.passes import Pipeline
from lhc.pipeline.pipeline_state import PreparedNetwork, TrainableNetwork
from lhc.pipeline.rewrites.choose_adapters import adapted
from lhc.pipeline.steps.prepare import read_placed
from lhc.pipeline.steps.rank import sensitivities
from lhc.pipeline.training.retraining import Train, trained_for
from lhc.samples.metrics import get_metric

pytestmark = pytest.mark.analog

SETTINGS = TrainingOptions(adapters=2, adapt=("layer2.*",), steps=3, batch_size=32, validations=1)


@pytest.fixture(scope="module")
def placed() -> tuple[PreparedNetwork, frozenset[str]]:
    state, analog, _ = read_placed(RunOptions("digits-narrow", all_analog=True, samples=120, draws=2), Running(), None)
    return state, analog


def stored(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_the_plan_gets_rows_for_adapters_and_keeps_its_decisions(
    placed: tuple[PreparedNetwork, frozenset[str]],
) -> None:
    state, analog = placed
    beside = adapted(state, analog, SETTINGS, state.task)
    adapters = adapters_of(beside.model)
    assert {adapter.layer for adapter in adapters} == {name for name in analog if name.startswith("layer2.")}
    before, after = ({row.name: row for row in one.plan.layers} for one in (state, beside))
    new = {name for adapter in adapters for name in (adapter.down, adapter.up)}
    assert after.keys() - before.keys() == new
    assert {(after[name].placement, after[name].reason) for name in new} == {("digital", "adapter")}
    for name, row in before.items():
        assert after[name].model_copy(update={"output": row.output}) == row
        assert beside.graph[name].outputs[0] == after[name].output
    assert beside.measurable == state.measurable


def test_all_layers_that_can_have_one_get_an_adapter(placed: tuple[PreparedNetwork, frozenset[str]]) -> None:
    state, analog = placed
    every = {a.layer for a in adapters_of(adapted(state, analog, replace(SETTINGS, adapt=()), state.task).model)}
    assert every == analog
    with pytest.raises(ModelError, match="no analog layer can have an adapter of rank 9"):
        adapted(state, analog, replace(SETTINGS, adapt=(), adapters=9), state.task)


def test_a_share_of_the_weights_goes_where_it_pays_most(
    placed: tuple[PreparedNetwork, frozenset[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers by predicted damage for what an adapter costs, until no other adapter fits."""
    state, analog = placed
    monkeypatch.setattr(training, "ADAPTER_RANK", 2)
    settings = replace(SETTINGS, adapters="10%", adapt=())
    beside = adapted(state, analog, settings, state.task)
    adapters = adapters_of(beside.model)
    parameters = {row.name: row.parameters for row in beside.plan.layers}
    costs = {a.layer: parameters[a.down] + parameters[a.up] for a in adapters}
    room = 0.1 * sum(row.parameters for row in state.plan.layers)
    assert {beside.graph[a.up].matrix.rows for a in adapters} == {2}  # type: ignore[union-attr]
    assert 0 < sum(costs.values()) <= room
    table = sensitivities(state.evaluator(state.task.with_metric(get_metric("kl"))), sorted(analog), "fisher")
    able = able_to_adapt(state.model, state.graph, analog, 2)
    shapes = {name: state.graph[name].matrix for name in able}
    worth = {n: table.layers[n].mean / (m.rows + m.cols) for n, m in shapes.items() if m is not None}
    best = max(worth, key=worth.__getitem__)
    assert best in costs
    assert min(worth[n] for n in costs) > min(worth.values())
    assert adapted(beside, analog, settings, state.task) is beside, "adapters that are there stay, whatever their share"
    with pytest.raises(ModelError, match=r"the smallest adapter of rank 2 has .* more than --adapters allows"):
        adapted(state, analog, replace(settings, adapters="0.01%"), state.task)


def test_training_changes_adapters_alone(placed: tuple[PreparedNetwork, frozenset[str]]) -> None:
    state, analog = placed
    trained, record = trained_for(state, state.task, SETTINGS, None, analog, state.task.head(20))
    assert (record.adapters, record.source) == (2, state.model.source)
    before, after = stored(state.model.proto), stored(trained.model.proto)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    assert all(np.abs(after[adapter.up]).max() > 0 for adapter in adapters_of(trained.model))
    assert trained.plan.analog == state.plan.analog
    (note,) = (note for note in trained.notes if "adapters of rank 2" in note)
    assert f"{sum(after[n].size for n in after.keys() - before.keys()):,} weights" in note


def test_adapters_that_are_there_are_trained_on(placed: tuple[PreparedNetwork, frozenset[str]]) -> None:
    state, analog = placed
    beside = adapted(state, analog, SETTINGS, state.task)
    assert adapted(beside, analog, SETTINGS, state.task) is beside
    with pytest.raises(UsageError, match=r"--adapters 3: .* has adapters of rank 2 already"):
        adapted(beside, analog, replace(SETTINGS, adapters=3), state.task)
    start, _ = trained_for(state, state.task, SETTINGS, None, analog, state.task.head(20))
    again, record = trained_for(start, state.task, SETTINGS, None, analog, state.task.head(20))
    assert record.source == start.model.source
    one, two = stored(start.model.proto), stored(again.model.proto)
    changed = {name for name in one if not np.array_equal(one[name], two[name])}
    assert changed == {name for adapter in adapters_of(start.model) for name in (adapter.down, adapter.up)}


def test_a_pattern_that_matches_nothing_is_refused(placed: tuple[PreparedNetwork, frozenset[str]]) -> None:
    state, analog = placed
    with pytest.raises(UsageError, match="--adapt 'nowhere' matches no layer"):
        adapted(state, analog, replace(SETTINGS, adapt=("nowhere",)), state.task)


def test_a_walk_trains_no_adapters() -> None:
    with pytest.raises(UsageError, match="`adapters`: `strategy` lionheart trains weights layer after layer"):
        lhc.partition("digits-narrow", retrain=True, strategy="lionheart", adapters=2, samples=100)


def test_what_adapters_cost_is_told_by_a_command_that_searches_too(
    placed: tuple[PreparedNetwork, frozenset[str]],
) -> None:
    state, analog = placed
    nothing, *others = (Pipeline[Any, Any]("nothing", ()) for _ in range(3))
    train = Train(SETTINGS, "sensitivity", None, None, nothing, lambda kind: others[0], lambda share: others[1])
    trainable = state.advanced(TrainableNetwork, training=state.task, budget=Budget())
    searched, _ = train._once(trainable, analog, state.plan.copies)
    assert searched.notes[-1].endswith("computed digitally; all other weights are as they were")


def test_a_file_with_adapters_is_read_placed_and_compiled(
    placed: tuple[PreparedNetwork, frozenset[str]], tmp_path: Path
) -> None:
    state, analog = placed
    trained, _ = trained_for(state, state.task, SETTINGS, None, analog, state.task.head(20))
    result = lhc.PartitionResult(
        trained.plan.decide(dict.fromkeys(analog, ("analog", "forced", ""))), trained.graph, trained.model
    )
    result.save(tmp_path / "net.lhc.onnx")
    session = lhc.HybridSession(tmp_path / "net.lhc.onnx")
    assert set(session.analog) == set(analog)
