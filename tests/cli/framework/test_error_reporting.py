"""A mistake of lhc's own has a code that means nothing else, and a message that says what to do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from lhc.cli.framework.error_reporting import reporting

ROOT = Path(__file__).resolve().parents[3]
CRASHING = """
import sys
from lhc.cli.framework import app

@app.app.command()
def boom(name: str) -> None:
    {body}

sys.argv = ["lhc", "boom", "my model.onnx"]
app.main()
"""


def run(body: str, temporary: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", CRASHING.format(body=body)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_warning_is_told_once_a_command(tmp_path: Path) -> None:
    body = "import logging; [logging.getLogger('lhc').warning('%s is left out', one) for one in 'abab']"
    done = run(body, tmp_path)
    assert (done.returncode, done.stderr.splitlines()) == (0, ["warning: a is left out", "warning: b is left out"])


def test_a_crash_has_its_own_code_and_keeps_its_traceback(tmp_path: Path) -> None:
    done = run("{}['layer 7']", tmp_path)
    assert (done.returncode, done.stdout) == (70, "")
    assert "lhc crashed: KeyError: 'layer 7'" in done.stderr
    assert "report it" in done.stderr
    assert "Traceback" not in done.stderr
    named = re.search(r"traceback is in (\S+);", done.stderr)
    assert named is not None
    text = Path(named[1]).read_text("utf-8")
    assert Path(named[1]).parent == tmp_path
    assert "Traceback (most recent call last)" in text
    assert "lhc boom 'my model.onnx'" in text


def test_without_a_place_for_it_the_traceback_is_printed(tmp_path: Path) -> None:
    body = "import tempfile; tempfile.mkstemp = lambda **_: open('/nowhere/at/all'); raise RuntimeError('lost')"
    done = run(body, tmp_path)
    assert done.returncode == 70
    assert "Traceback (most recent call last)" in done.stderr
    assert "The traceback is above" in done.stderr


@pytest.mark.parametrize(
    ("body", "code"),
    [("raise SystemExit(3)", 3), ("import typer; raise typer.Exit(1)", 1)],
    ids=["exit", "typer's exit"],
)
def test_what_is_no_crash_keeps_its_code(body: str, code: int, tmp_path: Path) -> None:
    done = run(body, tmp_path)
    assert done.returncode == code
    assert "crashed" not in done.stderr
    assert list(tmp_path.glob("lhc-crash-*")) == []


@pytest.mark.slow
@pytest.mark.analog
def test_a_worker_that_dies_is_a_crash(tmp_path: Path, model_file: Path, data_file: Path) -> None:
    (tmp_path / "deadly.py").write_text(
        """
import multiprocessing, os, signal

def accuracy(outputs, targets):
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return outputs.argmax(axis=1) == targets
"""
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = f"-m lhc run {model_file} --data {data_file} --draws 2 --all-analog --jobs 2 --higher-is-better"
    command += f" --metric deadly:accuracy --work-dir {tmp_path / 'results'}"
    done = subprocess.run(
        [sys.executable, *command.split()], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 70, done.stderr
    assert "a worker process is gone" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError("Unable to allocate 14.6 TiB"), 3),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 17 bytes"), 3),
        (RuntimeError("another mistake"), None),
    ],
    ids=["numpy", "torch", "neither"],
)
def test_memory_that_is_not_there_is_told(
    error: Exception, code: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    with pytest.raises(RuntimeError if code is None else typer.Exit) as caught:
        reporting(command)()
    if isinstance(caught.value, typer.Exit):
        assert caught.value.exit_code == code
    assert ("more memory is needed than there is" in capsys.readouterr().err) == (code is not None)
