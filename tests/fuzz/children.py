"""Run lhc's commands in a child with limits, and say what they did that they must not do.

What breaks: an exception that is no exit; a status other than 0, 2 and 3 (and 1 from ``partition``, for a budget that
is not met); a refusal without a message; a traceback in what is printed; anything written outside the folder or
executed, by Python's audit events; an end by a signal, by more processor time or more address space than allowed.
Memory that runs out counts even where lhc turns it into an error message.
"""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["MEMORY", "SECONDS", "Outcome", "forked", "really"]

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 4 * 2**30
SECONDS = 10
WALL = 120
"""A busy machine takes longer than processor time says."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EXECUTING = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pickle.find_class")
CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")

Command = list[str]
Invoke = Callable[[Command], tuple[int, str, BaseException | None]]
"""Runs a command in this process; its status, all that it printed, and its exception."""


@dataclass(frozen=True)
class Outcome:
    """How a child fared.

    Attributes:
        problem: what broke; empty where nothing did.
        died: how the child died, where it did: the real command has to be asked.
        codes: the status of every command.
        peak: largest resident set, in KiB.
    """

    problem: str
    died: str
    codes: tuple[int, ...]
    peak: int


@cache
def _command_line() -> Any:  # noqa: ANN401 - of a library that typer hides
    """All commands; to build them takes as long as ``inspect``."""
    import typer

    from lhc.cli.app import app

    return typer.main.get_command(app)


def invoke(command: Command) -> tuple[int, str, BaseException | None]:
    """The command line in this process, with streams that are as strict as those of a terminal."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    errors = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    code, raised = 0, None
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            _command_line().main(command, prog_name="lhc")
        except SystemExit as error:
            code, raised = int(error.code or 0), error
        except BaseException as error:  # as the interpreter would, which prints it and ends with 1
            code, raised = 1, error
    printed = b"".join(stream.buffer.getvalue() for stream in (out, errors))  # type: ignore[attr-defined]
    return code, printed.decode(), raised


def _watch(folder: Path, seen: list[str]) -> None:
    """Note from now on what is executed, and what is changed outside a folder."""
    inside = (str(folder), os.devnull)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int) or not flags & WRITING:
                return
        elif event in CHANGING:
            path = arguments[0]
        elif event.startswith(EXECUTING):
            seen.append(f"executes: {event} {arguments!r}"[:300])
            return
        else:
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(inside):  # noqa: PTH100 - resolves no links
            seen.append(f"changes: {event} {arguments!r}"[:300])

    sys.addaudithook(hook)


def _limit(seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _faults(command: Command, code: int, printed: str, error: BaseException | None) -> str:
    if error is not None and not isinstance(error, SystemExit):
        return f"{error!r}"[:500]
    if code not in (0, 2, 3) and (code, command[0]) != (1, "partition"):
        return f"status {code}"
    if "Traceback" in printed:
        return f"prints a traceback: {printed[-500:]}"
    if code and "rror" not in printed and code != 1:
        return f"status {code} without a message"
    return ""


def _child(commands: list[Command], folder: Path, run: Invoke, seconds: int) -> list[tuple[int, str, bool]]:
    """Status, fault and whether memory ran out, for every command, within the limits."""
    seen: list[str] = []
    _limit(seconds)
    _watch(folder, seen)
    outcomes = []
    for command in commands:
        code, printed, error = run(command)
        fault = _faults(command, code, printed, error) or "; ".join(seen)
        memory = isinstance(error, MemoryError) or "bad alloc" in printed or "does not fit in memory" in printed
        outcomes.append((code, fault, memory))
    return outcomes


def forked(commands: list[Command], folder: Path, run: Invoke = invoke, seconds: int = SECONDS) -> Outcome:
    """Run commands one after the other in one forked child, which may change things in a folder only.

    Args:
        commands: arguments of the command line.
        folder: where the child may write; its own working directory.
        run: how a command is run.
        seconds: processor time for all of them.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        try:
            os.chdir(folder)
            os.write(write, json.dumps(_child(commands, folder, run, seconds)).encode())
        finally:
            os._exit(0)
    os.close(write)
    status, peak = _wait(pid)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    if not told:
        end = "timeout" if status is None else f"signal {status & 127}" if status & 127 else "exception"
        return Outcome("", end, (), peak)
    outcomes = json.loads(told)
    codes = tuple(code for code, _, _ in outcomes)
    problem = "; ".join(f"{c[0]}: {fault}" for c, (_, fault, _) in zip(commands, outcomes, strict=True) if fault)
    return Outcome(problem, "memory" if any(memory for _, _, memory in outcomes) else "", codes, peak)


def _wait(pid: int) -> tuple[int | None, int]:
    """Status of a child (None: it had to be stopped) and its largest resident set."""
    end = time.monotonic() + WALL
    while time.monotonic() < end:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return status, usage.ru_maxrss
        time.sleep(0.003)
    os.kill(pid, signal.SIGKILL)
    return None, os.wait4(pid, 0)[2].ru_maxrss


def really(commands: list[Command], folder: Path) -> str:
    """What the real commands do that they must not, probing process and all."""
    for command in commands:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "lhc", *command],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                cwd=folder,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=WALL,
                preexec_fn=lambda: _limit(SECONDS),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{command[0]} hangs"
        fault = _faults(command, done.returncode, done.stdout + done.stderr, None)
        if fault:
            return f"{command[0]}: {fault}: {done.stderr[-500:]}"
    return ""
