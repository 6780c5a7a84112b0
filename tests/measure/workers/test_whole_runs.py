"""Whole runs on processes: each is done once, by whomever, and again where its worker dies."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lhc.errors import LhcError, WorkerError
from lhc.measure.workers.whole_runs import MOST_DEATHS, LocalRuns
from lhc.runtime.environment_fingerprint import environment


def nothing() -> dict[str, str]:
    return {}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers load no libraries, which takes them seconds."""
    monkeypatch.setattr("lhc.measure.workers.processes._load", nothing)


def doubled(number: int) -> int:
    return 2 * number


def dies_at_first(where: tuple[Path, int]) -> int:
    """Ends its process by a signal, so often that it is as many files as asked for."""
    folder, deaths = where
    if len(list(folder.iterdir())) < deaths:
        (folder / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def refused(number: int) -> int:
    raise LhcError(f"run {number}")


@pytest.mark.slow
def test_runs_are_done_once_and_asked_for_when_there_is_room() -> None:
    asked: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(6):
            asked.append(number)
            yield number

    with LocalRuns(2) as workers:
        first = workers.run(doubled, tasks())
        found = dict([next(first)])
        assert len(asked) <= 4
        found |= dict(first)
        assert workers.environment() == environment()
        with pytest.raises(LhcError, match="run 0"):
            list(workers.run(refused, [0]))

    assert found == {number: 2 * number for number in range(6)}


@pytest.mark.slow
def test_a_run_whose_worker_dies_is_done_again_and_given_up_at_last(tmp_path: Path) -> None:
    once, always = tmp_path / "once", tmp_path / "always"
    once.mkdir()
    always.mkdir()

    with LocalRuns(2) as workers:
        found = dict(workers.run(dies_at_first, [(once, 1), (always, 99), (tmp_path, 0)]))

    assert isinstance(found[0], int)
    assert isinstance(found[2], int)
    assert isinstance(found[1], WorkerError)
    assert f"{MOST_DEATHS} worker processes ended at it" in str(found[1])
    assert len(list(always.iterdir())) == MOST_DEATHS


@pytest.mark.slow
def test_a_worker_that_dies_between_runs_is_replaced() -> None:
    with LocalRuns(1) as workers:
        ((_, victim),) = workers.run(dies_at_first, [(Path(os.devnull).parent, 0)])
        assert isinstance(victim, int)
        os.kill(victim, signal.SIGKILL)
        time.sleep(0.5)

        assert list(workers.run(doubled, [4])) == [(0, 8)]
