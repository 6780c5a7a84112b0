"""What is served: pages, colours, and nothing else."""

import http.client
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.errors import MissingDependencyError, UsageError
from lhc.onnx_io import load_model
from lhc.onnx_model import OnnxModel
from lhc.plan import Plan
from lhc.report.viewer import COLOURS, Site, SiteServer, css_escape, css_rules, make_server, netron_folder, netron_site

Digits = tuple[onnx.ModelProto, Plan]

HOSTILE = [
    'a"b',
    "a'b",
    "back\\slash",
    "ends with a backslash\\",
    "</style><script>alert(1)</script>",
    "x { } * { display: none } /*",
    "a;b:c,d>e~f+g",
    "a  b\tc\nd\r\f",
    "層/ünï-\U0001f600",
    "9lives",
    "-1",
    "-",
    "--",
    "\u202e\u00a0",
    "x" * 5000,
]


def unescape(text: str) -> str:
    """What CSS makes of an identifier, by the rules of css-syntax-3; anything that is not one is refused."""
    token = re.compile(r"\\([0-9a-f]{1,6})[ ]|([A-Za-z0-9_-])")
    found, at = [], 0
    while at < len(text):
        match = token.match(text, at)
        assert match is not None, f"not an identifier at {text[at:]!r}"
        found.append(chr(int(match[1], 16)) if match[1] else match[2])
        at = match.end()
    return "".join(found)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:12]))
def test_names_survive_css(name: str) -> None:
    escaped = css_escape(name)
    assert unescape(escaped) == name
    assert not re.match(r"[0-9-]", escaped), "an identifier cannot begin so"


@given(st.text(st.characters(codec="utf-8")))
def test_any_name_survives_css(name: str) -> None:
    assert unescape(css_escape(name)) == name


def test_plain_names_stay_readable() -> None:
    assert css_escape("conv_1-a") == "conv_1-a"


def test_one_rule_a_layer(digits: Digits) -> None:
    _, plan = digits
    rules = re.findall(r"^#node-name-(.*) \.node-item-type:not\(:hover\) path { fill: (.*) }$", css_rules(plan), re.M)
    assert {unescape(name): colour for name, colour in rules} == {
        layer.name: COLOURS[layer.placement] for layer in plan.layers
    }
    assert {colour for _, colour in rules} == {"#d9730d", "#1f6feb"}


def test_hostile_names_add_no_rule(digits: Digits) -> None:
    _, plan = digits
    layers = tuple(plan.layers[0].model_copy(update={"name": name}) for name in HOSTILE)
    css = css_rules(plan.model_copy(update={"layers": layers}))
    named = tuple(plan.layers[0].model_copy(update={"name": f"layer{i}"}) for i in range(len(HOSTILE)))
    plain = css_rules(plan.model_copy(update={"layers": named}))
    for character in "{}<>;*/\"'":
        assert css.count(character) == plain.count(character)
    assert len(css.splitlines()) == len(plain.splitlines())


@pytest.fixture
def site(digits: Digits) -> Site:
    proto, plan = digits
    return netron_site(load_model(proto, label="digits.lhc.onnx"), plan)


@pytest.fixture
def server(site: Site) -> Iterator[SiteServer]:
    with make_server(site) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(server: SiteServer, path: str, method: str = "GET", host: str | None = None) -> tuple[int, Any, bytes]:
    return ask_whole(server, f"/{server.token}{path}", method, host)


def ask_whole(server: SiteServer, path: str, method: str = "GET", host: str | None = None) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/grapher.css?cb=1", "text/css; charset=utf-8"),
        ("/onnx.js", "text/javascript; charset=utf-8"),
        ("/onnx-metadata.json", "application/json"),
        ("/icon.png", "image/png"),
        ("/favicon.ico", "image/x-icon"),
        ("/data/model.onnx?cb=1700000000000", "application/octet-stream"),
    ],
)
def test_pages(server: SiteServer, path: str, content_type: str) -> None:
    status, headers, body = ask(server, path)
    assert (status, headers["Content-Type"]) == (200, content_type)
    assert int(headers["Content-Length"]) == len(body) > 0
    status, headers, nothing = ask(server, path, "HEAD")
    assert (status, int(headers["Content-Length"]), nothing) == (200, len(body), b"")


def test_the_model_is_the_annotated_one(server: SiteServer, digits: Digits) -> None:
    assert onnx.load_model_from_string(ask(server, "/data/model.onnx")[2]) == digits[0]


def test_netrons_files_are_as_installed(server: SiteServer, digits: Digits) -> None:
    folder = netron_folder()
    assert ask(server, "/view.js")[2] == (folder / "view.js").read_bytes()
    css = ask(server, "/grapher.css")[2].decode()
    assert css == (folder / "grapher.css").read_text(encoding="utf-8") + css_rules(digits[1])


def test_without_a_plan_nothing_is_coloured(digits: Digits) -> None:
    site = netron_site(load_model(digits[0]), None)
    assert site.made["/grapher.css"] == (netron_folder() / "grapher.css").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/server.py",
        "/__init__.py",
        "/__pycache__/server.cpython-311.pyc",
        "/../netron/view.js",
        "/../lhc/plan.py",
        "/../../../../../../etc/passwd",
        "/..%2f..%2f..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/....//....//etc/passwd",
        "/..\\..\\etc\\passwd",
        "//etc/passwd",
        "/etc/passwd",
        "/data/",
        "/data/digits.lhc.onnx",
        "/data/../data/model.onnx",
        "/data/model.onnx/../../../etc/passwd",
        "/data//etc/passwd",
        "/model.onnx",
        "/view.js%00.html",
        "/view.js/",
        "/VIEW.JS",
        "*",
    ],
)
def test_no_other_file_is_served(server: SiteServer, path: str) -> None:
    status, _, body = ask(server, path)
    assert (status, body) == (404, b"not found\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_sent(server: SiteServer, method: str) -> None:
    assert ask(server, "/", method)[0] == 501


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_pages_of_other_names_cannot_read_it(server: SiteServer, host: str) -> None:
    """A foreign page may have its own name point to 127.0.0.1; the browser still names that host."""
    status, _, body = ask(server, "/data/model.onnx", host=host)
    assert (status, body) == (421, b"unknown host\n")


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080"])
def test_reachable_through_a_forwarded_port(server: SiteServer, host: str) -> None:
    assert ask(server, "/", host=host)[0] == 200


@pytest.mark.parametrize("path", ["/", "/data/model.onnx", "/x/data/model.onnx", "/\u00e9", ""])
def test_nothing_is_served_without_the_token(server: SiteServer, path: str) -> None:
    assert ask_whole(server, quote(path) or "/")[0] == 404
    assert ask_whole(server, f"/{server.token[:-1]}x/data/model.onnx")[0] == 404


def test_only_this_machine_is_answered(server: SiteServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_the_browser_may_ask_nobody_else(server: SiteServer) -> None:
    status, headers, body = ask(server, "/")
    page = body.decode()
    assert status == 200
    rules = dict(rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert not any("http" in sources or "*" in sources for sources in rules.values())
    fetched = re.findall(r'<(?:script|img|iframe|link|source|video)\b[^>]*?(?:src|href)="([^"]*)"', page)
    assert fetched
    assert not [url for url in fetched if "//" in url]
    links = set(re.findall(r'https?://([^"\s/<>]+)', page))
    assert links <= {"github.com", "www.lutzroeder.com", "www.w3.org"}, "links of Netron's that a user may follow"


def test_the_page_is_told_not_to_report_nor_to_expire(server: SiteServer) -> None:
    _, headers, body = ask(server, "/")
    page = body.decode()
    assert re.findall('<meta name="version" content="([^"]*)"', page) == ["0.0.0"]
    assert re.findall('<meta name="file" content="([^"]*)"', page) == ["data/model.onnx"]
    assert '<meta name="date"' not in page
    assert headers["Set-Cookie"].startswith("consent=1;")
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", [*HOSTILE[:9], '"><img src=x onerror=alert(1)>', "\\1\\g<0>&amp;"], ids=ascii)
def test_names_of_files_survive_html(digits: Digits, name: str) -> None:
    page = netron_site(OnnxModel(digits[0], label=name), None).made["/index.html"].decode()
    plain = netron_site(OnnxModel(digits[0], label="x"), None).made["/index.html"].decode()
    for character in "<>\"'":
        assert page.count(character) == plain.count(character)


def test_busy_port(server: SiteServer, site: Site) -> None:
    with pytest.raises(UsageError, match=f"port {server.server_port} cannot be used: .*in use"):
        make_server(site, server.server_port)


def test_no_netron(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.report.viewer.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install 'netron"):
        netron_folder()


def test_another_netron(digits: Digits, tmp_path: Path) -> None:
    for name in ("index.html", "grapher.css", "onnx.js"):
        (tmp_path / name).write_text("something else")
    with pytest.raises(MissingDependencyError, match="not the files of a Netron that lhc knows"):
        netron_site(load_model(digits[0]), None, tmp_path)


def test_paths_are_names_of_netrons_own_files(digits: Digits) -> None:
    """Asking for a page never builds a path: names are compared as they are."""
    site = netron_site(load_model(digits[0]), None)
    folder = netron_folder()
    assert all(path == f"/{file.name}" and file.parent == folder for path, file in site.files.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (
            ("exports.formats", "viewer"),
            {"torch", "aihwkit", "onnxruntime", "netron"},
        ),
        (
            ("document.builder", "exports.json_documents", "wording.placement"),
            {"torch", "aihwkit", "jinja2", "scipy.sparse", "scipy.stats"},
        ),
    ],
    ids=["files", "terminal"],
)
def test_importing_it_loads_nothing_heavy(modules: tuple[str, ...], heavy: set[str]) -> None:
    imports = f"import sys, {', '.join(f'lhc.report.{name}' for name in modules)}"
    code = f"{imports}\nprint(sorted({heavy!r} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "[]\n"
