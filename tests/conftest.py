"""Fixtures and reporting that all tests share."""

import os
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings
from typer.testing import CliRunner, Result

from lhc.cli.framework.app import app
from lhc.models import zoo_entry
from lhc.samples.task import Task
from tests.fuzz.tiny_gguf import write_tiny_gguf

Cli = Callable[..., Result]

# How long an example takes says more about the machine than about lhc; CI must not fail on an unlucky draw.
settings.register_profile("lhc", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lhc")


def older(package: str, release: str) -> bool:
    """Whether an installed package is older than a release: an oracle that does not know yet what is asked of it."""

    def numbers(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split(".")[:2]))

    return numbers(version(package)) < numbers(release)


@pytest.fixture(scope="session")
def lhc_data() -> Path:
    """The folder with weights and images that lhc does not ship; tests are skipped where there is none."""
    value = os.environ.get("LHC_DATA")
    if not value:
        pytest.skip("LHC_DATA is not set: see 'Data from outside' in CONTRIBUTING.md")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"LHC_DATA={value} is not a folder", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def cli() -> Cli:
    """`lhc` in this process: arguments of any type in; exit code, stdout and stderr out."""
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="session")
def digits() -> Task:
    """The samples that the digits networks of the package are judged on."""
    return zoo_entry("digits-narrow").task()


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers and random weights as a GGUF file, its vocabulary of bytes and a few pairs of them."""
    pytest.importorskip("gguf", reason="the file is written by gguf")
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_gguf(path)
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_spec("aihwkit") is not None:
        return
    skip = pytest.mark.skip(reason="aihwkit is not installed: it has wheels for Linux x86-64 only")
    for item in items:
        if item.get_closest_marker("analog") is not None:
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [r for r in terminalreporter.getreports("skipped") if "LHC_DATA" in str(r.longrepr)]
    if skipped:
        tests = "test" if len(skipped) == 1 else "tests"
        terminalreporter.write_line(f"{len(skipped)} {tests} skipped for lack of data: see LHC_DATA in CONTRIBUTING.md")
