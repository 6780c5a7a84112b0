"""``lhc.sweep``: the same rows however it is carried out; what is done is kept, what fails says so."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

import lhc
from benchmarks.sweep_with_a_killed_worker import disturbed, small_sweep, timed
from lhc.errors import ConfigError
from lhc.measure.workers.whole_runs import RunWorkers
from lhc.report.exports.sweep_files import save_sweep
from lhc.runtime.environment_fingerprint import environment
from lhc.store import ResultCache

pytestmark = pytest.mark.analog

T = TypeVar("T")
R = TypeVar("R")


class InThisProcess(RunWorkers):
    """Does whole runs without processes, whose start takes longer than the runs here."""

    count = 1

    def environment(self) -> dict[str, str]:
        return environment()

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[int, R]]:
        return ((number, function(task)) for number, task in enumerate(tasks))

    def close(self) -> None:
        pass


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is kept, not of who computes it."""
    monkeypatch.setattr("lhc.commands.sweep.run_workers", lambda options: InThisProcess())


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, lhc.SweepResult]:
    """A sweep of 12 runs on two processes, the cache that it was done with, and what came out."""
    folder = tmp_path_factory.mktemp("sweep")
    path = small_sweep(folder, 12)
    return path, folder / "cache", timed(path, folder / "cache").result


def one(folder: Path, **more: object) -> Mapping[str, object]:
    """A sweep of a single run, of the network in a folder."""
    known = {"model": str(folder / "perceptron.onnx"), "data": str(folder / "samples.npz"), "strategy": "all-analog"}
    return known | {"explain": False, "draws": 2, "max-draws": 2} | more


@pytest.mark.slow
def test_a_killed_worker_changes_no_byte(swept: tuple[Path, Path, lhc.SweepResult], tmp_path: Path) -> None:
    path, _, plain = swept

    broken = disturbed(path, tmp_path / "other").result

    assert len(plain.rows) == 12
    assert plain.failed == broken.failed == ()
    for result, name in ((plain, "plain"), (broken, "broken")):
        save_sweep(result, tmp_path / name)
    for file in ("sweep.csv", "sweep.md", "sweep.json", "sweep.svg"):
        assert (tmp_path / "plain" / file).read_bytes() == (tmp_path / "broken" / file).read_bytes()


@pytest.mark.slow
def test_a_row_is_what_the_command_alone_gives(swept: tuple[Path, Path, lhc.SweepResult]) -> None:
    path, _, result = swept
    row = result.rows[-1]
    assert row.figures is not None
    options = {key.replace("-", "_"): value for key, value in row.settings.items()}

    alone = lhc.partition(**options)  # type: ignore[arg-type]

    outcome = alone.plan.outcome
    assert outcome is not None
    assert (row.figures.drop, row.figures.interval, row.figures.tiles) == (
        outcome.drop,
        outcome.interval,
        alone.plan.tiles(alone.facts),
    )
    assert row.command.startswith("lhc partition perceptron.onnx --data samples.npz")
    assert path.name == "sweep.toml"


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_finished_rows_are_kept_by_content(swept: tuple[Path, Path, lhc.SweepResult], tmp_path: Path) -> None:
    path, cache, result = swept
    shutil.copytree(cache, tmp_path / "cache")  # rows of another sweep are not for the tests below

    again = lhc.sweep(path, work_dir=tmp_path / "cache")
    assert again.rows == result.rows  # seconds too: nothing was run
    assert again.earlier == 12

    text = path.read_text().replace("seed = [0,", "seed = [100,")
    (path.parent / "other.toml").write_text(text)
    other = lhc.sweep(path.parent / "other.toml", work_dir=tmp_path / "cache")
    assert (other.earlier, len(other.rows), other.name) == (8, 12, "other")


@pytest.mark.usefixtures("in_this_process")
def test_a_run_that_fails_is_a_row_that_is_tried_again(
    swept: tuple[Path, Path, lhc.SweepResult], tmp_path: Path
) -> None:
    folder = swept[0].parent
    missing = tmp_path / "later.npz"
    sweep = one(folder, data=[str(folder / "samples.npz"), str(missing)])

    first = lhc.sweep(sweep, work_dir=tmp_path / "cache")

    assert [row.error is None for row in first.rows] == [True, False]
    assert "later.npz" in str(first.rows[1].error)
    assert first.rows[1].figures is None
    assert "1 failed" in first.summary
    assert "cannot be estimated" not in first.summary
    np.savez(missing, **{name: array[:64] for name, array in np.load(folder / "samples.npz").items()})
    second = lhc.sweep(sweep, work_dir=tmp_path / "cache")
    assert second.earlier == 1
    assert second.failed == ()
    assert second.rows[0] == first.rows[0]
    assert second.rows[1].figures is not None
    assert second.rows[1].figures.samples <= 64


@pytest.mark.usefixtures("in_this_process")
def test_a_row_that_another_version_kept_is_measured_anew(
    swept: tuple[Path, Path, lhc.SweepResult], tmp_path: Path
) -> None:
    path, cache, result = swept
    shutil.copytree(cache, tmp_path / "cache")
    with closing(sqlite3.connect(next((tmp_path / "cache").glob("*.sqlite3")))) as connection:
        ((name,),) = connection.execute("SELECT name FROM documents WHERE kind = 'sweep row' LIMIT 1").fetchall()
    with ResultCache(tmp_path / "cache") as kept:
        kept.update("sweep row", name, lambda before: json.dumps({**json.loads(before or b""), "figures": 3}).encode())

    again = lhc.sweep(path, work_dir=tmp_path / "cache")

    assert again.earlier == 11
    assert [row.figures for row in again.rows] == [row.figures for row in result.rows]


@pytest.mark.usefixtures("in_this_process")
def test_no_run_is_begun_once_the_time_is_over(swept: tuple[Path, Path, lhc.SweepResult], tmp_path: Path) -> None:
    result = lhc.sweep(one(swept[0].parent, seed=list(range(5))), work_dir=tmp_path, timeout=1e-6)

    assert (len(result.rows), result.left_out) == (0, 5)
    assert "5 not begun in time" in result.summary


def test_a_worker_may_hold_the_files_of_the_zoo_with_other_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one on another machine does: what lies below LHC_DATA counts as the sweep found it."""
    weights = tmp_path / "weights.npz"
    weights.write_bytes(b"weights")
    monkeypatch.setenv("LHC_DATA", str(tmp_path))

    class Elsewhere(InThisProcess):
        def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[int, R]]:
            given = list(tasks)
            os.utime(weights, (1, 1))
            return super().run(function, given)

    monkeypatch.setattr("lhc.commands.sweep.run_workers", lambda options: Elsewhere())
    (row,) = lhc.sweep(one(tmp_path, model="digits-narrow", data="digits-narrow", samples=40), work_dir=None).rows
    assert row.error is None


def test_a_mistake_is_told_before_any_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no option 'modle'"):
        lhc.sweep({"modle": "digits", "model": "digits"}, work_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
