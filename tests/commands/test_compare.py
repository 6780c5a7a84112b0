"""Machines side by side, as users compare them."""

import json
from pathlib import Path
from typing import Any

import pytest

import lhc
from lhc.hardware import Hardware
from tests.conftest import Cli

pytestmark = pytest.mark.analog

FEW = ("--samples", "60", "--draws", "2", "--max-draws", "2", "--objective", "macs", "--max-drop", "50%")
PLACED = (*FEW, "--strategy", "all-analog", "--include", "layer2.*", "--no-explain", "-q")
PLACED_SO: dict[str, Any] = {
    "samples": 60,
    "draws": 2,
    "max_draws": 2,
    "objective": "macs",
    "max_drop": "50%",
    "strategy": "all-analog",
    "include": ["layer2.*"],
    "explain": False,
}
"""The same for the functions."""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    machine = Hardware.load("lionheart").model_copy(update={"name": "mine", "costs": None, "t_inference_s": 60.0})
    path = tmp_path_factory.mktemp("machines") / "mine.yaml"
    path.write_text(machine.to_yaml())
    return path


def test_every_machine_has_what_partition_finds_on_it(cli: Cli, mine: Path) -> None:
    machines = ("--hardware", "ideal", "--hardware", str(mine))
    found = json.loads(cli("compare", "digits-narrow", *machines, *PLACED, "--json").stdout)["machines"]

    assert [one["hardware"] for one in found] == ["ideal", "mine"]
    alone = lhc.partition("digits-narrow", hardware=mine, **PLACED_SO)
    assert alone.plan.outcome is not None
    assert found[1]["result"]["drop"] == alone.plan.outcome.drop
    assert found[1]["tiles"] == alone.plan.tiles(alone.facts)
    assert found[0]["result"]["drop"] == 0
    assert found[0]["cost"]["energy_j"] > 0
    assert found[1]["cost"] is None


def test_the_table_has_a_row_a_machine(cli: Cli, mine: Path) -> None:
    result = cli("compare", "digits-narrow", "--hardware", "ideal", "--hardware", mine, *PLACED, "--format", "csv")
    rows = [line.split(",") for line in result.stdout.splitlines()]

    assert result.exit_code == 0
    assert rows[0][:5] == ["machine", "after", "layers", "MACs analog (%)", "tiles"]
    assert [row[:2] for row in rows[1:]] == [["ideal", "0 s"], ["mine", "1 minute"]]
    assert [row[-2] in ("", "-") for row in rows[1:]] == [False, True]


def test_a_plan_is_judged_on_every_machine(mine: Path) -> None:
    placed = lhc.partition("digits-narrow", hardware=mine, **PLACED_SO)
    few: dict[str, Any] = {"samples": 60, "draws": 2, "max_draws": 2, "max_drop": "50%"}
    ideal, same = lhc.compare("digits-narrow", plan=placed.plan, hardware=["ideal", mine], **few)

    assert [one.plan.hardware.name for one in (ideal, same)] == ["ideal", "mine"]
    assert ideal.plan.analog == same.plan.analog == placed.plan.analog != frozenset()
    assert ideal.plan.outcome is not None
    assert (ideal.plan.outcome.drop, ideal.plan.outcome.t_s) == (0, 0)
    assert same.plan.outcome is not None
    assert same.plan.outcome.interval is not None
    assert same.plan.outcome.interval[0] < same.plan.outcome.interval[1], "chips of the other machine differ"
    assert same.plan.copies == placed.plan.copies != {}, "its own machine keeps the plan's copies"
    assert ideal.plan.copies == {}, "perfect devices have none"
    assert "copies of weights are chosen anew: those of --plan are for the tiles of mine" in ideal.notes


@pytest.mark.slow
def test_a_dry_run_adds_the_machines_up_and_counts_ages(cli: Cli, mine: Path, tmp_path: Path) -> None:
    machines = ("--hardware", "lionheart", "--hardware", str(mine))
    few = ("--samples", "60", "--draws", "2", "--max-draws", "2", "--strategy", "all-analog", "--objective", "macs")
    asked = ("compare", "digits-narrow", *machines, *few, "--ages", "1h,1d", "--plot", tmp_path / "f.svg")
    found = json.loads(cli(*asked, "--dry-run", "--json", "--work-dir", tmp_path).stdout)
    alone = lhc.estimate(lhc.PartitionOptions("digits-narrow", hardware=mine, **(PLACED_SO | {"include": ()})))
    own = [one for one in found["steps"] if one["what"].startswith("mine: ")]
    assert [one["what"] for one in own] == [f"mine: {one.what}" for one in alone.steps] + ["mine: looking at ages"]
    assert [one["units"] for one in own[:-1]] == [one.units for one in alone.steps]
    assert own[-1]["units"] >= 2, "one an age"
    assert found["units"] == sum(one["units"] for one in found["steps"])
    assert len(found["steps"]) == 2 * len(own)
    assert not (tmp_path / "f.svg").exists()


def test_the_function_gives_the_table_too(mine: Path) -> None:
    found = lhc.compare("digits-narrow", hardware=["ideal", mine], **PLACED_SO)
    first, second = found
    assert repr(found).startswith("<Comparison: ideal: analog ")
    assert [row[0] for row in found.as_table().rows] == ["ideal", "mine"]
    assert found.table().splitlines()[0].startswith("machine")
    assert "mine: costs are not known" in found.summary
    assert (first.plan.hardware.name, second.plan.hardware.name) == ("ideal", "mine")


@pytest.mark.slow
def test_ages_with_one_calibration_and_a_picture(cli: Cli, mine: Path, tmp_path: Path) -> None:
    plot = tmp_path / "machines.svg"
    machine = Hardware.load(mine)
    assert machine.devices is not None
    fast = {
        "devices": machine.devices.model_copy(update={"drift_scale": 3.0}),
        "compensation": machine.compensation.model_copy(update={"drift": "none"}),
    }
    drifts = tmp_path / "drifts.yaml"
    drifts.write_text(machine.model_copy(update=fast).to_yaml())
    asked = ("--hardware", "ideal", "--hardware", drifts, *PLACED, "--ages", "0,31536000", "--plot", plot, "--json")
    found = json.loads(cli("compare", "digits-narrow", *asked).stdout)
    ideal, drifting = found["machines"]

    assert [one["t_s"] for one in ideal["ages"]] == [0, 31536000]
    assert [one["drop"] for one in ideal["ages"]] == [0, 0]
    now, later = drifting["ages"]
    assert later["drop"] > now["drop"] + 0.1
    picture = plot.read_text()
    assert all(text in picture for text in ("budget 50", "energy per sample (µJ)", "not known", "budget held"))


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        ([], "none is given: give --hardware twice or more, each a preset or a file"),
        (["lionheart"], "two machines or more are compared"),
        (["lionheart", "lionheart"], "of different names; got lionheart, lionheart"),
        (["lionheart", "nowhere"], "unknown hardware 'nowhere'"),
    ],
)
def test_what_is_no_comparison_is_refused_before_any_work(cli: Cli, machines: list[str], message: str) -> None:
    result = cli("compare", "digits-narrow", *(part for one in machines for part in ("--hardware", one)))

    assert result.exit_code == 2
    assert message in result.stderr


def test_a_training_is_kept_for_one_machine(cli: Cli, tmp_path: Path) -> None:
    machines = ("--hardware", "lionheart", "--hardware", "ideal")
    result = cli("compare", "digits-narrow", *machines, "--retrain", "--checkpoint", tmp_path)

    assert result.exit_code == 2
    assert "--checkpoint keeps the training for one machine" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--retrain",), "--ages judges the given weights on all of --data, some of which trains with --retrain"),
        (("--output", "a", "--output", "b"), "--ages looks at one output: several --output cannot go with it"),
    ],
)
def test_ages_are_of_given_weights_and_one_output(cli: Cli, options: tuple[str, ...], message: str) -> None:
    result = cli("compare", "digits-narrow", "--hardware", "lionheart", "--hardware", "ideal", "--ages", "1d", *options)

    assert result.exit_code == 2
    assert message in result.stderr
