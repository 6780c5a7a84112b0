"""The command that a plan names."""

import os
from pathlib import Path

import onnx
import pytest

from lhc.models import zoo_entry
from lhc.onnx_io import held_in, load_model, read_plan
from lhc.plan import Plan
from tests.conftest import Cli

pytestmark = pytest.mark.analog


@pytest.mark.slow
def test_a_plan_names_its_command_and_is_the_same_from_every_folder(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command in the model and in the plan's file; neither tells where they lie, or how the work was done."""
    written = []
    for name, more in (("here", []), ("there", ["--work-dir", str(tmp_path / "cache")])):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        onnx.save(zoo_entry("digits-narrow").model(), folder / "digits.onnx")
        asked = ["partition", str(folder / "digits.onnx"), "--data", "digits-narrow", "--samples", "40", "--draws", "2"]
        asked += ["--strategy", "all-analog", "--max-drop", "100%", "--plan-out", "plan.yaml", "--quiet", *more]
        assert cli(*asked).exit_code == 0
        written.append([(folder / file).read_bytes() for file in ("digits.lhc.onnx", "plan.yaml")])
    assert written[0] == written[1]
    plan = Plan.load(folder / "plan.yaml")
    command = (
        "lhc partition digits.onnx --data digits-narrow --samples 40 --draws 2 --max-drop 100% --strategy all-analog"
    )
    assert sorted(plan.command.split()) == sorted(command.split())
    assert read_plan(load_model(folder / "digits.lhc.onnx")) == plan


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
def test_model_and_plan_are_of_one_command(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command with the same output writes before or after both."""
    import fcntl

    waits: list[bool] = []

    def write(path: Path, content: str) -> None:
        handle = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits.append((tmp_path / "out.onnx").exists())
        os.close(handle)

    monkeypatch.setattr("lhc.cli.partition.write", write)
    asked = ("--strategy", "all-digital", "--samples", 40, "--draws", 2, "-o", tmp_path / "out.onnx", "--no-explain")
    assert cli("partition", "digits-narrow", *asked, "--plan-out", tmp_path / "plan.yaml", "-q").exit_code == 0
    assert waits == [True]


def test_a_placement_that_is_replaced_is_told(cli: Cli, tmp_path: Path) -> None:
    """Its summary and its samples, unless it is the same one; nothing where there was none."""
    out = tmp_path / "out.onnx"
    asked = ("partition", "digits-narrow", "--draws", 2, "--max-drop", "100%", "--no-explain", "-q", "-o", out)

    def told(*more: object) -> str:
        found = cli(*asked, *more)
        assert found.exit_code == 0
        return next(line for line in found.stderr.splitlines() if line.startswith("written: "))

    many, few = ("--strategy", "all-analog", "--samples", 80), ("--strategy", "all-digital", "--samples", 40)
    assert told(*many) == f"written: {out}"
    assert told(*many) == f"written: {out}"
    held = held_in(out)
    assert held is not None
    assert held.startswith("analog 14/14 layers, 100.0 % of MACs, ")
    assert held.endswith(", on 60 samples"), "the others calibrate chips"
    assert told(*few) == f"written: {out}; replaced: {held}"
    out.write_text("mine", encoding="utf-8")
    assert held_in(out) == ""
    assert told(*few, "--force") == f"written: {out}; replaced: a file without a placement"
