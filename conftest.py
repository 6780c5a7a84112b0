"""Run the examples of README.md and the pages: ``python`` blocks, and commands behind ``$`` in ``console`` blocks.

Blocks of a page run in their order, in one namespace and one empty folder, ``lhc`` in this process. A block under
``<!-- slow -->`` is a slow test, before which the blocks above it run too. A block under a line that is a file's name
in backquotes is not run but written to that file. ``$ LHC_DATA=FOLDER …`` needs weights and data from outside: it runs
where the environment names that folder, and is counted as skipped elsewhere. ``python benchmarks/…`` is the checkout's.
Blocks without a language are not run: output and formulas, installation, and commands of many minutes or hours.
"""

import gc
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from unittest import SkipTest
from urllib.request import urlopen

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

# Before a numeric library is loaded: threads that spin while they wait make tests many times slower on a busy
# machine, and how a sum is split over threads must not decide what a test sees.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# What tests load of onnxruntime themselves sends nothing either.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Tests neither use nor fill the results that the user keeps; commands that they start inherit it.
_CACHE = tempfile.TemporaryDirectory(prefix="lhc-tests-")
os.environ["LHC_CACHE"] = _CACHE.name

ROOT = Path(__file__).resolve().parent

# It begins with a class of Olive's.
collect_ignore = [] if find_spec("olive") else ["lhc/commands/olive_pass.py"]

# Machine code of the kernels takes seconds to make: one run leaves it to the next.
_COMPILED = ROOT / "build" / "compiled"
_COMPILED.mkdir(parents=True, exist_ok=True)
with suppress(OSError):  # Windows wants rights for links
    (Path(_CACHE.name) / "compiled").symlink_to(_COMPILED, target_is_directory=True)

PROGRAMS = {
    "lhc ": f"{sys.executable} -m lhc ",
    "python benchmarks/": f"{sys.executable} {ROOT}/benchmarks/",
}
OUTSIDE = "LHC_DATA=FOLDER "
SHELL = "|&;<>$`"
"""What a command has a shell for."""
SLOW = "<!-- slow -->"
FILE = re.compile(r"^`([\w./-]+)`\n\n(```\w+\n(.*?)^```$)", re.MULTILINE | re.DOTALL)
"""A file's name, its block, and the text."""
SECONDS = 240
"""Of a command; a minute on a machine that does nothing else."""
LONG_SECONDS = 1200
"""Of a command in a slow block, or with data from outside."""


def view(command: str, folder: Path) -> None:
    """A command that serves until it is stopped: it must print an address that answers, and end when it is told to."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            with urlopen(address) as page:
                assert page.status == 200
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


def started(command: str, folder: Path, limit: float) -> tuple[int, str]:
    """Exit code and output of a command in a shell of its own."""
    for name, program in PROGRAMS.items():
        if command.startswith(name):
            command = program + command.removeprefix(name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=limit, check=False
    )
    return done.returncode, done.stdout + done.stderr


def here(arguments: list[str]) -> tuple[int, str]:
    """Exit code and output of ``lhc`` in this process: most of what it does takes less time than loading it anew."""
    from typer.testing import CliRunner

    from lhc.cli.framework.app import app

    done = CliRunner().invoke(app, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout + done.stderr


def console(example: Example) -> str | None:
    """Run the commands of a block; each must succeed."""
    folder = Path.cwd()
    for line in example.parsed.splitlines():
        if not line.startswith("$ "):
            continue
        command, limit = line.removeprefix("$ "), LONG_SECONDS if is_slow(example) else SECONDS
        if command.startswith(OUTSIDE):
            if not os.environ.get("LHC_DATA"):
                raise SkipTest("LHC_DATA does not name a folder")
            command, limit = command.removeprefix(OUTSIDE), LONG_SECONDS
        if command.startswith("lhc view "):
            view(PROGRAMS["lhc "] + command.removeprefix("lhc "), folder)
            continue
        words = shlex.split(command, comments=True)
        alone = words[0] == "lhc" and not set("".join(words)) & set(SHELL)
        code, told = here(words[1:]) if alone else started(command, folder, limit)
        if code != 0:
            return f"{line}\nexit code {code}\n{told}"
    return None


def written(example: Example) -> None:
    """Write a block to its file."""
    name, text = example.parsed
    Path(name).write_text(text, encoding="utf-8")


def files_and_python(document: Document) -> Iterator[Region]:
    """Blocks that are files, and the other python blocks, which are run."""
    files = [Region(one.start(2), one.end(2), (one[1], one[3]), written) for one in FILE.finditer(document.text)]
    yield from files
    starts = {one.start for one in files}
    yield from (one for one in PythonCodeBlockParser()(document) if one.start not in starts)


def is_slow(example: Example) -> bool:
    """Whether the line above a block says so; a reader of the page does not see it."""
    return str(example.document.text[: example.start]).rstrip().endswith(SLOW)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark slow blocks, and keep what is above a chosen one of them: it makes its files."""
    blocks = [item for item in items if isinstance(item, SybilItem)]
    slow = [item for item in blocks if is_slow(item.example)]
    for item in slow:
        item.add_marker(pytest.mark.slow)
    everything = list(items)
    yield
    chosen = set(items)
    last = {item.path: item.example.start for item in slow if item in chosen}
    needed = {item for item in blocks if item.example.start < last.get(item.path, 0)}
    items[:] = [item for item in everything if item in chosen or item in needed]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """No garbage is looked for while tests are collected, nor later among what was: to walk it takes seconds."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One empty folder a page; functions written there can be named as ``module:function``."""
    before, path = Path.cwd(), list(sys.path)
    folder = tmp_path_factory.mktemp("page")
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    yield
    os.chdir(before)
    sys.path[:] = path


pytest_collect_file = Sybil(
    parsers=[files_and_python, CodeBlockParser("console", console), SkipParser()],
    patterns=["README.md", "docs/*.md"],
    excludes=["docs/extending*.md"],  # a package, which tests/test_extension.py installs and runs
    fixtures=["empty_folder"],
).pytest()
