"""An annotated model as a web site: Netron's own files, the model, and one rule of colour per layer.

Netron draws the node named N as ``<g id="node-name-N">`` and colours its header by operator; nothing in a model file
reaches that colour. So rules for these ids are appended to its ``grapher.css``, which its export to SVG carries along::

    #node-name-conv1 .node-item-type:not(:hover) path { fill: #d9730d }

An id weighs more than the classes that Netron's rules are made of. Left to itself the page asks a server where the user
is, reports use, and refuses to open anything 180 days after it was built. Here it is told to be an unpackaged build
(version 0.0.0: nothing is reported) without a date (it never expires), and has the cookie of a user who was asked
before; the content security policy forbids every other host, whatever the page attempts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lhc.errors import MissingDependencyError
from lhc.onnx_io.annotate.annotations import keys_of_nodes
from lhc.onnx_model import OnnxModel
from lhc.plan import Plan
from lhc.plan.recurrent_steps import folded
from lhc.support.text_escaping import html_text

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
