"""Digital columns all the way: chosen, placed, written, read, run, compiled, trained."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import lhc
from lhc.commands.partition import begin, preparation
from lhc.commands.robustness import at_ages
from lhc.errors import ModelError, UsageError
from lhc.hardware import Hardware
from lhc.measure import Running
from lhc.models import zoo_entry
from lhc.onnx_io import load_model, read_plan
from lhc.options.by_command import PartitionOptions, RobustnessOptions
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.pipeline.rewrites.choose_digital_columns import SplitColumns
from lhc.runtime.onnxruntime.sessions import create_session

pytestmark = pytest.mark.analog


@pytest.fixture(scope="module")
def placed(few: dict[str, Any]) -> PartitionResult:
    """The last layer is kept digital by the user."""
    return lhc.partition("digits-narrow", digital_columns="10%", force_digital=["linear"], **few)


@pytest.fixture(scope="module")
def file(placed: PartitionResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("placed") / "placed.lhc.onnx"
    placed.save(path)
    return path


def test_the_share_is_kept_and_counted(placed: PartitionResult) -> None:
    plan = placed.plan
    rows = [row for row in plan.layers if row.reason == "columns"]
    assert plan.digital_columns.keys() == {row.name.removesuffix("/columns") for row in rows} <= plan.analog
    may = sum(row.macs for row in plan.layers if row.name != "linear")
    assert 0.05 < sum(row.macs for row in rows) / may <= 0.1
    linear = next(row for row in plan.layers if row.name == "linear")
    assert plan.analog_mac_fraction == pytest.approx(1 - (sum(row.macs for row in rows) + linear.macs) / plan.macs)
    (note,) = (note for note in placed.notes if "digital whatever the placement" in note)
    assert f"of {len(rows)} layers" in note


def test_the_file_answers_as_before_and_runs_as_it_was_placed(placed: PartitionResult, file: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    given = load_model(zoo_entry("digits-narrow").network()).proto
    name = given.graph.input[0].name
    sessions = [create_session(model, "net") for model in (onnx.load(file), given)]
    np.testing.assert_array_equal(*(session.run(None, {name: x})[0] for session in sessions))
    assert read_plan(load_model(file)) == placed.plan
    by_file = lhc.evaluate(file, data="digits-narrow", samples=20, draws=2)[0]
    by_plan = lhc.evaluate("digits-narrow", placement=placed.plan, hardware=placed.plan.hardware, samples=20, draws=2)
    assert by_file.values == by_plan[0].values
    whole = lhc.evaluate(file, data="digits-narrow", samples=20, draws=2, all_analog=True)[0]
    assert whole.values != by_file.values


def test_digital_columns_are_in_the_number_format_of_the_machine(placed: PartitionResult, file: Path) -> None:
    """Their tensors are those of the split network, which was calibrated before it was split."""
    plan = placed.plan
    assert plan.digital is not None
    columns = [row for row in plan.layers if row.reason == "columns"]
    assert {row.precision for row in columns} == {"int8"}
    assert all(row.precision is None for row in plan.layers if row.placement == "analog")
    assert not plan.digital.as_file
    assert {row.output for row in columns} <= plan.digital.ranges.keys() <= lhc.HybridSession(file)._graph.tensors


def test_a_plan_that_is_followed_has_its_own(placed: PartitionResult) -> None:
    options = PartitionOptions("digits-narrow", plan=placed.plan, samples=20, draws=2)
    with Running(options) as running:
        state = preparation(options).apply(begin(options, running, open_model("digits-narrow")))
    assert state.plan.digital_columns == placed.plan.digital_columns
    assert state.plan.analog == placed.plan.analog
    with pytest.raises(UsageError, match="--digital-columns cannot go with --plan"):
        preparation(replace(options, digital_columns=0.1))


def test_it_is_compiled_as_it_is_run(placed: PartitionResult, file: Path) -> None:
    x = np.asarray(zoo_entry("digits-narrow").task().head(5).read(0, 5)[0]["x"])  # which codes of int8 hold
    cores = placed.plan.hardware.digital
    session = lhc.HybridSession(file, hardware=Hardware.load("ideal").model_copy(update={"digital": cores}))
    name = session.get_inputs()[0].name
    assert any(layer.endswith("/columns") for layer in session._graph._by_name)
    compiled = create_session(lhc.compile(file, noise="off").proto, "net")
    (found,) = compiled.run(None, {name: x})
    (exact,) = session.run(None, {name: x})
    assert np.abs(found - exact).max() > 1e-3  # devices
    assert np.abs(found - exact).max() < 0.5 * np.abs(exact).max()


def test_annotations_are_found_again_by_name_alone(file: Path, placed: PartitionResult) -> None:
    assert lhc.reapply(file).plan.digital_columns == placed.plan.digital_columns
    renamed = onnx.load(file)
    for node in renamed.graph.node:
        node.name = f"{node.name}_new"
    with pytest.raises(ModelError, match="are digital columns of a layer that has another name"):
        lhc.reapply(renamed, placed.plan)


@pytest.fixture(scope="module")
def prepared() -> Iterator[PreparedNetwork]:
    options = PartitionOptions("digits-narrow", samples=40, draws=2, objective="macs")
    with Running(options) as running:
        yield preparation(options).apply(begin(options, running, open_model("digits-narrow")))


def test_what_is_searched_is_a_fifth_of_every_free_layer(prepared: PreparedNetwork) -> None:
    ranges = dict.fromkeys(prepared.plan.eligible, (1.0,))
    forced = prepared.plan.with_ranges(ranges).decide({"layer1.0.conv1": ("analog", "forced", "")})
    state = SplitColumns(None).apply(replace(prepared, plan=forced))
    free = [name for name in prepared.plan.eligible if name != "layer1.0.conv1"]
    assert list(state.plan.digital_columns) == free
    assert set(state.plan.eligible) == {*free, *(f"{name}/columns" for name in free)}
    for name, columns in state.plan.digital_columns.items():
        matrix = prepared.graph[name].matrix
        assert matrix is not None
        assert len(columns) == max(1, round(0.2 * matrix.cols))
    assert state.plan.macs == prepared.plan.macs
    rows = {row.name: row for row in state.plan.layers}
    assert rows["conv1"].copies > 1
    for name in free:
        rest, apart = rows[name], rows[f"{name}/columns"]
        assert (rest.copies, rest.input_range) == (apart.copies, apart.input_range)
    assert any("may be digital alone" in note for note in state.notes)
    assert SplitColumns(0.3).apply(state) is state


@pytest.fixture(scope="module")
def searched(few: dict[str, Any]) -> PartitionResult:
    """Of a budget that some layers hold whole, some but for their worst columns, and some not at all."""
    few = few | {"samples": 400, "draws": 4, "max_draws": 20, "max_drop": 0.025, "strategy": "sensitivity"}
    return lhc.partition("digits-narrow", digital_columns="auto", force_digital=["linear"], **few)


@pytest.mark.slow
def test_only_what_a_placement_parts_is_split(searched: PartitionResult) -> None:
    plan = searched.plan
    assert plan.outcome is not None
    assert plan.outcome.objective == "macs"
    rows = {row.name: row for row in plan.layers}
    apart = [row for row in plan.layers if row.reason == "columns"]
    parted = {row.name.removesuffix("/columns") for row in apart}
    assert plan.digital_columns.keys() == parted
    assert parted
    assert parted < plan.analog
    assert 0 < len(plan.analog) < plan.size - 1
    assert plan.size == 14
    assert all(row.sensitivity is not None for name, row in rows.items() if name != "linear")
    digital = sum(row.macs for row in plan.layers if row.placement == "digital")
    assert plan.analog_mac_fraction == pytest.approx(1 - digital / plan.macs)


def test_the_placement_that_was_tested_is_the_one_that_is_written(searched: PartitionResult, tmp_path: Path) -> None:
    """The same chips, opened from the file, lose the same."""
    path = tmp_path / "searched.lhc.onnx"
    searched.save(path)
    outcome = searched.plan.outcome
    assert outcome is not None
    (again,) = at_ages(RobustnessOptions(path, data="digits-narrow", samples=400), [outcome.t_s])
    assert again.drop == pytest.approx(outcome.drop, rel=1e-9)
    assert again.draws == outcome.draws


@pytest.mark.parametrize(
    "given", [{"strategy": "milp"}, {"objective": "energy"}, {"max_energy": 1.0}], ids=["milp", "energy", "limit"]
)
def test_other_searches_name_a_share(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="auto is for `strategy` sensitivity and `objective` macs"):
        lhc.partition("digits-narrow", digital_columns="auto", **given)


def test_layers_that_stay_digital_are_whole(few: dict[str, Any]) -> None:
    none = lhc.partition("digits-narrow", digital_columns=0.1, **few | {"strategy": "all-digital"})
    assert none.plan.digital_columns == {}
    assert {row.origin for row in none.plan.layers} == {None}
    assert none.plan.size == len(none.plan.layers)


@pytest.mark.slow
def test_a_trained_network_is_split_in_its_file(few: dict[str, Any], tmp_path: Path) -> None:
    trained = lhc.partition(
        "digits-narrow", digital_columns="10%", retrain=True, steps=2, batch_size=16, validations=1, **few
    )
    assert trained.plan.outcome is not None
    path = tmp_path / "trained.lhc.onnx"
    trained.save(path)
    by_file = lhc.evaluate(path, data="digits-narrow", samples=40, draws=2)[0]
    assert by_file.draws == 2
