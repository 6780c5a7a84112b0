"""The report in a real browser: sorting, keyboard, dark mode, and that nothing is asked of anyone."""

import csv
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import onnx
import pytest

from lhc.onnx_io import load_model, read_graph
from lhc.plan import Plan
from lhc.report.document.builder import build_report
from lhc.report.document.report import Report
from lhc.report.exports.formats import netron_attachment
from lhc.report.viewer import make_server, netron_site

if TYPE_CHECKING:
    from tests.report.chromium import Browser

pytestmark = pytest.mark.browser

LAPTOP_WIDTH, SMALL_LAPTOP_WIDTH = 1366, 1280


def quiet(browser: "Browser") -> bool:
    """Whether the page asked for nothing but itself, and nothing went wrong in it."""
    asked = [url for url in browser.requests if not url.startswith(("file:", "data:"))]
    return not asked and not browser.problems and len([u for u in browser.requests if u.startswith("file:")]) == 1


def column(browser: "Browser", number: int) -> list[str]:
    rows: list[str] = browser.evaluate(
        f"[...document.querySelectorAll('table.layers tbody tr')].map(row => row.cells[{number}].textContent)"
    )
    return rows


def press(browser: "Browser", name: str) -> int:
    """Press a header's button; the number of its column."""
    number: int = browser.evaluate(
        f"""(() => {{
            const buttons = [...document.querySelectorAll('table.layers th button')];
            const button = buttons.find(b => b.textContent === {json.dumps(name)});
            button.click();
            return buttons.indexOf(button);
        }})()"""
    )
    return number


def test_columns_are_sorted(browser: "Browser", show: Callable[[Report], None], full: Report) -> None:
    show(full)
    macs = {layer.title: layer.macs for layer in full.plan.layers}
    number = press(browser, "MACs")
    sizes = [macs[name] for name in column(browser, 1)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 1
    sorted_by = f"[...document.querySelectorAll('table.layers th')].map(th => th.ariaSort)[{number}]"
    assert browser.evaluate(sorted_by) == "ascending"
    press(browser, "MACs")
    assert [macs[name] for name in column(browser, 1)] == sorted(sizes, reverse=True)
    assert browser.evaluate(sorted_by) == "descending"

    damage = {layer.title: layer.sensitivity.mean for layer in full.plan.layers if layer.sensitivity}
    press(browser, "Sensitivity (kl)")
    shown = [damage.get(name) for name in column(browser, 1)]
    known = [value for value in shown if value is not None]
    assert shown == [*sorted(known), *[None] * (len(shown) - len(known))], "what is not known comes last"
    press(browser, "Sensitivity (kl)")
    assert [damage.get(name) for name in column(browser, 1)][: len(known)] == sorted(known, reverse=True)
    assert browser.evaluate("document.querySelectorAll('table.layers th[aria-sort]').length") == 1

    press(browser, "#")
    assert column(browser, 1) == [layer.title for layer in full.plan.layers]
    press(browser, "Runs")
    assert column(browser, 3) == sorted(column(browser, 3))
    assert quiet(browser)


def key(browser: "Browser", name: str, code: int) -> None:
    for kind in ("rawKeyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)


def test_the_keyboard_reaches_everything(browser: "Browser", show: Callable[[Report], None], full: Report) -> None:
    show(full)
    focused = "document.activeElement.textContent"
    key(browser, "Tab", 9)
    assert browser.evaluate(focused) == "Skip to the table of layers"
    key(browser, "Tab", 9)
    told = "document.querySelector('.chosen-layer').textContent"
    first = full.plan.layers[0]
    assert browser.evaluate(told).startswith(f"{first.title}: {first.placement}, {first.reason}")
    key(browser, "ArrowRight", 39)
    second = full.plan.layers[1]
    assert browser.evaluate(told).startswith(f"{second.title}: ")
    key(browser, "ArrowDown", 40)
    below = full.plan.layers[9]
    assert browser.evaluate(told).startswith(f"{below.title}: "), "the same place in the next block"
    key(browser, "End", 35)
    assert browser.evaluate(told).startswith(f"{full.plan.layers[-1].title}: ")
    assert browser.evaluate("document.querySelectorAll('.cell[tabindex=\"0\"]').length") == 1
    key(browser, "Tab", 9)
    while browser.evaluate("document.activeElement.className === 'save'"):
        key(browser, "Tab", 9)
    assert browser.evaluate("document.activeElement.closest('th') !== null"), "the grid is one stop, then what saves"
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert quiet(browser)


def test_a_cell_leads_to_its_row(browser: "Browser", show: Callable[[Report], None], full: Report) -> None:
    show(full)
    x, y = browser.evaluate(
        "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelectorAll('.cell')[9].getBoundingClientRect())"
    )
    browser.click(x, y)
    browser.wait_for("document.querySelector('tr:target') !== null")
    name = browser.evaluate("document.querySelector('tr:target').cells[1].textContent")
    assert name == full.plan.layers[9].title


def test_the_first_screen_of_a_laptop_holds_all_that_counts(
    browser: "Browser",
    show: Callable[[Report], None],
    full: Report,
    make_judged: Callable[[onnx.ModelProto], tuple[onnx.ModelProto, Plan]],
    make_transformer: Callable[..., onnx.ModelProto],
) -> None:
    proto, plan = make_judged(make_transformer(12))
    show(build_report("m", plan, read_graph(load_model(proto)), times=full.over_time, front=full.front))
    bottom = browser.evaluate(
        "Math.max(...[...document.querySelectorAll('header, .cell, .side svg')]"
        ".map(element => element.getBoundingClientRect().bottom))"
    )
    assert bottom <= 768
    assert browser.evaluate("document.querySelectorAll('.cell').length") == 98
    assert smallest_text(browser) >= 10
    assert texts_beyond_their_cell(browser) == 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= LAPTOP_WIDTH


def test_a_small_laptop_shows_the_whole_width_and_a_large_screen_no_larger_text(
    browser: "Browser", show: Callable[[Report], None], full: Report
) -> None:
    show(full)
    heights = []
    for width in (SMALL_LAPTOP_WIDTH, 1920):
        browser.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        labels = "[...document.querySelectorAll('.side figure svg text')].map(t => t.getBoundingClientRect().height)"
        heights.append(browser.evaluate(f"{labels}[0]"))
    assert 9 < heights[0] <= heights[1] < 15


def smallest_text(browser: "Browser") -> float:
    """Height of a line in a cell, pixels."""
    height: float = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('.cell text')].filter(t => t.textContent)"
        ".map(text => text.getBoundingClientRect().height))"
    )
    return height


def texts_beyond_their_cell(browser: "Browser") -> int:
    number: int = browser.evaluate(
        "[...document.querySelectorAll('.cell')].filter(cell => {"
        " const box = cell.querySelector('rect').getBoundingClientRect();"
        " return [...cell.querySelectorAll('text')].some(text => {"
        "  const r = text.getBoundingClientRect(); return r.left < box.left || r.right > box.right; }) }).length"
    )
    return number


@pytest.mark.slow
def test_five_hundred_layers_are_seen_on_one_screen(
    browser: "Browser", show: Callable[[Report], None], large: Report
) -> None:
    show(large)
    cells = "[...document.querySelectorAll('.cell')]"
    assert browser.evaluate(f"{cells}.length") == len(large.plan.layers) > 500
    bottom = browser.evaluate(f"Math.max(...{cells}.map(cell => cell.getBoundingClientRect().bottom))")
    assert bottom <= 768 - 32, "room for two more lines of the header"
    assert smallest_text(browser) >= 9
    assert texts_beyond_their_cell(browser) == 0
    with_figure = f"{cells}.filter(cell => /\\d[.]\\d\\d/.test(cell.querySelector('text').textContent)).length"
    assert browser.evaluate(with_figure) == sum(layer.sensitivity is not None for layer in large.plan.layers)
    assert "bar (logarithmic)" not in browser.evaluate("document.querySelector('.legend').textContent")


def test_headers_stay_in_sight(browser: "Browser", show: Callable[[Report], None], large: Report) -> None:
    show(large)
    browser.evaluate("document.querySelectorAll('table.layers tbody tr')[300].scrollIntoView({behavior: 'instant'})")
    assert browser.evaluate("scrollY") > 5000
    assert browser.evaluate("document.querySelector('table.layers th').getBoundingClientRect().top") == 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= LAPTOP_WIDTH


def test_dark_mode(browser: "Browser", show: Callable[[Report], None], full: Report) -> None:
    show(full)
    colours = "(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))"
    assert browser.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(28, 30, 33)"]
    cell = "getComputedStyle(document.querySelector('.analog rect.box')).fill"
    assert browser.evaluate(cell) == "rgb(242, 142, 43)"
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.evaluate(colours) == ["rgb(22, 24, 27)", "rgb(231, 233, 236)"]
    assert browser.evaluate(cell) == "rgb(242, 142, 43)", "placements keep their colours"
    browser.send(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert browser.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"], "paper is white"


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(browser: "Browser", show: Callable[[Report], None], full: Report, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: contrast of at least 4.5 for text."""
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    show(full)
    pairs = browser.evaluate(
        """[...document.querySelectorAll('p, h1, dd, dt, figcaption, .quiet, .badge, td, th, .tag, caption, pre, a')]
            .filter(element => element.textContent.trim() && element.closest('svg') === null).map(element => {
            let ground = element, fill;
            do { fill = getComputedStyle(ground).backgroundColor; ground = ground.parentElement; }
            while (fill === 'rgba(0, 0, 0, 0)' && ground);
            return [getComputedStyle(element).color, fill, element.className];
        }).concat([...document.querySelectorAll('.cell.analog text, .cell.digital text')].map(text => [
            getComputedStyle(text).fill, getComputedStyle(text.parentElement.querySelector('rect')).fill, 'cell']))
        .concat([...document.querySelectorAll('.side text')].map(text => [
            getComputedStyle(text).fill, getComputedStyle(document.body).backgroundColor, text.className.baseVal]))"""
    )
    assert len(pairs) > 100
    for ink, ground, what in pairs:
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (what, ink, ground)


def test_hostile_names_do_nothing(browser: "Browser", show: Callable[[Report], None], full: Report) -> None:
    name = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
    layers = tuple(
        layer.model_copy(update={"name": f"b.{i}.{name}", "detail": name}) for i, layer in enumerate(full.plan.layers)
    )
    plan = full.plan.model_copy(update={"layers": layers})
    show(full.model_copy(update={"plan": plan, "model": name, "commands": (name,), "notes": (name,)}))
    assert browser.evaluate("document.title").startswith(f"{name} on lionheart")
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.evaluate("document.querySelectorAll('script').length") == 1
    assert quiet(browser)


def test_a_script_that_got_in_would_not_run(browser: "Browser", show: Callable[[Report], None], full: Report) -> None:
    show(full)
    browser.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'document.title = 1';"
        " document.body.append(s); new Image().src = 'https://example.org/x'; })()"
    )
    assert browser.evaluate("document.title").startswith("full.lhc.onnx")
    for what in ("script", "example.org/x"):
        assert any("Content Security Policy" in problem and what in problem for problem in browser.problems), what


def test_netron_takes_the_attachment(
    browser: "Browser",
    make_judged: Callable[[onnx.ModelProto], tuple[onnx.ModelProto, Plan]],
    make_transformer: Callable[..., onnx.ModelProto],
) -> None:
    """Given to the open model as Netron gives itself a file that is dropped on it."""
    plain = make_transformer(1)
    annotated, plan = make_judged(plain)
    report = build_report("m", plan, read_graph(load_model(annotated)))
    with make_server(netron_site(load_model(plain), None)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            browser.open(server.url)
            taken = browser.evaluate(
                f"""(async () => {{
                    const base = await import(new URL("base.js", location.href));
                    const bytes = new TextEncoder().encode({json.dumps(netron_attachment(report))});
                    const stream = new base.BinaryStream(bytes);
                    return window.__view__.attach({{ identifier: "m.netron.json", stream }});
                }})()"""
            )
            assert taken is True
            layer = next(layer for layer in plan.layers if layer.sensitivity is not None)
            assert layer.sensitivity is not None
            browser.click(*browser.node(layer.name))
            browser.wait_for("[...document.querySelectorAll('#sidebar input')].some(e => e.value === 'lhc.placement')")
            panel = browser.evaluate("document.getElementById('sidebar').innerText")
            for text in (layer.placement, layer.detail, str(layer.sensitivity), str(layer.sensitivity.mean)):
                assert text in panel
            names = browser.evaluate("[...document.querySelectorAll('#sidebar input')].map(e => e.value)")
            assert "sensitivity (kl with 1 copy, measured)" in names
        finally:
            server.shutdown()
            thread.join()


def test_pictures_and_tables_are_saved(browser: "Browser", show: Callable[[Report], None], full: Report) -> None:
    show(full)
    kept = """(async (text, at) => {
        let blob;
        const made = new Promise((done) => { URL.createObjectURL = (given) => { blob = given; done(); return "#"; }; });
        [...document.querySelectorAll("button.save")].filter((one) => one.textContent === text)[at].click();
        await made;
        return [blob.type, blob.size, text === "PNG" ? "" : await blob.text()];
    })"""
    kind, _, text = browser.evaluate(f"{kept}('SVG', 1)")
    assert kind == "image/svg+xml"
    assert "Drop beside the budget" in text
    assert "budget 3.00 points" in text
    kind, size, _ = browser.evaluate(f"{kept}('PNG', 0)")
    assert (kind, size > 5000) == ("image/png", True)
    kind, _, text = browser.evaluate(f"{kept}('CSV', 0)")
    assert kind == "text/csv"
    assert len(text.splitlines()) == len(full.plan.layers) + 1
    assert text.startswith("#,Layer,Operator,Runs,")
    shown = (
        "[...document.querySelector('table').tBodies[0].rows].map((row) => [...row.cells].map((one) => one.innerText))"
    )
    assert [row[5] for row in csv.reader(text.splitlines()[1:])] == [row[5] for row in browser.evaluate(shown)]
    assert quiet(browser)
