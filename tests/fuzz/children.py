"""Run lhc's commands in a child with limits, and say what they did that they must not do.

What breaks: an exception that is no exit; a status other than 0, 2 and 3 (and 1 from ``partition``, for a budget that
is not met); a refusal without a message; a traceback in what is printed; anything written outside the folder or
executed, by Python's audit events; an end by a signal, by more processor time or more address space than allowed.
Memory that runs out counts even where lhc turns it into an error message.
"""

import io
import json
import math
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["MEMORY", "SECONDS", "Command", "Job", "Outcome", "forked", "invoke", "really"]

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 4 * 2**30
"""Beyond what the process holds when its jobs begin."""
SECONDS = 10
REAL_SECONDS = 150
"""Of a real command that is run again: much work, such as a batch that a file fixes at a million, is no hang."""
WALL = 400
"""A busy machine takes longer than processor time says."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EXECUTING = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pickle.find_class")
CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")

NO_NUMBER = re.compile(r"(?<![\w.'\"/-])-?(nan|inf)(?![\w'\"/-])")
NO_NUMBER_IN_YAML = re.compile(r"[:\[,-] -?\.(nan|inf)\b", re.IGNORECASE)
"""Of ``hardware``, which prints the user's prose as well."""

Command = list[str]
Job = tuple[list[Command], Path]
Invoke = Callable[[Command], tuple[int, str, BaseException | None]]
"""Runs a command in this process; its status, all that it printed, and its exception."""


@dataclass(frozen=True)
class Outcome:
    """How a child fared.

    Attributes:
        problem: what broke; empty where nothing did.
        died: how the child died, where it did: the real command has to be asked.
        codes: the status of every command.
        peak: largest resident set of the child, in KiB.
    """

    problem: str
    died: str
    codes: tuple[int, ...]
    peak: int


@cache
def _command_line() -> Any:  # noqa: ANN401 - of a library that typer hides
    """All commands; to build them takes as long as ``inspect``."""
    import typer

    from lhc.cli.framework.app import app

    return typer.main.get_command(app)


def invoke(command: Command) -> tuple[int, str, BaseException | None]:
    """The command line in this process, with streams that are as strict as those of a terminal."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    errors = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    code = 0
    raised: BaseException | None = None
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            _command_line().main(command, prog_name="lhc")
        except SystemExit as error:
            code, raised = int(error.code or 0), error
        except BaseException as error:  # as the interpreter would, which prints it and ends with 1
            code, raised = 1, error
    printed = b"".join(stream.buffer.getvalue() for stream in (out, errors))
    return code, printed.decode(), raised


class _Watch:
    """Notes what is executed, and what is changed outside a folder, in this process from now on."""

    def __init__(self) -> None:
        self.inside: tuple[str, ...] = ()
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def move(self, folder: Path) -> None:
        """Go to another folder and forget."""
        os.chdir(folder)
        self.inside, self.seen = (f"{folder}/", os.devnull), []

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int) or not flags & WRITING:
                return
        elif event in CHANGING:
            path = arguments[0]
        elif event.startswith(EXECUTING):
            self.seen.append(f"executes: {event} {arguments!r}"[:300])
            return
        else:
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(self.inside):  # noqa: PTH100 - resolves no links
            self.seen.append(f"changes: {event} {arguments!r}"[:300])


def _limit(seconds: int) -> None:
    """From now on."""
    import resource  # not on Windows, where this module is only looked at

    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = math.ceil(usage.ru_utime + usage.ru_stime)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    # PyTorch for CUDA maps 6 GB as it is loaded; a thread that cannot start makes its starter wait forever.
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _faults(command: Command, code: int, printed: str, error: BaseException | None) -> str:
    if error is not None and not isinstance(error, SystemExit):
        return f"{error!r}"[:500]
    if code not in (0, 2, 3) and not (code == 1 and (command[0] == "partition" or "--timeout" in printed)):
        return f"status {code}"
    if "Traceback" in printed:
        return f"prints a traceback: {printed[-500:]}"
    if code and "rror" not in printed and code != 1:
        return f"status {code} without a message"
    none = NO_NUMBER_IN_YAML if command[0] == "hardware" else NO_NUMBER
    if not code and (found := none.search(printed)):
        return f"prints a number that is none: {printed[max(0, found.start() - 200) : found.end() + 50]}"
    return ""


def _serve(jobs: Sequence[Job], report: int, run: Invoke, seconds: int) -> None:
    """Do jobs one after the other; a line for each: status, fault and whether memory ran out, for every command."""
    watch = _Watch()
    for commands, folder in jobs:
        watch.move(folder)
        os.environ["LHC_CACHE"] = str(folder / "cache")
        _limit(seconds)
        outcomes = []
        for command in commands:
            code, printed, error = run(command)
            fault = _faults(command, code, printed, error) or "; ".join(watch.seen)
            memory = isinstance(error, MemoryError) or "bad alloc" in printed or "does not fit in memory" in printed
            outcomes.append((code, fault, memory))
        os.write(report, json.dumps(outcomes).encode() + b"\n")


def forked(jobs: Sequence[Job], run: Invoke = invoke, seconds: int = SECONDS) -> list[Outcome]:
    """Do jobs in a forked child, and those behind one that kills it in another.

    Args:
        jobs: commands (arguments of the command line) that are run one after the other, and the folder that they may
            change; it is their working directory.
        run: how a command is run.
        seconds: processor time for the commands of one job.
    """
    outcomes: list[Outcome] = []
    while len(outcomes) < len(jobs):
        outcomes += _forked(jobs[len(outcomes) :], run, seconds)
    return outcomes


def _forked(jobs: Sequence[Job], run: Invoke, seconds: int) -> list[Outcome]:
    """The outcomes of jobs until one of them kills the child, or all."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        try:
            _serve(jobs, write, run, seconds)
        finally:
            os._exit(0)
    os.close(write)
    told, timeout = _listen(read)
    if timeout:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    outcomes = [_outcome(commands, json.loads(line), usage.ru_maxrss) for (commands, _), line in zip(jobs, told)]  # noqa: B905
    if len(outcomes) < len(jobs):
        end = "timeout" if timeout else f"signal {status & 127}" if status & 127 else "exception"
        outcomes.append(Outcome("", end, (), usage.ru_maxrss))
    return outcomes


def _listen(pipe: int) -> tuple[list[bytes], bool]:
    """The whole lines that a child writes before it ends, and whether it wrote none for too long."""
    told, timeout = b"", False
    while not timeout:
        timeout = not select.select([pipe], [], [], WALL)[0]
        piece = b"" if timeout else os.read(pipe, 2**16)
        if not piece:
            break
        told += piece
    os.close(pipe)
    return told.split(b"\n")[:-1], timeout


def _outcome(commands: list[Command], told: list[tuple[int, str, bool]], peak: int) -> Outcome:
    problem = "; ".join(f"{c[0]}: {fault}" for c, (_, fault, _) in zip(commands, told, strict=True) if fault)
    died = "memory" if any(memory for _, _, memory in told) else ""
    return Outcome(problem, died, tuple(code for code, _, _ in told), peak)


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
                preexec_fn=lambda: _limit(REAL_SECONDS),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{command[0]} hangs"
        fault = _faults(command, done.returncode, done.stdout + done.stderr, None)
        if fault:
            return f"{command[0]}: {fault}: {done.stderr[-500:]}"
    return ""
