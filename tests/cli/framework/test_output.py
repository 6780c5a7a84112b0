"""Results go to stdout: one that nobody reads keeps its exit code, one that cannot be written is an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FULL = Path("/dev/full")
COMMANDS = """
import logging, sys
import typer
from lhc.cli.framework import app
from lhc.cli.framework.output import emit_json, hint, say

def verdict() -> None:
    say("a table")
    hint("the budget is not met")
    raise typer.Exit(1)

def document() -> None:
    emit_json({"rows": [0] * 100_000})

def warning() -> None:
    logging.getLogger("lhc").warning("something is left out")

for one in (verdict, document, warning):
    app.app.command()(one)
app.main()
"""


PACKAGE = """
def little() -> None:
    print("a table")

def much() -> None:
    print("a table" * 100_000)
"""


def run(command: str, stdout: int, stderr: int = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment.pop("PYTHONUNBUFFERED", None)
    line = [sys.executable, "-c", COMMANDS, *command.split()]
    return subprocess.run(line, env=environment, stdout=stdout, stderr=stderr, text=True, check=False)


@pytest.fixture
def closed_pipe() -> int:
    """A pipe that nobody reads, as behind ``| true``."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(("command", "code"), [("models", 2), ("document", 2), ("verdict", 2), ("warning", 0)])
def test_a_closed_standard_output_is_told(command: str, code: int) -> None:
    """As of a service, or behind ``>&-``: Python has no stream for it then."""
    script = f"exec {sys.executable} -c 'import sys; exec(sys.argv.pop(1))' \"$1\" {command} >&-"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = ["sh", "-c", script, "sh", COMMANDS]
    done = subprocess.run(line, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert ("error: standard output is closed; send it to another place" in done.stderr) == (code == 2)


def test_what_is_for_a_closed_standard_error_is_not_in_the_result() -> None:
    script = f"exec {sys.executable} -c 'import sys; exec(sys.argv.pop(1))' \"$1\" verdict 2>&-"
    line, environment = ["sh", "-c", script, "sh", COMMANDS], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "a table\n")


WRITING = {
    "models": 0,
    "models --json": 0,
    "--help": 0,
    "models --help": 0,
    "models --help-all": 0,
    "--version": 0,
    "document": 0,
}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "code"), [*WRITING.items(), ("verdict", 1)])
def test_a_result_that_nobody_reads_keeps_its_exit_code(command: str, code: int, closed_pipe: int) -> None:
    done = run(command, closed_pipe)
    assert (done.returncode, done.stderr) == (code, "the budget is not met\n" if code else "")


@pytest.mark.parametrize("command", ["little", "much"])
def test_what_a_command_of_another_package_prints_may_be_left_unread(
    command: str, closed_pipe: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.py").write_text(PACKAGE)
    about = tmp_path / "other-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: other\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[lhc.commands]\nlittle = other:little\nmuch = other:much\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run(command, closed_pipe)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("command", "code"), [("verdict", 1), ("warning", 0)])
def test_a_message_that_nobody_reads_changes_no_exit_code(command: str, code: int, closed_pipe: int) -> None:
    assert run(command, closed_pipe, closed_pipe).returncode == code


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full on this system")
@pytest.mark.parametrize("command", [*WRITING, "verdict"])
def test_a_full_disk_behind_stdout_is_told(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where a crash would leave its traceback
    with FULL.open("w") as full:
        done = run(command, full.fileno())
    assert done.returncode == 2
    assert done.stderr == (
        "error: standard output cannot be written: No space left on device; send it to another place\n"
    )
    assert list(tmp_path.iterdir()) == []
