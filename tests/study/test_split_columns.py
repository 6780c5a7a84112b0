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
from lhc.errors import ModelError, UsageError
from lhc.hardware import Hardware
from lhc.measure import Running
from lhc.models import zoo_entry
from lhc.onnx_io import load_model, read_plan
from lhc.options.commands import PartitionOptions
from lhc.runtime.ort import create_session
from lhc.study import split_columns
from lhc.study.outcome import PartitionResult
from lhc.study.source import open_model
from lhc.study.state import Study

pytestmark = pytest.mark.analog

FEW: dict[str, Any] = {
    "hardware": Hardware.load("lionheart").with_drift_compensation_alone(),
    "samples": 60,
    "draws": 2,
    "max_draws": 2,
    "max_drop": 0.5,
    "explain": False,
    "strategy": "all-analog",
}


@pytest.fixture(scope="module")
def placed() -> PartitionResult:
    """The last layer is kept digital by the user."""
    return lhc.partition("digits-narrow", digital_columns="10%", force_digital=["linear"], **FEW)


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


def test_a_plan_that_is_followed_has_its_own(placed: PartitionResult) -> None:
    options = PartitionOptions("digits-narrow", plan=placed.plan, samples=20, draws=2)
    with Running(options) as running:
        study = preparation(options).apply(begin(options, running, open_model("digits-narrow")))
    assert study.plan.digital_columns == placed.plan.digital_columns
    assert study.plan.analog == placed.plan.analog
    with pytest.raises(UsageError, match="--digital-columns cannot go with --plan"):
        preparation(replace(options, digital_columns=0.1))


def test_it_is_compiled_as_it_is_run(file: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    session = lhc.HybridSession(file, hardware="ideal")
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
def prepared() -> Iterator[Study]:
    options = PartitionOptions("digits-narrow", samples=40, draws=2)
    with Running(options) as running:
        yield preparation(options).apply(begin(options, running, open_model("digits-narrow")))


@pytest.mark.parametrize(("allowed", "shares"), [(2.0, 0), (0.0085, 2), (1e-6, 3)], ids=["none", "some", "all"])
def test_the_least_share_that_seems_to_hold_is_taken(
    allowed: float, shares: int, prepared: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a share of S digital, everything else on tiles seems to lose 0.01 - S / 50."""
    tried: list[float] = []

    def seems(study: Study) -> bool:
        apart = sum(row.macs for row in study.plan.layers if row.reason == "columns") / study.plan.macs
        tried.append(apart)
        return 0.01 - apart / 50 <= allowed

    monkeypatch.setattr(split_columns, "_holds", seems)
    monkeypatch.setattr(split_columns, "SHARES", (0.04, 0.1, 0.2))
    study = split_columns.SplitColumns(None).apply(prepared)
    assert len(tried) == shares + 1
    assert tried == sorted(tried)
    assert bool(study.plan.digital_columns) == (shares > 0)
    assert any(note.startswith("--digital-columns auto") for note in study.notes) == (shares == 0)
    assert (
        split_columns.SplitColumns(0.3).apply(study if shares else replace(study, follow=study.plan)).plan == study.plan
    )


def test_layers_that_stay_digital_are_whole() -> None:
    none = lhc.partition("digits-narrow", digital_columns=0.1, **{**FEW, "strategy": "all-digital"})
    assert none.plan.digital_columns == {}
    assert {row.origin for row in none.plan.layers} == {None}
    assert none.plan.size == len(none.plan.layers)


@pytest.mark.slow
def test_a_trained_network_is_split_in_its_file(tmp_path: Path) -> None:
    trained = lhc.partition(
        "digits-narrow", digital_columns="10%", retrain=True, steps=2, batch_size=16, validations=1, **FEW
    )
    assert trained.plan.outcome is not None
    path = tmp_path / "trained.lhc.onnx"
    trained.save(path)
    by_file = lhc.evaluate(path, data="digits-narrow", samples=40, draws=2)[0]
    assert by_file.draws == 2
