"""Every command that the documentation shows is one that its parser takes. `conftest.py` runs them."""

import argparse
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from lhc.cli.framework.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCED = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
CALL = re.compile(r"lhc [a-z]|python benchmarks/")
ADDED = ("largest",)
"""Commands of the package of docs/extending-machines.md, which tests/test_extension.py runs."""
Words = tuple[str, ...]


def commands_of(line: str) -> Iterator[Words]:
    """The calls of lhc and of benchmarks in a line of shell, without prompt, variables and redirection."""
    try:
        words = shlex.split(line.removeprefix("$ "), comments=True)
    except ValueError:  # prose, or a program's output
        return
    while words:
        end = next((i for i, word in enumerate(words) if word in ("&&", "||", "|", ";")), len(words))
        call, words = words[:end], words[end + 1 :]
        while call and re.match(r"[A-Z_]+=", call[0]):
            del call[0]
        stop = next((i for i, word in enumerate(call) if word in (">", "2>", ">>")), len(call))
        if call[:1] == ["lhc"] or (call[:1] == ["python"] and call[1:2] and call[1].startswith("benchmarks/")):
            yield tuple(call[:stop])


def shown() -> tuple[dict[Words, str], dict[Words, str]]:
    """Commands in blocks, and commands in running text (lhc's may be cut short there), each with a page that has it."""
    blocks: dict[Words, str] = {}
    inline: dict[Words, str] = {}
    for page in PAGES:
        text = page.read_text("utf-8")
        for language, block in FENCED.findall(text):
            for line in block.splitlines() if language in ("", "console") else ():
                blocks.update(dict.fromkeys(commands_of(line), page.name))
        for found in filter(CALL.match, INLINE.findall(FENCED.sub("", text))):
            for call in commands_of(" ".join(found.split())):
                (blocks if call[0] == "python" else inline)[call] = page.name
    return blocks, inline


BLOCKS, TEXT = shown()
LHC: Any = typer.main.get_command(app)


def cases(commands: dict[Words, str], program: str) -> list[Any]:
    called = {call: page for call, page in commands.items() if call[0] == program and call[1] not in ADDED}
    return [pytest.param(call, id=f"{page}: {' '.join(call)}") for call, page in called.items()]


def test_commands_are_found() -> None:
    assert len(cases(BLOCKS, "lhc")) > 30
    assert len(cases(BLOCKS, "python")) > 20
    assert list(commands_of("$ A=1 lhc run x --y 'a b' > f  # why")) == [("lhc", "run", "x", "--y", "a b")]


@pytest.mark.parametrize("call", cases(BLOCKS, "lhc"))
def test_a_command_of_lhc_parses(call: Words) -> None:
    with LHC.make_context("lhc", list(call[1:2])) as context:
        command = LHC.get_command(context, call[1])
        assert command is not None
        command.make_context(call[1], list(call[2:]), parent=context)


@pytest.mark.parametrize("call", cases(TEXT, "lhc"))
def test_a_command_in_running_text_exists_with_its_options(call: Words) -> None:
    with LHC.make_context("lhc", list(call[1:2])) as context:
        command = LHC.get_command(context, call[1])
    assert command is not None
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.strip("[]") for word in call if word.strip("[").startswith("-")} <= known | {"--help"}


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        test_a_command_of_lhc_parses(("lhc", "run", "digits", "--no-such-option"))


NOT_RUN = {
    "README.md": 1,  # behind an installation: tests/test_installation.py runs it
    "healing.md": 4,  # 22 minutes; the slow block of the page widens digits
    "language-models.md": 6,  # weights from a package of 93 MB, and minutes
    "trainings.md": 6,  # hours of ResNet-8: its training, its chips; the slow block of retraining.md trains digits
    "resnet20.md": 5,  # 20 minutes; the slow block of the page runs them on a tenth of the images
}


def commands_not_run() -> dict[str, int]:
    """Pages with commands of lhc in blocks without a language, which `conftest.py` does not run, and how many."""
    found: dict[str, int] = {}
    for page in PAGES:
        lines = [
            line
            for language, block in FENCED.findall(page.read_text("utf-8"))
            if not language
            for line in block.splitlines()
        ]
        found[page.name] = found.get(page.name, 0) + sum(
            call[0] == "lhc" for line in lines for call in commands_of(line)
        )
    return {page: count for page, count in found.items() if count}


def test_commands_are_shown_in_blocks_that_are_run() -> None:
    assert commands_not_run() == NOT_RUN


@pytest.mark.slow
@pytest.mark.parametrize(("marker", "chosen"), [("slow", [True, False]), ("not slow", [False, True])])
def test_a_slow_block_brings_what_is_above_it(marker: str, chosen: list[bool], tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_bytes((ROOT / "conftest.py").read_bytes())
    first, last = "```python\nfirst = 1\n```\n", "```python\nlast = 1\n```\n"
    page = f"{first}\n<!-- slow -->\n\n```python\nassert first\n```\n\n{last}"
    (tmp_path / "README.md").write_text(page, "utf-8")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", marker, "README.md"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    lines = [int(found) for found in re.findall(r"::line:(\d+)", done.stdout)]
    assert [line in lines for line in (1, 7, 11)] == [True, *chosen]


def test_a_block_under_a_name_is_written_to_that_file(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_bytes((ROOT / "conftest.py").read_bytes())
    files = "`five.py`\n\n```python\nFIVE = 5\nassert __name__ == 'five'\n```\n\n`a.toml`\n\n```toml\nb = 1\n```\n"
    used = "```python\nimport five\n\nassert [five.FIVE, open('a.toml').read()] == [5, 'b = 1\\n']\n```\n"
    for name, page in (("README.md", f"{files}\n{used}"), ("docs/late.md", f"{used}\n{files}")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(page, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "README.md", "docs/late.md"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "1 failed, 5 passed" in done.stdout, "a page that uses a file before it has it"


class _ParsedError(Exception):
    """A script's arguments were taken."""


@pytest.mark.analog
@pytest.mark.parametrize("call", cases(BLOCKS, "python"))
def test_a_benchmark_takes_its_arguments(call: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    script = ROOT / call[1]
    text = script.read_text("utf-8")
    if "ArgumentParser" not in text:
        assert len(call) == 2 or "sys.argv" in text, "the script takes no arguments"
        return
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *given: Sequence[str] | None) -> None:
        parse(parser, *given)
        raise _ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", list(call[1:]))
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.syspath_prepend(script.parent)
    with pytest.raises(_ParsedError):
        runpy.run_path(str(script), run_name="__main__")
