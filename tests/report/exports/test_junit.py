"""Budgets as test cases: what passes, what fails a gate, and what is skipped; read by a reader of JUnit's XML."""

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from lhc.report.document.report import Report
from lhc.report.exports.junit import junit
from lhc.results import AtTime, Evaluation
from tests.report.made_reports import box_outcome

ATTRIBUTES = {
    "testsuites": ({"name", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped"}, {"properties", "testcase"}),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname"}, {"failure", "skipped", "system-out"}),
    "failure": ({"message"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}
"""Attributes and children by element: the part that is used of Jenkins' ``junit-10.xsd``, which allows all of it."""


def cases(report: Report) -> dict[str, tuple[str, str]]:
    """How each case ended, and the figures or the reason, by class and name."""
    found = {}
    for case in ElementTree.fromstring(junit(report)).iter("testcase"):
        name = f"{case.attrib['classname']}: {case.attrib['name']}"
        assert name not in found, "cases are told apart by these"
        (told,) = list(case) or (None,)
        text = "" if told is None else told.attrib.get("message", told.text or "")
        found[name] = "passed" if told is None or told.tag == "system-out" else told.tag, text
    return found


def states(report: Report, group: str) -> list[str]:
    return [state for name, (state, _) in cases(report).items() if name.startswith(f"lhc.{group}: ")]


def with_outcome(report: Report, **changed: object) -> Report:
    assert report.plan.outcome is not None
    outcome = report.plan.outcome.model_copy(update=changed)
    return report.model_copy(update={"plan": report.plan.model_copy(update={"outcome": outcome})})


@pytest.fixture
def aged(full: Report, make_evaluated: Callable[..., Evaluation]) -> Report:
    """Mean drops of 0.5, 1.2 and 6 points at three ages, known to 2 points either way; 3 points are allowed."""
    means = {0.0: 0.895, 3600.0: 0.888, 86400.0: 0.84}
    times = tuple(AtTime(make_evaluated(mean, t_s), None, None) for t_s, mean in means.items())
    assert full.robustness is not None
    robustness = replace(full.robustness, times=times)
    return full.model_copy(update={"times": times, "robustness": robustness})


def test_a_case_for_every_budget_and_age(aged: Report) -> None:
    found = cases(aged)
    budget = "mean drop of accuracy at most 3.00 points at"
    assert {name: state for name, (state, _) in found.items()} == {
        "lhc.model: the model is as it was annotated": "passed",
        f"lhc.verification: {budget} 1 day": "passed",
        f"lhc.over_time: {budget} 0 s": "passed",
        f"lhc.over_time: {budget} 1 hour": "failure",
        f"lhc.over_time: {budget} 1 day": "failure",
        f"lhc.robustness: {budget} 1 day, 2 chips": "failure",
    }
    texts = [text.partition("; ")[0] for _, text in found.values()]
    assert texts[2:5] == [
        "mean drop 0.50 points (interval -1.50 to 2.50), 3.00 points allowed: met",
        "mean drop 1.20 points (interval -0.80 to 3.20), 3.00 points allowed: not shown to be met",
        "mean drop 6.00 points (interval 4.00 to 8.00), 3.00 points allowed: not met",
    ]


def test_the_document_keeps_to_the_schema_and_counts_its_cases(aged: Report) -> None:
    root = ElementTree.fromstring(junit(aged))
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, children = ATTRIBUTES[element.tag]
        assert element.attrib.keys() == attributes
        assert {child.tag for child in element} <= children
    (suite,) = root
    assert suite.attrib["name"] == "full.lhc.onnx on lionheart"
    assert [suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")] == ["6", "3", "0", "0"]
    assert len(cases(aged)) == 6
    properties = {one.attrib["name"]: one.attrib["value"] for one in suite.iter("property")}
    assert properties["budget"] == "mean drop of at most 3.00 points (absolute)"
    assert properties["seed"] == "0"


def test_junitparser_reads_it(aged: Report) -> None:
    junitparser = pytest.importorskip("junitparser")
    read = junitparser.JUnitXml.fromstring(junit(aged).encode())
    suite = next(iter(read))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (6, 3, 0, 0)
    assert sum(case.is_failure for case in suite) == 3


def undecided(report: Report) -> Report:
    interval = (-0.01, 0.034)
    return with_outcome(report, within_budget=False, interval=interval, chip_interval=interval)


@pytest.mark.parametrize(
    ("change", "states_of_verification", "text"),
    [
        pytest.param(undecided, ["failure"], "but the interval reaches 3.40 points", id="not shown"),
        pytest.param(
            lambda report: report.model_copy(update={"plan": report.plan.model_copy(update={"outcome": None})}),
            ["failure"],
            "was not judged on data",
            id="not judged",
        ),
        pytest.param(
            lambda report: with_outcome(report, limits={"tiles": 3.0}, limits_kept=False),
            ["passed", "failure"],
            "does not keep to its limits",
            id="beyond limits",
        ),
        pytest.param(
            lambda report: with_outcome(
                report,
                within_budget=False,
                further=(box_outcome(0.2, (0.1, 0.3)),),
            ),
            ["failure", "failure"],
            "output 'box' beside it",
            id="another output",
        ),
    ],
)
def test_what_is_not_shown_to_hold_fails(
    full: Report, change: Callable[[Report], Report], states_of_verification: list[str], text: str
) -> None:
    report = change(full)
    assert states(report, "verification") == states_of_verification
    assert any(text in said for state, said in cases(report).values() if state == "failure")


def test_a_limit_that_is_kept_says_so(full: Report) -> None:
    report = with_outcome(full, limits={"tiles": 40.0}, limits_kept=True)
    assert ("passed", "the placement keeps to its limits") in cases(report).values()


def test_a_changed_model_fails(full: Report) -> None:
    report = full.model_copy(update={"warnings": ("full.onnx has changed since lhc annotated it.",)})
    assert cases(report)["lhc.model: the model is as it was annotated"][0] == "failure"


def test_what_was_not_measured_or_cannot_be_compared_is_skipped(
    full: Report, make_evaluated: Callable[..., Evaluation]
) -> None:
    bare = full.model_copy(update={"times": (), "robustness": None})
    assert states(bare, "over_time") == ["skipped"]
    other = AtTime(replace(make_evaluated(0.9), metric="top5"), None, None)
    assert states(bare.model_copy(update={"times": (other,)}), "over_time") == ["skipped"]


def test_another_budget_of_robustness_has_cases_of_its_own_at_every_age(full: Report) -> None:
    assert full.robustness is not None
    report = full.model_copy(update={"robustness": replace(full.robustness, max_drop=0.05)})
    names = [name for name in cases(report) if name.startswith("lhc.robustness")]
    assert len(names) == 5
    assert all("at most 5.00 points" in name for name in names)
    assert states(report, "robustness") == ["passed"] * 5
    unproved = replace(full.robustness, max_drop=0.05, yield_share=0.99, yield_shown=False)
    assert states(full.model_copy(update={"robustness": unproved}), "robustness")[0] == "failure"
