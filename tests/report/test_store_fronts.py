"""Fronts in the folder of results."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.options.by_command import ParetoOptions
from lhc.passes import initial_plan
from lhc.plan import Plan
from lhc.report.document.report import Report
from lhc.report.store import StoredFront, answer, keep_front, newest_front, read_fronts, store_front
from lhc.results import Front
from lhc.store import ResultCache

NETWORK, OTHER = 64 * "1", 64 * "2"


def front_of(source: str, metric: str = "kl") -> StoredFront:
    return StoredFront(source, "lionheart", ("--draws", "5"), Front("macs", {}, metric, (), True, None, True))


def test_fronts_of_a_network_come_the_newest_first(tmp_path: Path) -> None:
    store_front(tmp_path, "one", front_of(NETWORK))
    store_front(tmp_path, "two", front_of(NETWORK))
    store_front(tmp_path, "one", front_of(OTHER))
    store_front(tmp_path, "one", front_of(NETWORK, "nmse"))
    assert read_fronts(tmp_path, NETWORK) == [front_of(NETWORK, "nmse"), front_of(NETWORK)]
    assert read_fronts(tmp_path, OTHER) == [front_of(OTHER)]


def test_what_another_version_wrote_is_passed_over(tmp_path: Path) -> None:
    with ResultCache(tmp_path) as cache:
        cache.update("front", f"{NETWORK} one", lambda _: b'{"schema": 99}')
    with pytest.raises(UsageError, match="holds no front of this network"):
        read_fronts(tmp_path, NETWORK)
    store_front(tmp_path, "two", front_of(NETWORK))
    assert read_fronts(tmp_path, NETWORK) == [front_of(NETWORK)]


def test_a_front_is_of_a_machine_by_its_numbers_whatever_it_is_called(tmp_path: Path) -> None:
    text = Hardware.load("lionheart").to_yaml()
    edited, other = tmp_path / "mine.yaml", tmp_path / "other.yaml"
    edited.write_text(text.replace("rows: 256", "rows: 128"), encoding="utf-8")
    other.write_text(text.replace("rows: 256", "rows: 64"), encoding="utf-8")
    machine = Hardware.load(edited)
    store_front(tmp_path, "one", replace(front_of(NETWORK), hardware=str(edited), machine=machine))
    (stored,) = read_fronts(tmp_path, NETWORK)
    renamed = machine.model_copy(update={"name": "chip", "description": "", "source": "evaluator"})
    calibrated = machine.with_adc_bounds({"conv": 3.0})
    assert [stored.is_of(plan_on(one)) for one in (machine, renamed, calibrated)] == 3 * [True]
    drift_alone = machine.with_drift_compensation_alone()
    others = (Hardware.load("lionheart"), Hardware.load(other), drift_alone)
    assert [stored.is_of(plan_on(one)) for one in others] == 3 * [False]
    assert not front_of(NETWORK).is_of(plan_on(machine)), "kept without its machine"


def test_every_objective_that_was_measured_is_named_where_another_is_asked_for() -> None:
    energy = front_of(NETWORK)
    fronts = [replace(energy, front=replace(energy.front, objective=one)) for one in ("energy", "macs", "energy")]
    with pytest.raises(UsageError, match=r"no front of objective tiles is kept; measured are: energy, macs$"):
        answer(fronts, 0.01, "tiles")


def plan_on(machine: Hardware) -> Plan:
    return initial_plan(LayerGraph((), (), ()), machine, NETWORK, "")


def test_a_file_is_no_folder_of_fronts(tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text("{}")
    with pytest.raises(UsageError, match=r"front.json: is a file; .* the folder of results that --work-dir names"):
        read_fronts(tmp_path / "front.json", "a")


def test_a_front_of_another_age_does_not_stand_beside_a_placement(full: Report, tmp_path: Path) -> None:
    assert full.front is not None
    assert full.plan.outcome is not None
    stored = StoredFront(full.plan.source, "lionheart", (), full.front, full.plan.hardware)
    store_front(tmp_path, "one", stored)
    ages = {point.evaluation.t_s for point in full.front.verified if point.evaluation is not None}
    (age,) = ages
    for t_s, found in ((age, full.front), (age + 1, None)):
        outcome = full.plan.outcome.model_copy(update={"t_s": t_s})
        assert newest_front(tmp_path, full.plan.model_copy(update={"outcome": outcome})) == found


def test_fronts_of_other_options_do_not_replace_each_other(tmp_path: Path) -> None:
    front = front_of(NETWORK).front
    kinds: list[dict[str, Any]] = [{}, {"exclude": ["head"]}, {"copies": "off"}, {"group": "path:1"}, {"points": 3}]
    for one in kinds:
        keep_front(front, NETWORK, ParetoOptions("digits", draws=5, **one), tmp_path)
    stored = read_fronts(tmp_path, NETWORK)
    assert [one.command for one in stored] == [
        ("--draws", "5"),  # of the fewer points, which it replaces; the newest first
        ("--draws", "5"),
        ("--draws", "5", "--copies", "off"),
        ("--draws", "5"),
    ]


def test_the_answer_is_of_the_machine_that_is_named(tmp_path: Path) -> None:
    keep_front(front_of(NETWORK).front, NETWORK, ParetoOptions("digits", hardware="hermes"), tmp_path)
    keep_front(front_of(NETWORK).front, NETWORK, ParetoOptions("digits"), tmp_path)
    stored = read_fronts(tmp_path, NETWORK)
    assert answer(stored, 1.0).stored.hardware == "lionheart", "the newest"
    assert answer(stored, 1.0, machine=Hardware.load("hermes")).stored.hardware == "hermes"
    with pytest.raises(UsageError, match="--hardware ideal: no front on it is kept; measured are: lionheart, hermes"):
        answer(stored, 1.0, machine=Hardware.load("ideal"))
