"""Which samples of the data are looked at."""

from pathlib import Path

import numpy as np
import pytest

from lhc.errors import DataError
from lhc.options.shared import SomeSamples
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from tests.conftest import Cli

TASK = Task({"x": np.arange(18.0).reshape(9, 2)}, np.arange(9), get_metric("accuracy"))


@pytest.mark.parametrize(
    ("skip", "samples", "rows"), [(0, None, range(9)), (0, 4, range(4)), (3, 4, range(3, 7)), (7, 4, range(7, 9))]
)
def test_samples_are_counted_from_the_first_that_is_not_skipped(skip: int, samples: int | None, rows: range) -> None:
    asked = SomeSamples(skip=skip, samples=samples)
    chosen = asked.of(TASK.head(asked.end))

    assert chosen.targets is not None
    assert chosen.targets.tolist() == list(rows)
    assert np.array_equal(chosen.inputs["x"][:], TASK.inputs["x"][rows.start : rows.stop])


def test_samples_that_are_all_skipped_are_refused() -> None:
    with pytest.raises(DataError, match="--skip 9 leaves nothing: the data holds 9 samples"):
        SomeSamples(skip=9).of(TASK)


def test_a_command_judges_on_what_is_not_skipped(cli: Cli, tmp_path: Path) -> None:
    cli("export", "digits-narrow", "-o", tmp_path / "net.onnx", "--data-out", tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz") as data:
        np.savez(tmp_path / "rest.npz", **{name: array[60:] for name, array in data.items()})
    run = ("run", tmp_path / "net.onnx", "--all-analog", "--draws", 2, "--samples", 40, "--json", "--data")
    skipped, cut = cli(*run, tmp_path / "all.npz", "--skip", 60), cli(*run, tmp_path / "rest.npz")
    assert skipped.stdout == cut.stdout.replace("rest.npz", "all.npz")


def test_a_run_behind_the_samples_of_a_plan_knows_that_they_are_others(cli: Cli, tmp_path: Path) -> None:
    """The recipe of docs/data.md; a run that skips fewer or other samples cannot know it."""
    cli("export", "digits-narrow", "-o", tmp_path / "net.onnx", "--data-out", tmp_path / "all.npz")
    data, out = ("--data", tmp_path / "all.npz"), tmp_path / "placed.onnx"
    placed = cli(
        "partition", tmp_path / "net.onnx", *data, "--samples", 60, "--draws", 2, "--max-drop", "90%", "-o", out
    )
    assert placed.exit_code == 0
    for skip, known in ((60, True), (59, False)):
        told = cli("run", out, *data, "--skip", skip, "--samples", 20, "--draws", 2).stdout
        assert ("none of these guided its search" in told) == known
        assert ("some of them may have guided its search" in told) != known
