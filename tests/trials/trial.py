"""One trial in a process of its own: ``python -m tests.trials.trial NETWORK WAY FOLDER COMMANDS``.

Prints a JSON line for every outcome. A file that is in the folder already is not made again.
"""

import contextlib
import json
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhc.errors import LhcError
from tests.trials.trial_commands import COMMANDS, Subject
from tests.trials.trial_files import exported

__all__ = ["main"]

INTEGERS = ("QDQ", "dynamic")
"""Ways whose files hold operators on integers, which are placed on request."""


def _tell(command: str, started: float, **what: Any) -> None:  # noqa: ANN401
    seconds = round(time.process_time() - started, 2)
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # until now
    print(json.dumps({"command": command, "seconds": seconds, "mebibytes": mebibytes, **what}), flush=True)


def _cause(error: BaseException) -> str:
    """The first line of what was at the bottom of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _subject(network: str, way: str, folder: Path) -> Subject:
    """The file and its samples, made where they are not there."""
    kept, noted = folder / "samples.npz", folder / "made.json"
    if not noted.exists():
        path, samples, scored = exported(network, way, folder)
        np.savez(kept, **samples)  # type: ignore[arg-type]
        noted.write_text(json.dumps({"file": path.name, "scored": scored}), "utf-8")
    made = json.loads(noted.read_text("utf-8"))
    with np.load(kept) as arrays:
        return Subject(folder / made["file"], dict(arrays), made["scored"], way in INTEGERS)


def main(network: str, way: str, folder: Path, commands: Sequence[str]) -> None:
    """Make the file and run commands on it."""
    started = time.process_time()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            subject = _subject(network, way, folder)
    except Exception as error:
        traceback.print_exc()
        _tell("export", started, status="exporter", why=_cause(error))
        return
    _tell("export", started, status="ok")
    for name in commands:
        started = time.process_time()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found = COMMANDS[name](subject)
        except LhcError as error:
            _tell(name, started, status="refused", why=str(error))
        except Exception as error:
            traceback.print_exc()
            _tell(name, started, status="failed", why=_cause(error))
        else:
            _tell(name, started, status="ok", **found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4].split(","))
