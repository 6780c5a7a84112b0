import csv
import io

import pytest

from lhc.support.plain_text import formula_free, markdown_text, one_line, plain
from lhc.support.tables import FORMATS, Table

HOSTILE = ["\x1b]0;title\x07", "\x1b[2J", "a\rforged line", "\x9b31m", "\u202eterces", "a\nb", "\x00", "\x7f"]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@pytest.mark.parametrize("form", FORMATS)
def test_no_form_of_a_table_sends_what_steers_a_terminal(name: str, form: str) -> None:
    shown = Table(["layer"], [[name]]).render(form)
    assert not [c for c in shown if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e"]
    plainly = Table(["layer"], [["x"]]).render(form)
    assert shown.count("\n") == plainly.count("\n"), "no name forges a line"


def test_letters_of_other_languages_stay() -> None:
    text = "層/ünï-\U0001f600"
    assert plain(text) == one_line(text) == text


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1"])
def test_no_cell_of_csv_is_a_formula(cell: str) -> None:
    written = Table(["a"], [[cell]]).render("csv").splitlines()[1]
    assert next(csv.reader(io.StringIO(written)))[0].startswith(("'", "\\"))


@pytest.mark.parametrize("cell", ["-0.5", "+1", "1e-5", "-1.2e+3", "12.5 %", "conv1"])
def test_numbers_and_names_stay_as_they_are(cell: str) -> None:
    assert formula_free(cell) == cell


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
