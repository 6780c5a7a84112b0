"""A headless Chromium that tests look through, an annotated model, and `lhc view` as a process of its own.

Chromium is driven over a pipe by its DevTools protocol, without a port or a further package. The messages are JSON,
each ended by a zero byte; https://chromedevtools.github.io/devtools-protocol/ describes them.
"""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest

from lhc import __version__
from lhc.hardware import Hardware
from lhc.models import zoo_entry
from lhc.onnx_io import annotate, load_model, read_graph
from lhc.passes import Qualify, initial_plan, run_passes
from lhc.plan import Plan

Message = dict[str, Any]

# Chromium reads commands from descriptor 3 and answers on 4.
_ON_PIPES = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(n), fcntl.F_DUPFD_CLOEXEC, 10) for n in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--window-size=1300,1000",
    "about:blank",
)


_MISSING = "chromium is not installed"


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page, and every request that it made or tried to make."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._buffer = b""
        self._session: str | None = None
        self._last = 0
        self.requests: list[str] = []
        self.problems: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setDeviceMetricsOverride", width=1300, height=1000, deviceScaleFactor=1, mobile=False)

    def send(self, method: str, timeout_s: float = 60, **params: object) -> Message:
        """Give a command and wait for its result."""
        self._last += 1
        message: Message = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer["error"])
                result: Message = answer["result"]
                return result
            self._note(answer)

    def _receive(self, deadline: float) -> Message:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            chunk = os.read(self._answers, 1 << 20)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: Message = json.loads(line)
        return message

    def _note(self, event: Message) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(json.dumps(params["entry"]))

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401  # whatever the expression gives
        """Value of a JavaScript expression in the page."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, url: str) -> None:
        """Load Netron and wait until it has drawn a graph."""
        self.send("Page.navigate", url=url)
        self.wait_for("document.body?.className === 'default' && document.querySelector('.node-item-type') !== null")

    def node(self, name: str) -> tuple[float, float]:
        """Scroll to a node of the graph; where its header then is, left of the text."""
        element = f"document.getElementById({json.dumps('node-name-' + name)})"
        self.evaluate(f"{element}.scrollIntoView({{block: 'center', inline: 'center', behavior: 'instant'}})")
        box = f"{element}.querySelector('.node-item-type path').getBoundingClientRect()"
        x, y = self.evaluate(f"(r => [r.x + 3, r.y + r.height / 2])({box})")
        return x, y

    def wait_for(self, expression: str, timeout_s: float = 60) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + timeout_s
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"never true: {expression}; {self.problems}"
            time.sleep(0.1)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button there."""
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def pixel(self, x: float, y: float) -> tuple[int, int, int]:
        """Colour that is seen at a point. The page decodes its own picture; a clipped one would be laid out anew."""
        red, green, blue, _ = self.evaluate(
            f"""(async () => {{
                const image = new Image();
                image.src = "data:image/png;base64,{base64.b64encode(self.picture()).decode()}";
                await image.decode();
                const context = new OffscreenCanvas(1, 1).getContext("2d");
                context.drawImage(image, {-int(x)}, {-int(y)});
                return [...context.getImageData(0, 0, 1, 1).data];
            }})()"""
        )
        return red, green, blue


@contextmanager
def _open_browser(program: str, profile: Path) -> Iterator[Browser]:
    """A browser of its own, with an empty profile; gone at the end."""
    to_browser, from_browser = os.pipe(), os.pipe()
    pipes = (to_browser[0], from_browser[1])
    command = [sys.executable, "-c", _ON_PIPES, *map(str, pipes), program, f"--user-data-dir={profile}", *_FLAGS]
    process = subprocess.Popen(command, pass_fds=pipes, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for descriptor in pipes:
        os.close(descriptor)
    try:
        yield Browser(to_browser[1], from_browser[0])
    finally:
        os.close(to_browser[1])  # Chromium ends when its pipe does
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(from_browser[0])


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser with a profile that was never used; tests are skipped where there is none."""
    program = _chromium()
    if program is None:
        pytest.skip(_MISSING)
    with _open_browser(program, tmp_path / "profile") as opened:
        yield opened


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [r for r in terminalreporter.getreports("skipped") if _MISSING in str(r.longrepr)]
    if skipped:
        tests = "test" if len(skipped) == 1 else "tests"
        terminalreporter.write_line(f"{len(skipped)} {tests} in a browser skipped: {_MISSING}")


def place(proto: onnx.ModelProto, analog: Callable[[int], bool]) -> tuple[onnx.ModelProto, Plan]:
    """Annotate a model without measuring it: candidates that may be analog are so by their number."""
    model = load_model(proto)
    graph = read_graph(model)
    start = initial_plan(graph, Hardware.load("lionheart"), model.source, __version__)
    plan = run_passes([Qualify()], graph, start).plan
    plan = plan.decide(
        {
            name: ("analog", "budget", "within it") if analog(index) else ("digital", "sensitivity", "too much of it")
            for index, name in enumerate(plan.eligible)
        }
    )
    return annotate(model, plan, graph), plan


@pytest.fixture(scope="session")
def placed() -> Callable[[onnx.ModelProto, Callable[[int], bool]], tuple[onnx.ModelProto, Plan]]:
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
        return int(self.url.rpartition(":")[2])

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
