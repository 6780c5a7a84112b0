"""A browser, an annotated model, reports of made-up numbers, and `lhc view` as a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import pytest

from lhc.models import zoo_entry
from lhc.plan import Plan
from lhc.report.document.report import Report
from lhc.report.html.page import html
from lhc.results import Evaluation
from tests.report.chromium import MISSING, Browser, chromium, open_browser
from tests.report.made_reports import evaluated, full_report, judged, place, transformer

LAPTOP = {"width": 1366, "height": 768, "deviceScaleFactor": 1, "mobile": False}

Placed = Callable[[onnx.ModelProto, Callable[[int], bool]], tuple[onnx.ModelProto, Plan]]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser with a profile that was never used; tests are skipped where there is none."""
    program = chromium()
    if program is None:
        pytest.skip(MISSING)
    with open_browser(program, tmp_path / "profile") as opened:
        yield opened


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [r for r in terminalreporter.getreports("skipped") if MISSING in str(r.longrepr)]
    if skipped:
        tests = "test" if len(skipped) == 1 else "tests"
        terminalreporter.write_line(f"{len(skipped)} {tests} in a browser skipped: {MISSING}")


@pytest.fixture(scope="session")
def placed() -> Placed:
    """`place`, for tests that bring a model."""
    return place


@pytest.fixture(scope="session")
def digits() -> tuple[onnx.ModelProto, Plan]:
    """The digits network with two of three layers analog."""
    return place(zoo_entry("digits-narrow").model(), lambda index: index % 3 > 0)


@pytest.fixture
def digits_file(digits: tuple[onnx.ModelProto, Plan], tmp_path: Path) -> Path:
    """The same in a file."""
    path = tmp_path / "digits.lhc.onnx"
    onnx.save_model(digits[0], str(path))
    return path


@dataclass(frozen=True)
class Viewing:
    """A running `lhc view`."""

    process: "subprocess.Popen[str]"
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2].partition("/")[0])

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; exit code, the rest of stdout, and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


# Neither torch nor aihwkit can be imported in it.
_VIEW = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "aihwkit"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Missing())
from lhc.cli import main
main()
"""


@pytest.fixture
def view() -> Iterator[Callable[..., Viewing]]:
    """Start `lhc view` and wait for the address; what still runs is ended."""
    started = []

    def start(*arguments: object, env: dict[str, str] | None = None) -> Viewing:
        command = [sys.executable, "-c", _VIEW, "view", *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | (env or {})
        )
        started.append(process)
        assert process.stdout is not None
        return Viewing(process, process.stdout.readline().strip())

    yield start
    for process in started:
        with process:
            if process.poll() is None:
                process.kill()


@pytest.fixture(scope="session")
def make_transformer() -> Callable[..., onnx.ModelProto]:
    """`transformer`."""
    return transformer


@pytest.fixture(scope="session")
def make_judged(placed: Placed) -> Callable[[onnx.ModelProto], tuple[onnx.ModelProto, Plan]]:
    """`judged`, for a model that is placed first: every third candidate is digital."""
    return lambda proto: judged(proto, placed(proto, lambda index: index % 3 > 0)[1])


@pytest.fixture(scope="session")
def make_evaluated() -> Callable[..., Evaluation]:
    """`evaluated`."""
    return evaluated


@pytest.fixture(scope="session")
def full(make_judged: Callable[[onnx.ModelProto], tuple[onnx.ModelProto, Plan]]) -> Report:
    """A report of 34 layers with every section."""
    return full_report(*make_judged(transformer(4)))


@pytest.fixture(scope="session")
def large(make_judged: Callable[[onnx.ModelProto], tuple[onnx.ModelProto, Plan]]) -> Report:
    """The same of 506 layers in 63 blocks; the damage of every analog one is attributed."""
    report = full_report(*make_judged(transformer(63)))
    assert report.attribution is not None
    (one,) = report.attribution.layers.values()
    layers = dict.fromkeys(sorted(report.plan.analog), one)
    return report.model_copy(update={"attribution": replace(report.attribution, layers=layers)})


@pytest.fixture(scope="session")
def small(make_judged: Callable[[onnx.ModelProto], tuple[onnx.ModelProto, Plan]]) -> Report:
    """The same of the digits network, whose picture is narrow."""
    return full_report(*make_judged(zoo_entry("digits-narrow").model()))


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Callable[[Report], None]:
    """Open a report as the file that a user double-clicks."""

    def opened(report: Report) -> None:
        path = tmp_path / "report.html"
        path.write_text(html(report), encoding="utf-8")
        browser.send("Emulation.setDeviceMetricsOverride", **LAPTOP)
        browser.send("Page.navigate", url=path.as_uri())
        browser.wait_for("document.readyState === 'complete' && document.querySelector('table') !== null")

    return opened
