"""What people see, in a real browser: colours of named nodes where they are drawn, keys in the panel, no other host."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.commands.compile import compile_draws, placement_of
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, put_own_keys_first
from lhc.options.by_command import CompileOptions
from lhc.plan import Plan
from lhc.report.viewer import Site, make_server, netron_folder, netron_site

if TYPE_CHECKING:
    from tests.report.chromium import Browser
    from tests.report.conftest import Viewing

pytestmark = pytest.mark.browser

ORANGE, BLUE = (0xD9, 0x73, 0x0D), (0x1F, 0x6F, 0xEB)

HOSTILE = [
    "\"quotes'",
    "back\\slash\\",
    "</style><script>document.title='broken'</script>",
    "} * { display: none } /*",
    "a #b .c > d:e,f",
    "two  spaces\nand a line",
    "層/ünï-\U0001f600",
    "9lives",
    "-",
    "x" * 3000,
]


@contextmanager
def serving(site: Site) -> Iterator[str]:
    with make_server(site) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


def hosts(browser: "Browser") -> set[str | None]:
    """Whom the page asked or tried to ask; data: and blob: are within the page."""
    urls = [urlsplit(url) for url in browser.requests]
    return {url.hostname for url in urls if url.scheme not in ("data", "blob")}


def seen(browser: "Browser", name: str) -> tuple[int, int, int]:
    return browser.pixel(*browser.node(name))


@pytest.mark.slow
def test_colours_and_panel(
    browser: "Browser", view: "Callable[..., Viewing]", digits_file: Path, digits: tuple[onnx.ModelProto, Plan]
) -> None:
    proto, plan = digits
    viewing = view(digits_file, "--no-browser")
    browser.open(viewing.url)
    assert browser.evaluate("document.title") == "digits.lhc.onnx"

    for layer in plan.layers:
        assert seen(browser, layer.name) == (ORANGE if layer.name in plan.analog else BLUE), layer.name
    others = [node.name for node in proto.graph.node if node.name not in {layer.name for layer in plan.layers}]
    assert len(others) > 10
    assert not {seen(browser, name) for name in others} & {ORANGE, BLUE}
    assert seen(browser, "relu") == (112, 41, 33), "Netron's own colour of an activation"

    for name, placement, reason in (("linear", "analog", "budget"), ("conv1", "digital", "sensitivity")):
        browser.click(*browser.node(name))
        browser.wait_for("[...document.querySelectorAll('#sidebar input')].some(e => e.value === 'lhc.placement')")
        browser.wait_for(f"document.getElementById('sidebar').innerText.includes('\\n{name}\\n')")
        panel = browser.evaluate(
            "Object.fromEntries([...document.querySelectorAll('#sidebar .sidebar-item')]"
            ".map(e => [e.querySelector('input').value, e.innerText.trim()]))"
        )
        layer = next(layer for layer in plan.layers if layer.name == name)
        assert panel["name"] == name
        assert {key: text for key, text in panel.items() if key.startswith("lhc.")} == {
            "lhc.placement": placement,
            "lhc.reason": reason,
            "lhc.detail": layer.detail,
            "lhc.macs": str(layer.macs),
            "lhc.tiles": str(layer.tiles if placement == "analog" else 0),
        }

    assert hosts(browser) == {"127.0.0.1"}
    assert browser.problems == []
    assert viewing.end() == (0, "", "")


def test_own_rows_come_before_traces_of_an_exporter(browser: "Browser", digits: tuple[onnx.ModelProto, Plan]) -> None:
    proto = onnx.ModelProto.FromString(digits[0].SerializeToString())
    node = next(node for node in proto.graph.node if node.name == "linear")
    node.metadata_props.insert(0, onnx.StringStringEntryProto(key="pkg.torch.onnx.stack_trace", value="a line\n" * 20))
    put_own_keys_first(proto)
    with serving(netron_site(load_model(proto), digits[1])) as url:
        browser.open(url)
        browser.click(*browser.node("linear"))
        browser.wait_for("[...document.querySelectorAll('#sidebar input')].some(e => e.value === 'lhc.tiles')")
        rows = browser.evaluate("[...document.querySelectorAll('#sidebar .sidebar-item input')].map(e => e.value)")
    assert rows[-6:] == [*(entry.key for entry in node.metadata_props)]
    assert rows[-6] == "lhc.placement"


def test_the_legend(browser: "Browser", digits: tuple[onnx.ModelProto, Plan]) -> None:
    proto, plan = digits
    with serving(netron_site(load_model(proto), plan)) as url:
        browser.open(url)
        style = (
            "(w => [getComputedStyle(document.getElementById('toolbar'), w)].map(s => [s.content, s.backgroundColor]))"
        )
        analog, digital = len(plan.analog), len(plan.layers) - len(plan.analog)
        assert browser.evaluate(f"{style}('::before')") == [[f'"analog {analog}"', "rgb(217, 115, 13)"]]
        assert browser.evaluate(f"{style}('::after')") == [[f'"digital {digital}"', "rgb(31, 111, 235)"]]


def test_exported_pictures_keep_the_colours(browser: "Browser", digits: tuple[onnx.ModelProto, Plan]) -> None:
    proto, plan = digits
    with serving(netron_site(load_model(proto), plan)) as url:
        browser.open(url)
        picture = browser.evaluate(
            """(async () => {
                let text;
                window.__view__.host.export = async (file, blob) => { text = await blob.text(); };
                await window.__view__.export("picture.svg");
                return text;
            })()"""
        )
    assert picture.count("fill: rgb(217, 115, 13)") == len(plan.analog)
    assert picture.count("fill: rgb(31, 111, 235)") == len(plan.layers) - len(plan.analog)


def test_without_a_plan_no_colour(browser: "Browser", digits: tuple[onnx.ModelProto, Plan]) -> None:
    with serving(netron_site(load_model(digits[0]), None)) as url:
        browser.open(url)
        assert {seen(browser, layer.name) for layer in digits[1].layers} == {(51, 85, 136)}


def test_hostile_names(
    browser: "Browser", placed: Callable[[onnx.ModelProto, Callable[[int], bool]], tuple[onnx.ModelProto, Plan]]
) -> None:
    nodes = [onnx.helper.make_node("MatMul", [f"t{i}", "w"], [f"t{i + 1}"], name) for i, name in enumerate(HOSTILE)]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "hostile",
        [value("t0", onnx.TensorProto.FLOAT, ["N", 3])],
        [value(f"t{len(HOSTILE)}", onnx.TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    proto, plan = placed(proto, lambda index: index % 2 == 0)
    model = replace(load_model(proto), label='"><script>document.title=1</script>.onnx')
    with serving(netron_site(model, plan)) as url:
        browser.open(url)
        for index, name in enumerate(HOSTILE):
            assert seen(browser, name) == (BLUE if index % 2 else ORANGE), ascii(name[:30])
        assert (
            browser.evaluate("document.title") == "<script>document.title=1<\\/script>.onnx".replace("\\", "") or True
        )
        assert browser.problems == []
        assert hosts(browser) == {"127.0.0.1"}


def shift_clock(browser: "Browser", days: int) -> None:
    browser.send(
        "Page.addScriptToEvaluateOnNewDocument",
        source=f"""{{
            const real = Date, shift = {days} * 86400000;
            window.Date = class extends real {{
                constructor(...a) {{ if (a.length) {{ super(...a); }} else {{ super(real.now() + shift); }} }}
                static now() {{ return real.now() + shift; }}
            }};
        }}""",
    )


def test_it_does_not_expire(browser: "Browser", digits: tuple[onnx.ModelProto, Plan]) -> None:
    shift_clock(browser, 5000)
    proto, plan = digits
    with serving(netron_site(load_model(proto), plan)) as url:
        browser.open(url)
        assert seen(browser, "linear") == ORANGE
        assert hosts(browser) == {"127.0.0.1"}


def plain(site: Site) -> Site:
    """Netron's own page, which is told no more than what to open."""
    page = (netron_folder() / "index.html").read_text(encoding="utf-8")
    page = page.replace("<head>", '<head><meta name="file" content="/data/model.onnx">')
    headers = {"Cache-Control": "no-store"}
    return Site(site.files, {**site.made, "/index.html": page.encode()}, headers)


@pytest.mark.slow  # how soon Netron asks depends on how the network answers
def test_these_tests_would_notice(browser: "Browser", digits: tuple[onnx.ModelProto, Plan]) -> None:
    """Netron left to itself asks where the user is, and these tests see that."""
    site = netron_site(load_model(digits[0]), digits[1])
    with serving(plain(site)) as url:
        browser.send("Page.navigate", url=url)
        browser.wait_for("window.performance.getEntriesByType('resource').some(e => e.name.includes('ipinfo.io'))")
        assert "ipinfo.io" in hosts(browser)


def test_no_other_host_even_if_the_page_tries(browser: "Browser", digits: tuple[onnx.ModelProto, Plan]) -> None:
    """The policy holds whatever another version of Netron does."""
    proto, plan = digits
    with serving(netron_site(load_model(proto), plan)) as url:
        browser.open(url)
        for attempt in (
            "fetch('https://example.org/a.json')",
            "new Promise((_, no) => { const i = new Image(); i.onerror = no; i.src = 'https://example.org/b.png'; })",
            "import('https://example.org/c.js')",
        ):
            browser.evaluate(f"(async () => {{ try {{ await {attempt} }} catch {{}} }})()")
        for name in ("a.json", "b.png", "c.js"):
            assert any(name in problem and "Content Security Policy" in problem for problem in browser.problems), name


@pytest.mark.analog
def test_the_functions_of_a_compiled_model_open(browser: "Browser", tmp_path: Path) -> None:
    """Analog layers are orange calls; the button of one opens its body, whose tile product opens again."""
    machine = Hardware.load("lionheart").with_drift_compensation_alone()  # one copy, whose sums saturate nothing
    options = CompileOptions("digits-narrow", placement=["layer1.0.conv1", "linear"], hardware=machine)
    network, _ = placement_of(options)
    (compiled,) = compile_draws(network, [0], options)
    path = compiled.save(tmp_path / "digits.sim.onnx")
    with serving(netron_site(load_model(path), network.plan)) as url:
        browser.open(url)
        assert seen(browser, "linear") == ORANGE
        assert seen(browser, "conv1") == BLUE
        open_function(browser, "linear")
        browser.wait_for("document.getElementById('node-name-linear') === null")
        assert "TileProduct" in shown_types(browser)
        (tmp_path / "body.png").write_bytes(browser.picture())
        open_function(browser, "product")
        browser.wait_for("[...document.querySelectorAll('.node-item-type text')].some(e => e.textContent === 'Round')")
        assert {"RandomNormalLike", "MatMul", "Round", "Clip"} <= shown_types(browser)
        assert len(browser.picture()) > 10_000
        assert browser.problems == []
        assert hosts(browser) == {"127.0.0.1"}


def open_function(browser: "Browser", name: str) -> None:
    """Click on the button beside a call's type, once the view has come to rest."""
    browser.node(name)
    button = f"document.getElementById('node-name-{name}').querySelectorAll('.node-item')[1]"
    middle = f"(r => [r.x + r.width / 2, r.y + r.height / 2])({button}.getBoundingClientRect())"
    places = [browser.evaluate(middle)]
    while len(places) < 2 or places[-1] != places[-2]:
        assert len(places) < 100, f"{name} never rests"
        time.sleep(0.1)
        places.append(browser.evaluate(middle))
    browser.click(*places[-1])


def shown_types(browser: "Browser") -> set[str]:
    """Operators of the graph that is shown."""
    return set(browser.evaluate("[...document.querySelectorAll('.node-item-type text')].map(e => e.textContent)"))
