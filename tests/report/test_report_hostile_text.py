"""Every output of a report whose texts steer terminals, hide letters, or are markup: nothing of it gets through."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any
from xml.etree import ElementTree

import pytest
from pydantic import BaseModel

from lhc.hardware import Hardware
from lhc.pipeline.plan_table import plan_table
from lhc.report.charts.report_charts import front_svg
from lhc.report.document.report import Report
from lhc.report.exports.bibtex import bibtex
from lhc.report.exports.formats import KINDS
from lhc.report.exports.json_documents import front_json
from lhc.report.exports.model_card import model_card
from lhc.report.viewer import css_rules
from lhc.results import Front
from lhc.support.documents import read_yaml
from lhc.support.tables import FORMATS

UNSEEN = "\x1b]0;t\x07\r\x00\x7f\x85\x9b31m\u202e\u2066\u061c\u200b\u200d\ufeff\u2028\ufffe\ufff9\U000e0041\U000e0100"
MARKUP = "<img src=x onerror=alert(1)>&[a](x)`*b*`|}{\\%\"'"
HOSTILE = f"=1+1{UNSEEN}{MARKUP}"
KEPT = {"placement", "reason", "method", "drop_type", "engine", "objective", "copies", "status", "verdict"}
"""Fields that hold one of a few words."""


def poisoned(value: Any, key: str = "") -> Any:  # noqa: ANN401 - of the same type as the value
    """An object with all its free texts hostile."""
    if isinstance(value, Hardware):
        return value.model_copy(update=dict.fromkeys(("name", "description", "source"), HOSTILE))
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: poisoned(inner, name) for name, inner in value})
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: poisoned(getattr(value, one.name), one.name) for one in fields(value)})
    if isinstance(value, tuple):
        return tuple(poisoned(inner, key) for inner in value)
    if isinstance(value, dict):
        return {poisoned(name): poisoned(inner, key) for name, inner in value.items()}
    return f"{HOSTILE}{value}" if isinstance(value, str) and key not in KEPT else value


@pytest.fixture(scope="module")
def hostile(full: Report) -> Report:
    found: Report = poisoned(full)
    return found


def front(report: Report) -> Front:
    assert report.front is not None
    return report.front


OUTPUTS: dict[str, Callable[[Report], str | bytes]] = {
    **{f"report{end}": write for end, write in KINDS.items() if end != ".pdf"},  # it prints the page
    "card": model_card,
    "body of the card": lambda report: model_card(report).partition("\n---\n")[2],
    "citations": lambda report: bibtex(report.plan),
    "picture of a front": lambda report: front_svg(front(report)),
    "front.json": lambda report: front_json(front(report)),
    "rules of the view": lambda report: css_rules(report.plan),
    "plan.yaml": lambda report: report.plan.to_yaml(),
    **{f"plan as {form}": lambda report, form=form: plan_table(report.plan).render(form) for form in FORMATS},  # type: ignore[misc]
    "plan in a notebook": lambda report: plan_table(report.plan).html(),
}


@pytest.mark.parametrize("write", OUTPUTS.values(), ids=OUTPUTS)
def test_no_output_holds_a_character_that_steers_or_is_not_seen(
    write: Callable[[Report], str | bytes], hostile: Report
) -> None:
    made = write(hostile)
    text = made.decode() if isinstance(made, bytes) else made
    kinds = ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")
    found = {c for c in text if (unicodedata.category(c) in kinds and c != "\n") or "\U000e0000" <= c <= "\U000e0fff"}
    assert not found


def written(name: str, report: Report) -> str:
    made = OUTPUTS[name](report)
    return made.decode() if isinstance(made, bytes) else made


@pytest.mark.parametrize("name", ["report.svg", "picture of a front"])
def test_pictures_are_well_formed_whatever_texts_hold(name: str, hostile: Report) -> None:
    names = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(written(name, hostile)).iter()}
    assert names <= {
        "svg",
        "title",
        "desc",
        "style",
        "rect",
        "text",
        "tspan",
        "path",
        "circle",
        "g",
        "a",
        "defs",
        "pattern",
        "use",
        "clipPath",
    }


def test_test_cases_are_well_formed_whatever_texts_hold(hostile: Report) -> None:
    suite = ElementTree.fromstring(written("report.xml", hostile))[0]
    assert "<img src=x" in suite.attrib["name"], "it is shown all the same"


@pytest.mark.parametrize(
    "name",
    ["report.md", "body of the card", "report.html", "report.svg", "plan as markdown", "plan in a notebook"],
)
def test_markup_in_texts_means_nothing(name: str, hostile: Report) -> None:
    text = written(name, hostile)
    if name in ("report.md", "body of the card", "plan as markdown"):
        text = re.sub(r"```\n.*?\n```", "", text, flags=re.DOTALL)  # commands stand in code as they are
        assert not re.search(r"\]\(|(?<!\\)`", text)
    assert "<img" not in text
    assert "&lt;img" in text, "it is shown all the same"


@pytest.mark.parametrize("name", ["report.csv", "plan as csv"])
def test_no_cell_is_a_formula(name: str, hostile: Report) -> None:
    rows = list(csv.reader(io.StringIO(written(name, hostile))))
    cells = [unicodedata.normalize("NFKC", cell).strip() for row in rows for cell in row]
    assert not [cell for cell in cells if re.match(r"[=+@]|-(?![0-9.]+$)", cell)]
    assert sum(cell.startswith("'=1+1") for cell in cells) > len(hostile.plan.layers)


def test_json_holds_the_texts_as_they_are(hostile: Report) -> None:
    names = [layer.name for layer in hostile.plan.layers]
    report = json.loads(written("report.json", hostile))
    assert [layer["name"] for layer in report["plan"]["layers"]] == names
    netron = json.loads(written("report.netron.json", hostile))
    assert {entry["target"] for entry in netron["metadata"] if entry["kind"] == "node"} == set(names)
    assert list(json.loads(written("report.node_data.json", hostile))["results"]) == names


def test_yaml_holds_the_texts_as_they_are(hostile: Report) -> None:
    front_matter = read_yaml(written("card", hostile).split("---\n", 2)[1], "card")
    assert isinstance(front_matter, dict)
    assert front_matter["model-index"][0]["name"] == hostile.model
    assert read_yaml(written("plan.yaml", hostile), "plan.yaml") == hostile.plan.model_dump(mode="json")


def test_citations_are_the_same_entries_whatever_the_version_is(full: Report, hostile: Report) -> None:
    text = written("citations", hostile)
    depth, entries = 0, 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        entries += character == "@" and depth == 0
        assert depth >= 0
    assert depth == 0
    assert entries == written("citations", full).count("\n@") + 1
