"""Annotated models in Netron, in a browser of this machine.

*The model* is only looked at: weights in other files are neither needed nor read (`open_for_viewing`).

*The site* (`netron_site`) is Netron's own files, the model, and one rule of colour per layer. Netron draws the node
named N as ``<g id="node-name-N">`` and colours its header by operator; nothing in a model file reaches that colour. So
rules for these ids are appended to its ``grapher.css``, which its export to SVG carries along::

    #node-name-conv1 .node-item-type:not(:hover) path { fill: #d9730d }

An id weighs more than the classes that Netron's rules are made of. Left to itself the page asks a server where the user
is, reports use, and refuses to open anything 180 days after it was built. Here it is told to be an unpackaged build
(version 0.0.0: nothing is reported) without a date (it never expires), and has the cookie of a user who was asked
before; the content security policy forbids every other host, whatever the page attempts.

*The server* (`serve`) answers this machine's browser, in the foreground, until Ctrl-C or SIGTERM.
"""

import gc
import os
import re
import secrets
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from socketserver import TCPServer
from types import FrameType

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from lhc.errors import MissingDependencyError, UsageError
from lhc.models import is_zoo_name, zoo_entry
from lhc.onnx_io import contradictions, load_model, put_own_keys_first
from lhc.onnx_io.annotate.annotations import keys_of_nodes
from lhc.onnx_io.read.model_files import sort_nodes
from lhc.onnx_model import OnnxModel
from lhc.plan import Plan
from lhc.plan.recurrent_steps import folded
from lhc.support.text_escaping import html_text


def open_for_viewing(source: str) -> OnnxModel:
    """A model by path or zoo name, its nodes named as everywhere in lhc, and its keys before those of other tools.

    Raises:
        ModelError: it cannot be read.
    """
    model = _opened(source)
    put_own_keys_first(model.proto)
    return model


def _opened(source: str) -> OnnxModel:
    from lhc.runtime.onnxruntime.sandboxed_open import probe
    from lhc.runtime.onnxruntime.sessions import must_run  # its package loads onnxruntime

    path = Path(source)
    if is_zoo_name(source) and not path.is_file():
        return load_model(zoo_entry(source).network(), label=source)  # as the file that lhc export writes
    if path.exists() and not path.is_file():
        return load_model(path)  # which refuses it; a pipe is not waited for
    try:
        proto = onnx.load_model(source, format="protobuf", load_external_data=False)
    except (DecodeError, OSError, ValueError):
        return load_model(path)  # which says what is wrong with it
    if not _outside(proto):
        return load_model(path, probe=probe, runs=must_run)
    probe(path)
    named = load_model(_without_weights(proto), label=source, runs=_is_only_looked_at)
    sort_nodes(proto.graph)
    for node, other in zip(proto.graph.node, named.proto.graph.node, strict=True):
        node.name = other.name
    return OnnxModel(proto, path, named.renamed, source)


def _is_only_looked_at(proto: onnx.ModelProto, label: str) -> None:
    """Nothing that onnx's checker has against a model keeps it from being shown; without weights it cannot be run."""


def has_weights_outside(model: OnnxModel) -> bool:
    """Whether tensors are in other files, so that the source of the annotations cannot be told from the model alone."""
    return _outside(model.proto)


def _outside(proto: onnx.ModelProto) -> bool:
    return any(uses_external_data(tensor) for tensor in proto.graph.initializer)


def _without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that can be checked without the other files: the tensors in them are empty."""
    copy = deepcopy(proto)
    for tensor in copy.graph.initializer:
        if uses_external_data(tensor):
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.dims[:] = [0]
    return copy


def annotation_notes(model: OnnxModel, plan: Plan | None) -> tuple[str, ...]:
    """Notes on why nothing is coloured, or what cannot be checked because weights are in other files."""
    if plan is None:
        return ("note: no lhc annotations, so no layer is coloured; 'lhc partition' makes them",)
    if not has_weights_outside(model):
        return ()
    return (
        "note: weights are in other files, so whether they are still those of the plan was not checked",
        *(f"warning: {model.label}: {problem}" for problem in contradictions(model, plan)[:5]),
    )


COLOURS: Mapping[str, str] = {"analog": "#d9730d", "digital": "#1f6feb", "mixed": "#8250df"}
"""Colour of a node; ``mixed``: of an operator that stands for several products, some of them analog."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
}
"""Files of these types are served, no others."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self';"
        " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Set-Cookie": "consent=1; Path=/; SameSite=Strict",
    "X-Content-Type-Options": "nosniff",
}

_MODEL = "/data/model.onnx"
_FACTS = re.compile(r'<meta name="(?:date|file|identifier|name|type|version)"[^>]*>\s*')
_LEGEND = """
#toolbar::before, #toolbar::after {
  position: fixed; left: 44px; padding: 3px 8px; border-radius: 5px; color: #fff; font-size: 12px; pointer-events: none;
}
#toolbar::before { top: 8px } #toolbar::after { top: 34px }
"""


def css_escape(name: str) -> str:
    r"""A name as a CSS identifier, in ASCII: letters, digits, ``-`` and ``_`` stand for themselves.

    >>> print(css_escape("/block.0/MatMul"))
    \2f block\2e 0\2f MatMul
    >>> print(css_escape("1st"))
    \31 st
    """
    escaped = [c if c.isascii() and (c.isalnum() or c in "-_") else _code(c) for c in name]
    if name and not (name[0].isalpha() or name[0] == "_"):
        escaped[0] = _code(name[0])  # a digit or a dash cannot come first everywhere
    return "".join(escaped)


def _code(character: str) -> str:
    return f"\\{ord(character):x} "


def css_rules(plan: Plan) -> str:
    """Colours of the nodes that hold the plan's layers, and a legend with the numbers of layers in the corner."""
    colours = {name: COLOURS[keys["lhc.placement"]] for name, keys in keys_of_nodes(plan.layers).items()}
    rules = [
        f"#node-name-{css_escape(name)} .node-item-type:not(:hover) path {{ fill: {colour} }}"
        for name, colour in colours.items()
    ]
    shown = folded(plan)
    analog = len(shown.analog)
    legend = [
        f'#toolbar::before {{ content: "analog {analog}"; background: {COLOURS["analog"]} }}',
        f'#toolbar::after {{ content: "digital {shown.size - analog}"; background: {COLOURS["digital"]} }}',
    ]
    return _LEGEND + "\n".join([*legend, *rules, ""])


@dataclass(frozen=True, eq=False)
class Site:
    """All that is served, by the exact path of the request: there is no way from a path to any other file.

    Attributes:
        files: files of Netron, read when they are asked for.
        made: what was made for this model.
        headers: sent with each of them.
    """

    files: Mapping[str, Path]
    made: Mapping[str, bytes]
    headers: Mapping[str, str]

    def get(self, path: str) -> tuple[str, bytes] | None:
        """Content type and content; None where there is no such page."""
        path = "/index.html" if path == "/" else path
        if path in self.made:
            return _TYPES[Path(path).suffix], self.made[path]
        if path not in self.files:
            return None
        return _TYPES[self.files[path].suffix], self.files[path].read_bytes()


def netron_folder() -> Path:
    """Folder of the installed Netron's files. Netron itself is not run.

    Raises:
        MissingDependencyError: it is not installed.
    """
    spec = find_spec("netron")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError("viewing a model needs Netron: pip install 'netron>=8.0'")
    return Path(spec.submodule_search_locations[0])


def netron_site(model: OnnxModel, plan: Plan | None, folder: Path | None = None) -> Site:
    """Netron with the model opened in it, its layers coloured by the plan.

    Args:
        model: what is shown, under the names that lhc gives nodes.
        plan: placements; without one nothing is coloured.
        folder: Netron's files; those of the installed package by default.

    Raises:
        MissingDependencyError: Netron is not installed, or its files are not those that lhc knows.
    """
    folder = folder or netron_folder()
    files = {f"/{file.name}": file for file in folder.iterdir() if file.suffix in _TYPES and file.is_file()}
    missing = {"/index.html", "/grapher.css", "/onnx.js"} - set(files)
    page = "" if missing else files["/index.html"].read_text(encoding="utf-8")
    if "<head>" not in page:
        raise MissingDependencyError(f"{folder}: not the files of a Netron that lhc knows; pip install 'netron>=8.0'")
    css = files["/grapher.css"].read_bytes()
    made = {
        "/index.html": _page(page, Path(model.label).name).encode(),
        "/grapher.css": css if plan is None else css + css_rules(plan).encode("ascii"),
        _MODEL: model.proto.SerializeToString(),
    }
    return Site(files, made, _HEADERS)


def _page(page: str, name: str) -> str:
    """Netron's page, told what to open and that it is an unpackaged build without a date."""
    facts = {
        "type": "Python",
        "version": "0.0.0",
        "file": _MODEL.removeprefix("/"),
        "identifier": "model.onnx",
        "name": name,
    }
    lines = "".join(f'\n<meta name="{key}" content="{html_text(value)}">' for key, value in facts.items())
    return _FACTS.sub("", page).replace("<head>", f"<head>{lines}", 1)


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
