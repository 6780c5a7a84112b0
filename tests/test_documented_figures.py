"""Every measured figure of README and of the guides stands in docs/results.json, and the other way round.

A measured figure is an interval, a number with ±, a per cent sign or a decimal point, outside code and formulas. Each
is of a measurement, of a row that the page quotes, or among `GIVEN`. Rows of a measurement stand on the first of its
pages, all their numbers one behind the other; further pages repeat some of them.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import row_cells

ROOT = Path(__file__).resolve().parents[1]
STORED: dict[str, list[dict[str, Any]]] = json.loads((ROOT / "docs" / "results.json").read_text("utf-8"))
REFERENCES = (
    "command-line",
    "decisions",
    "file-format",
    "glossary",
    "hardware-fields",
    "index",
    "reference",
    "results",
)
GUIDES = {
    "README": ROOT / "README.md",
    **{path.stem: path for path in sorted((ROOT / "docs").glob("*.md")) if path.stem not in REFERENCES},
}

GIVEN: Mapping[str, Mapping[str, str]] = {
    "README": {"versions of Python": "3.11 3.13"},
    "budget-not-met": {"share of cells that are stuck, and of weights in adapters": "1 %"},
    "compare": {"how finely the margin is searched": "10 %"},
    "costs": {"energy of a cell, and MACs a cycle, from the description": "0.828 2.8"},
    "data": {"accuracy that raises a warning": "100 %"},
    "device-requirements": {"an example of --yield": "99.9 %"},
    "emulation": {
        "versions of aihwkit": "1.1 1.2",
        "bounds of aihwkit's drift exponents": "0.049 0.1 0.008 0.045",
        "bound of an 8-bit DAC": "31.75",
    },
    "first-hour": {"level of the intervals": "90 %"},
    "hardware": {"version of YAML": "1.2", "arXiv": "2505.09663 2411.11022", "a wire, in Ohm": "0.35"},
    "healing": {"level of the intervals": "90 %"},
    "language-models": {"millions of weights": "134.5 22.7 24.6", "the budget": "0.1"},
    "models": {"millions of weights": "1.2", "published accuracy": "91.7 %"},
    "other-tools": {"versions of other tools": "3.17 0.13"},
    "performance": {"a bound of --memory, in GiB": "1.5"},
    "report": {"version of onnxruntime": "1.32"},
    "resnet20": {"level of the intervals": "90 %", "the budget of half a point": "0.5"},
    "retraining": {
        "learning rates": "0.003 0.01",
        "predicted drop that is trained for, and what is expected of it": "2.2 0.45",
        "arXiv": "2411.17367",
    },
    "sensitivity": {"limits of --method auto": "0.9 0.67 1.5", "an example of --half-width": "20 %"},
    "statistics": {
        "chances of error": "5 % 10 % 4.5 %",
        "levels of intervals, and certainty that a step is taken at": "90 % 95 % 98 % 99 %",
        "deviation of the simulated chips": "0.3",
        "an example of a drop": "0.8",
        "examples of --yield, and what they take": "95 % 99.9 % 97 % 0.95 0.049",
    },
}
"""By page and reason: numbers that were not measured, which the rule cannot tell from figures."""

_BEGIN, _END = r"(?<![\w.^-])-?\d+(?:,\d{3})*", r"(?!\d|[.,]\d)"
DECIMAL, NUMBER = rf"{_BEGIN}\.\d+{_END}", rf"{_BEGIN}(?:\.\d+)?{_END}"
"""Neither names (ResNet-8, Apache-2.0) nor versions of three numbers."""
FIGURE = re.compile(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]|{NUMBER} ± {NUMBER}|{NUMBER} ?(?:%|per cent)|{DECIMAL}")
COMMAND = re.compile(r"(\$ |lhc |python |pip |[A-Z_]+=).*")


def plain(text: str) -> str:
    """What a page says and shows, without code, commands, formulas and links; blocks without a language are output."""
    text = re.sub(r"^```\S.*?^```$|^    .*?$|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```$.*?^```$", lambda block: _output(block[0]), text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]*`|\$[^$\n]+\$|\]\([^)]*\)", " ", text)
    return " ".join(text.replace("\N{MINUS SIGN}", "-").replace("**", "").split())


def _output(block: str) -> str:
    lines = block.strip("`").splitlines()
    return "\n".join(line for line in lines if not COMMAND.match(line))


def numbers(text: str) -> list[str]:
    return re.findall(NUMBER, plain(text))


def figures(text: str) -> list[str]:
    return [number for found in FIGURE.findall(plain(text)) for number in re.findall(NUMBER, found)]


def of_page(name: str) -> list[dict[str, Any]]:
    return [one for one in STORED["measurements"] if name in one["pages"]]


def sources(one: Mapping[str, Any]) -> list[str]:
    """All cells of a measurement, or of the row that it names."""
    if "row" in one:
        return row_cells({row["title"]: row for row in STORED["rows"]}[one["row"]])
    return [cell for row in (one["columns"], *one["figures"]) for cell in row]


def without_source(name: str, text: str) -> list[str]:
    """Measured figures of a page that neither its measurements nor `GIVEN` have."""
    cells = [cell for one in of_page(name) for cell in sources(one)]
    known = set(numbers(" ; ".join([*cells, *GIVEN.get(name, {}).values()])))
    return [figure for figure in figures(text) if figure not in known]


def not_on_page(name: str, text: str) -> list[str]:
    """Rows of the measurements whose first page this is that it does not have."""
    shown = " ".join(numbers(text))
    rows = [row for one in of_page(name) if one["pages"][0] == name for row in one.get("figures", [])]
    return [" | ".join(row) for row in rows if f" {' '.join(numbers(' ; '.join(row[1:])))} " not in f" {shown} "]


@pytest.mark.parametrize("name", GUIDES)
def test_every_figure_of_a_guide_has_a_source(name: str) -> None:
    assert without_source(name, GUIDES[name].read_text("utf-8")) == [], (
        "docs/results.json has no such figure of this page: correct the page, or add a measurement with its command"
    )


@pytest.mark.parametrize("name", GUIDES)
def test_every_figure_of_a_measurement_is_on_its_page(name: str) -> None:
    assert not_on_page(name, GUIDES[name].read_text("utf-8")) == [], (
        "the page and docs/results.json differ: correct both by the output of the command, then"
        " python benchmarks/results.py --page"
    )


def test_measurements_name_pages_figures_and_where_they_are_from() -> None:
    for one in STORED["measurements"]:
        assert set(one["pages"]) <= set(GUIDES)
        if "row" not in one:
            assert set(one) == {"what", "pages", "command", "commit", "date", "columns", "figures"}
            assert all(numbers(" ; ".join(row[1:])) for row in one["figures"])
            assert one["command"], f"{one['what']}: nobody can make a figure again that has no command"


@pytest.mark.parametrize("name", GIVEN)
def test_what_was_not_measured_is_still_on_its_page(name: str) -> None:
    assert set(numbers(" ".join(GIVEN[name].values()))) <= set(figures(GUIDES[name].read_text("utf-8")))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a drop of 3 [1, 12]", ["3", "1", "12"]),
        ("2 ± 1, and \N{MINUS SIGN}0.5", ["2", "1", "-0.5"]),
        ("50 to 70 % or 5 per cent", ["70", "5"]),
        ("| 1,024.5 | **8.76x** |", ["1,024.5", "8.76"]),
        ("```\n$ lhc run x --max-drop 0.1\ndrop 0.2\n```", ["0.2"]),
        ("```python\nx = 0.1\n```\n`--max-drop 1%` and $0.3 x$ of [0.4](page.md#1.5)", ["0.4"]),
        ("12 chips of ResNet-8, Apache-2.0, onnx 1.0.3", []),
    ],
    ids=["interval", "deviation", "share", "table", "output", "code", "names"],
)
def test_figures_are_told_from_other_numbers(text: str, found: list[str]) -> None:
    assert figures(text) == found


@pytest.mark.parametrize("name", GUIDES)
def test_a_wrong_figure_is_found_wherever_it_stands(name: str) -> None:
    text = plain(GUIDES[name].read_text("utf-8"))
    for found in FIGURE.finditer(text):
        wrong = found[0].replace(numbers(found[0])[0], "98765.4", 1)
        assert without_source(name, text[: found.start()] + wrong + text[found.end() :]) == ["98765.4"]


def test_figures_that_changed_places_are_found() -> None:
    text = GUIDES["healing"].read_text("utf-8")
    (row,) = re.findall(r"^\| ResNet20 \| 72 .*$", text, re.MULTILINE)
    first, second = re.findall(r"[\d.]+ \[.*?\]", row)

    wrong = text.replace(row, row.replace(first, "FIRST").replace(second, first).replace("FIRST", second))

    assert not_on_page("healing", wrong) == [f"ResNet20 | 72 | in twice the tiles | {first} | {second}"]


def test_a_figure_that_changed_in_the_data_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"pages": ["healing"], "columns": ["of", "points"], "figures": [["two copies", "0.75 [0.39, 1.12]"]]}
    monkeypatch.setitem(STORED, "measurements", [one])

    assert not_on_page("healing", GUIDES["healing"].read_text("utf-8")) == ["two copies | 0.75 [0.39, 1.12]"]
