"""Every number of a hardware description, and every option that is one, as a hard number.

``python -m tests.fuzz.numbers`` goes through all of them: no traceback, no crash, no number that is none in what is
printed, and bounded time.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from tests.fuzz.children import Job, forked
from tests.fuzz.every_command import every_command
from tests.fuzz.fuzz import prepared
from tests.fuzz.seeds import Seed, small_seeds

__all__ = ["broken", "hardware_jobs", "option_jobs"]

VALUES = (0, -1, 5e-324, 1e308, float("nan"), float("inf"), 1e-3, 10**30, "12", "1e-3", True)
WORDS = ("0", "-1", "5e-324", "1e308", "nan", "inf", "1e-3", "1" + "0" * 30, "", "x", "0x10", "1_0")
SECONDS = 20
Keys = tuple[str | int, ...]


def _leaves(node: object, path: Keys = ()) -> Iterator[Keys]:
    """Where numbers are, or nothing is where one may be."""
    children: Sequence[tuple[str | int, object]] = ()
    if isinstance(node, dict):
        children = list(node.items())
    elif isinstance(node, list):
        children = list(enumerate(node))
    elif node is None or (isinstance(node, int | float) and not isinstance(node, bool)):
        yield path
    for key, child in children:
        yield from _leaves(child, (*path, key))


def _descriptions() -> Iterator[tuple[str, str]]:
    """Names, and hardware with one number changed; a number that several presets have is changed in the first."""
    from lhc.hardware import Hardware, preset_names

    seen: set[Keys] = set()
    for preset in preset_names():
        document = Hardware.load(preset).model_dump(mode="json")
        for path in _leaves(document):
            if path not in seen:
                seen.add(path)
                for value in VALUES:
                    yield f"{preset} {path} {value!r}", _changed(document, path, value)


def _changed(document: object, path: Keys, value: object) -> str:
    copy: Any = yaml.safe_load(yaml.safe_dump(document))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return yaml.safe_dump(copy)


def hardware_jobs(seed: Seed, folder: Path) -> Iterator[tuple[str, Job]]:
    """Each description is read, analysed with and run with."""
    for number, (name, text) in enumerate(_descriptions()):
        own = _own(folder / f"h{number}", seed)
        machine = str(own / "machine.yaml")
        Path(machine).write_text(text)
        every = every_command(seed.subject(own / "model.onnx", own / "out"))
        commands = [[*c, "--hardware", machine] for c in every if c[0] in ("analyze", "run")]
        yield name, ([["hardware", machine], *commands], own)


def option_jobs(seed: Seed, folder: Path) -> Iterator[tuple[str, Job]]:
    """Each command with one option that is a number changed."""
    from lhc.cli.framework.command_builder import classes, options_by_key

    own = _own(folder / "as it is", seed)
    bases: dict[str, list[str]] = {}
    for command in every_command(seed.subject(own / "model.onnx", own / "out")):
        bases.setdefault(command[0], command)
    for name, base in bases.items():
        for one in options_by_key(*classes()[name]).values():
            if one.flag is None or not (one.number or one.metavar in ("N", "K", "X", "S", "J", "C", "SHARE", "SIZE")):
                continue
            for number, word in enumerate(WORDS):
                own = _own(folder / f"{name}{one.flag}{number}", seed)
                changed = [text.replace(f"{folder}/as it is", str(own)) for text in base]
                yield f"{name} {one.flag} {word!r}", ([[*changed, f"{one.flag}={word}"]], own)


def _own(folder: Path, seed: Seed) -> Path:
    (folder / "out").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(seed.model)
    return folder


def broken(jobs: Iterator[tuple[str, Job]], batch: int = 20) -> Iterator[str]:
    """What breaks."""
    while some := list(islice(jobs, batch)):
        outcomes = forked([job for _, job in some], seconds=SECONDS)
        for (name, _), outcome in zip(some, outcomes, strict=True):
            if outcome.problem or outcome.died:
                yield f"{name}: {outcome.problem} {outcome.died}"


def main() -> int:
    """All of them."""
    number = 0
    with tempfile.TemporaryDirectory(prefix="lhc-numbers-") as name:
        folder = Path(name)
        seed = small_seeds(folder)[0]
        prepared([seed], [], folder)
        for kind, jobs in (("hardware", hardware_jobs(seed, folder)), ("options", option_jobs(seed, folder))):
            print(f"{kind}", flush=True)
            for problem in broken(jobs):
                number += 1
                print(problem, flush=True)
    print(f"{number} broken")
    return 1 if number else 0


if __name__ == "__main__":
    sys.exit(main())
