import csv
import io
import json
from html import unescape

import pytest

from lhc.support.tables import FORMATS, Table
from lhc.support.text_escaping import csv_cell, json_text, markdown_text, one_line, plain

HOSTILE = ["\x1b]0;title\x07", "\x1b[2J", "a\rforged line", "\x9b31m", "\u202eterces", "a\nb", "\x00", "\x7f"]
HOSTILE += ["\u061c1 + 2", "conv\u200b1", "tag\U000e0041", "variant\U000e0100", "filler\u3164", "\u2028line", "\ufffe"]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@pytest.mark.parametrize("form", FORMATS)
def test_no_form_of_a_table_sends_what_steers_a_terminal(name: str, form: str) -> None:
    shown = Table(["layer"], [[name]]).render(form)
    assert not [c for c in name if c in shown and not c.isprintable() and c != "\n"]
    assert shown.isascii(), "a filler is printable to Python, and not to be seen"
    plainly = Table(["layer"], [["x"]]).render(form)
    assert shown.count("\n") == plainly.count("\n"), "no name forges a line"


def test_letters_of_other_languages_stay() -> None:
    text = "層/ünï-\U0001f600"
    assert plain(text) == one_line(text) == text


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(1)",
        "\t=1",
        " =1+1",
        "\u3000=1",
        "\uff1d1+1",
        "\uff0b1",
        "\uff20A",
        "\u22121+1",
    ],
)
def test_no_cell_of_csv_is_a_formula(cell: str) -> None:
    written = Table(["a"], [[cell]]).render("csv").splitlines()[1]
    assert next(csv.reader(io.StringIO(written)))[0].startswith(("'", "\\"))


@pytest.mark.parametrize("cell", ["-0.5", "+1", "1e-5", "-1.2e+3", "12.5 %", "conv1"])
def test_numbers_and_names_stay_as_they_are(cell: str) -> None:
    assert csv_cell(cell) == cell


def test_numbers_in_csv_are_numbers() -> None:
    table = Table(
        ["layer", "MACs", "share", "µs"], [["a", "1,105,920", "87.8 %", "-"], ["b", "4", "2 %", "10.5"]], (1, 2, 3)
    )
    assert table.render("csv") == "layer,MACs,share (%),µs\na,1105920,87.8,\nb,4,2,10.5"
    assert "1,105,920" in table.render("table")


def test_a_narrow_terminal_does_without_what_matters_least() -> None:
    table = Table(["layer", "MACs", "detail"], [["conv1", "123", "a long sentence"]], (1,), spare=(2, 1))
    assert table.fitted(80) == (Table(table.headers, table.rows, [1]), "")
    narrow, note = table.fitted(20)
    assert narrow.render() == Table(["layer", "MACs"], [["conv1", "123"]], [1]).render()
    assert note == "not shown for lack of room: detail (--format csv has all)"
    assert table.fitted(3, "--json")[1] == "not shown for lack of room: MACs, detail (--json has all)", "the name stays"


def test_no_cell_of_markdown_is_html() -> None:
    assert "<img" not in Table(["a"], [["<img src=x onerror=alert(1)>"]]).render("markdown")
    assert markdown_text("[a](javascript:x)") == "[a]&#40;javascript:x)"


@pytest.mark.parametrize(
    "text",
    ["# a", "## a", "- a", "--", "- - -", "+ a", "1. a", "12) a", "> a", "---", "===", "  # a", "[a]: b", "[a][b]"],
)
def test_no_text_is_a_heading_a_list_or_a_link_of_markdown(text: str) -> None:
    assert unescape(markdown_text(text)) == text.lstrip() != markdown_text(text)


@pytest.mark.parametrize(
    "text", ["-0.5 points", "1.5 points", "conv[1]", "a_b", "#1", "a > b", "--max-drop 1 %", "-- a"]
)
def test_what_means_nothing_in_markdown_stays(text: str) -> None:
    assert markdown_text(text) == text


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_json_holds_what_it_held(text: str) -> None:
    shown = json_text(json.dumps(text, ensure_ascii=False))
    assert shown.isascii()
    assert json.loads(shown) == text
