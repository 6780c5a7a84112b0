"""What a report cites."""

import re

import pytest

from lhc.hardware import AlpineCosts, DianaCosts
from lhc.plan import Plan
from lhc.report.document.report import Report
from lhc.report.exports.bibtex import bibtex


def entries(plan: Plan) -> list[str]:
    return re.findall(r"^@\w+\{(\w+),$", bibtex(plan), re.MULTILINE)


def test_only_what_was_used_is_cited(full: Report) -> None:
    plan = full.plan
    everything = ["lhc", "lammie2025lionheart", "rasch2021aihwkit", "joshi2020accurate", "klein2023alpine"]
    assert entries(plan) == everything
    hardware = plan.hardware.with_drift_compensation_alone()
    off = hardware.compensation.model_copy(update={"drift": "none"})
    bare = hardware.model_copy(update={"costs": None, "compensation": off})
    assert entries(plan.model_copy(update={"hardware": bare})) == everything[:3]
    diana = hardware.model_copy(update={"costs": DianaCosts(), "compensation": off})
    assert entries(plan.model_copy(update={"hardware": diana})) == [
        *everything[:3],
        "houshmand2023diana",
        "risso2025odimo",
    ]


@pytest.mark.parametrize("costs", [AlpineCosts(), DianaCosts()], ids=["alpine", "diana"])
def test_braces_are_balanced(full: Report, costs: AlpineCosts | DianaCosts) -> None:
    hardware = full.plan.hardware.model_copy(update={"costs": costs})
    text = bibtex(full.plan.model_copy(update={"hardware": hardware}))
    assert text.count("{") == text.count("}")
    assert f"version = {{{full.plan.lhc_version}}}" in text
