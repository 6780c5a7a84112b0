"""Run real networks, as exporters and tools write them, through every command of lhc.

A network and a way to make its file are a trial, in a process of its own with a limit of time; what is done is not
repeated. Random weights, few layers: what is tried is whether lhc reads, places, runs, compiles and trains what such
files hold, not how well it does on tasks. torchvision, timm, transformers, ultralytics, tensorflow and tf2onnx are not
needed by lhc; a trial whose library is not there says so. Run from a checkout::

    python -m tests.trials.trials FOLDER [--only TEXT] [--commands analyze,run] [--limit SECONDS] [--lacking PAGE]
    python -m tests.trials.trials FOLDER --table tests/trials/table.md
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.trials.trial_commands import COMMANDS
from tests.trials.trial_files import TRIALS
from tests.trials.trial_table import Outcomes, read_table, write_table

__all__ = ["main", "outcomes"]

MODULE = "tests.trials.trial"
"""What tries one."""
ROOT = Path(__file__).resolve().parents[2]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def outcomes(folder: Path) -> Outcomes:
    """What is known of every trial; of a command that was repeated, the last."""
    log = folder / "trials.jsonl"
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for line in log.read_text("utf-8").splitlines() if log.exists() else ():
        one = json.loads(line)
        found.setdefault(one["trial"], {})[one["command"]] = one
    return found


def _tried(trial: str, commands: Sequence[str], folder: Path, limit: int) -> Iterator[dict[str, Any]]:
    """The outcomes of a trial's commands, as they come, in a process of their own; one that dies says so."""
    inside = folder / trial.replace(" | ", "--").replace(", ", "-").replace(" ", "-")
    inside.mkdir(exist_ok=True)
    command = [sys.executable, "-m", MODULE, *trial.split(" | "), str(inside), ",".join(commands)]
    environment = os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))} | dict.fromkeys(THREADS, "1")
    left = ["export", *commands]
    with (
        (inside / "errors.txt").open("a", encoding="utf-8") as errors,
        subprocess.Popen(
            ["timeout", str(limit), *command], stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                found = json.loads(line)
                left.remove(found["command"])
                yield found
                left = [] if found["status"] == "exporter" else left
        status = process.wait()
    if left:
        why = f"took more than {limit} s" if status == 124 else f"its process ended with {status}"
        yield {"command": left[0], "status": "failed", "why": why}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not done, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="trials that hold this text: 'BERT', '| dynamo'")
    parser.add_argument("--commands", default=",".join(COMMANDS), help="of lhc; all by default")
    parser.add_argument("--again", action="store_true", help="what is done too")
    parser.add_argument("--limit", type=int, default=600, metavar="SECONDS")
    parser.add_argument("--lacking", type=Path, metavar="PAGE", help="what this page has is done")
    parser.add_argument("--table", type=Path, metavar="PAGE", help="write the table into this page, run nothing")
    asked = parser.parse_args(arguments)
    if asked.table is not None:
        kept = outcomes(asked.folder)
        write_table({trial: kept.get(trial, {}) for trial in map(" | ".join, TRIALS)}, asked.table)
        return
    asked.folder.mkdir(parents=True, exist_ok=True)
    shown = {} if asked.lacking is None else read_table(asked.lacking)
    done = outcomes(asked.folder)
    for trial in (" | ".join(one) for one in TRIALS):
        known: Mapping[str, Mapping[str, Any]] = {} if asked.again else {**shown.get(trial, {}), **done.get(trial, {})}
        commands = [name for name in asked.commands.split(",") if name not in known]
        if not commands or asked.only not in trial or known.get("export", {"status": ""})["status"] == "exporter":
            continue
        for found in _tried(trial, commands, asked.folder, asked.limit):
            with (asked.folder / "trials.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"trial": trial, **found}) + "\n")
            print(trial, found["command"], found["status"], found.get("why", ""), flush=True)


if __name__ == "__main__":
    main()
