"""What a child must not do is seen; else ten thousand mutations that break nothing would prove little."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.children import Command, forked, really

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fork server needs Linux"),
    # Python 3.12 and later warn of it where other tests have left threads behind; these children use none.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]

Result = tuple[int, str, BaseException | None]
REFUSED: Result = (3, "error: not an ONNX model", SystemExit(3))


def _raises(command: Command) -> Result:
    return 1, "", ValueError("not caught")


def _strange_status(command: Command) -> Result:
    return 1, "error: of a kind that these commands do not have", SystemExit(1)


def _silent(command: Command) -> Result:
    return 3, "", SystemExit(3)


def _traceback(command: Command) -> Result:
    return 3, "Traceback (most recent call last): ... ValueError", SystemExit(3)


def _no_number(command: Command) -> Result:
    return 0, "drop  interval\n----\n0.1   nan to 0.3", SystemExit(0)


@pytest.mark.parametrize(
    ("line", "broken"), [("source: Lammie, inf TETC", False), ("rows: .nan", True), ("a: [1, -.inf]", True)]
)
def test_a_description_of_hardware_may_have_any_words(line: str, broken: bool, tmp_path: Path) -> None:
    (outcome,) = forked([([["hardware"]], tmp_path)], lambda command: (0, line, SystemExit(0)))
    assert bool(outcome.problem) is broken


def _writes_elsewhere(command: Command) -> Result:
    Path("../elsewhere").write_text("x")
    return REFUSED


def _renames(command: Command) -> Result:
    Path("../model.onnx").rename("../other.onnx")
    return REFUSED


def _executes(command: Command) -> Result:
    subprocess.run(["true"], check=True)
    return REFUSED


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (_raises, "ValueError('not caught')"),
        (_strange_status, "status 1"),
        (_silent, "without a message"),
        (_traceback, "prints a traceback"),
        (_no_number, "prints a number that is none"),
        (_writes_elsewhere, "changes: open"),
        (_renames, "changes: os.rename"),
        (_executes, "executes: subprocess.Popen"),
    ],
)
def test_what_is_forbidden_is_told(run: Callable[[Command], Result], problem: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("")
    folder = tmp_path / "own"
    folder.mkdir()
    (outcome,) = forked([([["analyze"]], folder)], run)
    assert problem in outcome.problem
    assert not outcome.died


def test_refusals_with_a_message_and_files_of_its_own_are_allowed(tmp_path: Path) -> None:
    def fine(command: Command) -> Result:
        Path("own").write_text("x")
        return REFUSED if command == ["analyze"] else (1, "", SystemExit(1))

    (outcome,) = forked([([["analyze"], ["partition"]], tmp_path)], fine)
    assert (outcome.problem, outcome.died, outcome.codes) == ("", "", (3, 1))
    assert 1024 < outcome.peak < 4 * 2**20


def _spins(command: Command) -> Result:
    while True:
        pass


def _takes_memory(command: Command) -> Result:
    bytearray(5 * 2**30)
    return REFUSED


def _takes_memory_and_says_so(command: Command) -> Result:
    try:
        bytearray(5 * 2**30)
    except MemoryError:
        return 3, "error: it does not fit in memory", SystemExit(3)
    return REFUSED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "death"),
    [(_spins, "signal"), (_takes_memory_and_says_so, "memory"), (_takes_memory, "exception")],
    ids=["too long", "too large, and told", "too large"],
)
def test_limits_hold(run: Callable[[Command], Result], death: str, tmp_path: Path) -> None:
    def at_second(command: Command) -> Result:
        return run(command) if command == ["inspect"] else REFUSED

    jobs = [([[command]], tmp_path) for command in ("analyze", "inspect", "analyze")]
    first, second, third = forked(jobs, at_second, seconds=1)
    assert second.died.startswith(death)
    assert (first.died, first.codes, third.died, third.codes) == ("", (3,), "", (3,))


def test_the_real_command_may_refuse(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    assert really([["inspect", "model.onnx"]], tmp_path) == ""
