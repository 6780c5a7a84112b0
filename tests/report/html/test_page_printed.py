"""The report on paper: A4 landscape, nothing cut off, nothing hidden, and breaks only where they do no harm."""

import base64
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lhc.report.document.report import Report
from lhc.report.html.sections import sections

if TYPE_CHECKING:
    from tests.report.chromium import Browser

pytestmark = pytest.mark.browser

PAPER_WIDTH = 1039
"""Between the margins of A4 landscape: 275 mm, in pixels of 1/96 inch."""

Show = Callable[[Report], None]
Pages = Callable[[Report], list[str]]


@pytest.fixture
def pages(browser: "Browser", show: Show, tmp_path: Path) -> Pages:
    """Print a report; the words of every page."""
    program = shutil.which("pdftotext")
    if program is None:
        pytest.skip("pdftotext (poppler-utils) is not installed")

    def printed(report: Report) -> list[str]:
        show(report)
        path = tmp_path / "report.pdf"
        path.write_bytes(pdf(browser))
        subprocess.run([program, "-layout", path, tmp_path / "report.txt"], check=True)
        return (tmp_path / "report.txt").read_text(encoding="utf-8").removesuffix("\f").split("\f")

    return printed


def pdf(browser: "Browser") -> bytes:
    return base64.b64decode(browser.send("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])


def test_it_is_a4_landscape_and_asks_nobody(browser: "Browser", show: Show, full: Report) -> None:
    show(full)
    data = pdf(browser)
    assert data.startswith(b"%PDF")
    count = data.count(b"/Type /Page\n") or data.count(b"/Type/Page") - data.count(b"/Type/Pages")
    assert 2 <= count <= 11
    assert b"/MediaBox [0 0 842" in data or b"/MediaBox [0 0 841" in data
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert not browser.problems


@pytest.mark.parametrize("name", ["small", "full", "large"])
def test_nothing_is_wider_than_the_paper(
    browser: "Browser", show: Show, name: str, request: pytest.FixtureRequest
) -> None:
    show(request.getfixturevalue(name))
    browser.send("Emulation.setEmulatedMedia", media="print")
    browser.send("Emulation.setDeviceMetricsOverride", width=PAPER_WIDTH, height=710, deviceScaleFactor=1, mobile=False)
    assert browser.evaluate("document.documentElement.scrollWidth") <= PAPER_WIDTH
    parts = "[...document.querySelectorAll('svg, table, p, dl, pre')]"
    assert browser.evaluate(f"Math.max(...{parts}.map(e => e.getBoundingClientRect().right))") <= PAPER_WIDTH


def test_what_only_a_screen_can_do_is_left_out(browser: "Browser", show: Show, full: Report) -> None:
    show(full)
    browser.send("Emulation.setEmulatedMedia", media="print")
    hidden = (
        "[...document.querySelectorAll('th button, .chosen-layer, .on-screen')].map(e => getComputedStyle(e).display)"
    )
    assert set(browser.evaluate(hidden)) == {"none"}
    assert browser.evaluate("[...document.querySelectorAll('th .printed')].every(e => e.offsetWidth > 0)")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "full", "large"])
def test_the_first_page_is_the_first_screen(pages: Pages, name: str, request: pytest.FixtureRequest) -> None:
    first, second, *_ = pages(request.getfixturevalue(name))
    for caption in ("within the budget", "Drop beside the budget", "Trade-off", "Accuracy over time"):
        assert caption in first
    assert "Every matrix product" not in first
    assert "Every matrix product" in second


def test_the_first_page_stays_whole_without_charts_that_were_not_measured(pages: Pages, small: Report) -> None:
    first, second, *_ = pages(small.model_copy(update={"robustness": None, "times": (), "front": None}))
    for text in ("layer1.0", "Drop beside the budget", "Accuracy over time"):
        assert text in first
    assert "Every matrix product" in second


def test_every_section_is_printed_and_begins_with_its_content(pages: Pages, full: Report) -> None:
    found = pages(full)
    assert len(found) <= 11
    for section in sections(full):
        (page,) = (page for page in found[1:] if re.search(rf"^ *{re.escape(section.name)}$", page, re.MULTILINE))
        for table in section.tables:
            headers = " ".join(name for name, _ in table.columns).split()
            assert all(word in page for word in headers), section.name
            assert table.rows[0][0].text.split()[0] in page, section.name
        for item in (*section.items, *section.commands):
            assert item.split()[-1] in page, section.name


def test_long_tables_repeat_their_headers(pages: Pages, full: Report) -> None:
    found = pages(full)
    rows = [page for page in found if re.search(r"^ *\d+ +\S.* MatMul +(analog|digital) ", page, re.MULTILINE)]
    assert len(rows) > 1, "the table of layers takes several pages"
    for page in rows:
        assert re.search(r"# +Layer +Operator +Runs +Sensitivity", page)
