"""A headless Chromium that tests look through.

Chromium is driven over a pipe by its DevTools protocol, without a port or a further package. The messages are JSON,
each ended by a zero byte; https://chromedevtools.github.io/devtools-protocol/ describes them.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


MISSING = "chromium is not installed"


def chromium() -> str | None:
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
def open_browser(program: str, profile: Path) -> Iterator[Browser]:
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
