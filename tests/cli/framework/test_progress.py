"""Progress where stderr is no terminal: a line at most, and at least, every so many seconds."""

import gc
import subprocess
import sys
import time

import pytest

from lhc.cli.framework import progress


def test_a_step_without_news_is_said_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.03)
    with progress.reporter(quiet=False) as report:
        report("digital network", 0, 1)
        deadline = time.monotonic() + 20
        told = ""
        while "so far" not in told and time.monotonic() < deadline:
            time.sleep(0.01)
            told += capsys.readouterr().err
    assert "digital network (" in told
    assert "0/1" not in told
    time.sleep(0.1)
    assert not capsys.readouterr().err, "it ends with the work"


def test_a_step_with_an_estimate_has_no_other_time_beside_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.03)
    with progress.reporter(quiet=False) as report:
        report("testing", 1, 4)
        time.sleep(0.01)
        report("testing", 2, 4)
        time.sleep(0.3)
    told = capsys.readouterr().err
    assert "testing: 2/4; about " in told
    assert not [line for line in told.splitlines() if "left of this step" in line and "so far" in line]


def test_quiet_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    with progress.reporter(quiet=True) as report:
        report("testing", 1, 2)
    assert not capsys.readouterr().err


def test_a_command_looks_for_garbage_once_it_is_loaded() -> None:
    """Of what was loaded before nothing is walked; where Python goes on afterwards, nothing is set aside."""
    gc.unfreeze()  # of what was set aside after collecting tests some is freed meanwhile
    with progress.reporter(quiet=True):
        assert gc.get_freeze_count() == 0
    gc.disable()
    try:
        with progress.reporter(quiet=True):
            assert gc.isenabled()
            assert gc.get_freeze_count() > 0
    finally:
        gc.enable()
        gc.unfreeze()


def test_a_command_looks_for_none_as_it_ends() -> None:
    code = """
import atexit, gc, sys
atexit.register(lambda: print("set aside:", sum(map(len, map(gc.get_objects, range(3)))) < 1000))
sys.argv = ["lhc", "--version"]
from lhc.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set aside: True\n")
