"""Serve a site to this machine's browser, in the foreground, until Ctrl-C or SIGTERM."""

import gc
import os
import secrets
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import FrameType

from lhc.errors import UsageError
from lhc.report.viewer.netron_site import Site

_HOST = "127.0.0.1"


class _Handler(BaseHTTPRequestHandler):
    server: "SiteServer"
    timeout = 30.0

    def do_GET(self) -> None:
        if self.headers.get("Host", "").partition(":")[0] not in (_HOST, "localhost"):
            self._answer(421, "text/plain", b"unknown host\n")  # a foreign page that had its name point here
            return
        found = self.server.found(self.path.partition("?")[0])
        if found is None:
            self._answer(404, "text/plain", b"not found\n")
        else:
            self._answer(200, *found)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        for key, value in self.server.site.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are nobody's business."""


class SiteServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1 only; a context manager that frees the port.

    Every user of the machine reaches the port: pages lie under a folder whose name nobody can guess.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would share a busy port

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self.token = secrets.token_urlsafe(16)
        super().__init__((_HOST, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server what this machine is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    @property
    def url(self) -> str:
        """Address for the browser."""
        return f"http://{_HOST}:{self.server_port}/{self.token}/"

    def found(self, path: str) -> tuple[str, bytes] | None:
        """Content type and content of a page; None where there is none."""
        folder, page = path[: len(self.token) + 1], path[len(self.token) + 1 :]
        if not secrets.compare_digest(folder.encode("utf-8", "replace"), f"/{self.token}".encode()):
            return None
        return self.site.get(page)

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that closes a connection early is no error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def make_server(site: Site, port: int = 0) -> SiteServer:
    """A server that listens already; port 0 takes a free one.

    Raises:
        UsageError: the port is taken or not allowed.
    """
    try:
        return SiteServer(site, port)
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be used: {error.strerror or error}; leave --port out for a free one"
        ) from error


def serve(server: SiteServer, browse: bool, ready: Callable[[str], None], tell: Callable[[str], None]) -> None:
    """Answer requests until SIGINT or SIGTERM; to be called from the main thread.

    Args:
        browse: open the site in the user's browser.
        ready: told the address, once a signal ends the server cleanly.
        tell: told where no browser could be opened.
    """
    gc.enable()  # a command looks for no garbage while it is loaded
    with _until_signalled(), server:
        ready(server.url)
        if browse:
            # In a thread: a browser that runs in the terminal would keep this call from returning.
            threading.Thread(target=_browse, args=(server.url, tell), daemon=True).start()
        server.serve_forever(poll_interval=0.1)


def _browse(url: str, tell: Callable[[str], None]) -> None:
    if not webbrowser.open(url):
        tell(f"note: no browser found; open {url} yourself")


class _Stopped(BaseException):
    """A signal asked the server to end."""


@contextmanager
def _until_signalled() -> Iterator[None]:
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except _Stopped:
        for number in before:  # the process is ending: impatience must not change its exit code
            signal.signal(number, signal.SIG_IGN)
    finally:
        if not stopped:
            for number, handler in before.items():
                signal.signal(number, handler)
