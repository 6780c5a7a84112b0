"""A report as JUnit XML: every budget at every age is a test case, for gates of continuous integration.

A case passes only where the placement is shown to hold the budget: the deciding interval of the mean drop ends within
it. What was not measured, or cannot be compared with a budget, is skipped with the reason; a placement that was not
judged at all fails. Elements and attributes are those of the schema of Jenkins (``junit-10.xsd``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree

from lhc.options.shared import DropType
from lhc.plan import Outcome, Plan
from lhc.report.document.page_content import NO_TIMES, data_facts
from lhc.report.document.report import Report
from lhc.report.wording.outcome import (
    budget_for,
    budget_of_chips,
    conformance_text,
    further_text,
    network_against,
    nothing_lost,
    of_budget,
    points,
    within_budget,
)
from lhc.report.wording.placement import verdict_sentence
from lhc.report.wording.robustness import budget_of_margin, held_at, held_word, other_samples
from lhc.support.number_formatting import drop_range, drop_text, drop_word, time_text
from lhc.support.text_escaping import one_line

if TYPE_CHECKING:
    from lhc.results import Evaluation, Robustness

State = Literal["passed", "failure", "skipped"]
_VERDICTS = {"yes": "met", "no": "not met", "not shown": "not shown to be met"}


@dataclass(frozen=True)
class _Case:
    """A test case: its class, its name, how it ended, and the figures or the reason."""

    group: Literal["model", "verification", "over_time", "robustness"]
    name: str
    state: State
    text: str = ""


def junit(report: Report) -> str:
    """The document, with one test suite."""
    cases = list(_cases(report))
    failures, skipped = (str(sum(case.state == state for case in cases)) for state in ("failure", "skipped"))
    counts = {"tests": str(len(cases)), "failures": failures, "errors": "0"}
    root = ElementTree.Element("testsuites", {"name": "lhc", **counts})
    name = one_line(f"{report.model} on {report.plan.hardware.name}")
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts, "skipped": skipped})
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in _facts(report.plan):
        ElementTree.SubElement(properties, "property", {"name": one_line(key), "value": one_line(value)})
    for case in cases:
        names = {"name": one_line(case.name), "classname": f"lhc.{case.group}"}
        found = ElementTree.SubElement(suite, "testcase", names)
        if case.state != "passed":
            ElementTree.SubElement(found, case.state, {"message": one_line(case.text)})
        elif case.text:
            ElementTree.SubElement(found, "system-out").text = one_line(case.text)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}\n'


def _facts(plan: Plan) -> tuple[tuple[str, str], ...]:
    return (("lhc", plan.lhc_version), ("hardware", plan.hardware.name), ("model", plan.source), *data_facts(plan))


def _cases(report: Report) -> Iterator[_Case]:
    plan, outcome = report.plan, report.plan.outcome
    doubts = " ".join(report.warnings)
    yield _Case("model", "the model is as it was annotated", "failure" if doubts else "passed", doubts)
    if not plan.layers:
        return
    if (checked := conformance_text(plan)) is not None:
        wrong = plan.conformance is not None and bool(plan.conformance.wrong)
        yield _Case("model", "the emulation agrees with aihwkit", _state(not wrong), checked)
    if outcome is None:
        text = "the placement was not judged on data: lhc partition does that"
        yield _Case("verification", "a budget is held", "failure", text)
        return
    yield from _verified(report, outcome)
    yield from _over_time(report, outcome)
    if report.robustness is not None:
        yield from _robust(report.robustness, outcome)


def _state(held: bool) -> State:
    return "passed" if held else "failure"


def _verified(report: Report, outcome: Outcome) -> Iterator[_Case]:
    """The budget of the placement, those of further outputs, and the limits."""
    budget = _budget(outcome, points(outcome, outcome.max_drop))
    name = f"{budget} at {time_text(outcome.t_s)}"
    text = verdict_sentence(report.plan, report.tiles)
    yield _Case("verification", name, _state(outcome.within_budget), text)
    for one in outcome.further:
        allowed = drop_text(one.max_drop, one.percent, "absolute", one.max_drop)
        what = f"{drop_word(one.higher_is_better)} of {one.metric} at output {one.output}"
        name = f"mean {what} at most {allowed} at {time_text(outcome.t_s)}"
        yield _Case("verification", name, _state(one.within_budget), further_text(one))
    if outcome.limits:
        limits = ", ".join(f"{name} at most {bound:g}" for name, bound in outcome.limits.items())
        text = f"the placement {'keeps' if outcome.limits_kept else 'does not keep'} to its limits"
        yield _Case("verification", limits, _state(outcome.limits_kept), text)


def _budget(found: "Outcome | Evaluation", allowed: str) -> str:
    return f"mean {found.drop_word} of {found.metric} at most {allowed}"


def _over_time(report: Report, outcome: Outcome) -> Iterator[_Case]:
    """The budget of the placement at every age that was measured."""
    if not report.over_time:
        if not nothing_lost(report.plan):
            yield _Case("over_time", "the budget over time", "skipped", NO_TIMES)
        return
    kind = report.over_time_type
    for point in report.over_time:
        found = point.evaluation
        held = within_budget(found, outcome, kind)
        name = f"{_budget(outcome, points(outcome, outcome.max_drop))} at {time_text(found.t_s)}"
        if held is None:
            text = f"in {found.metric}, against {network_against(found, outcome)}: not compared with this budget"
            yield _Case("over_time", name, "skipped", text)
            continue
        text = _drop(found, found.deciding(outcome.generalized), budget_for(found, outcome, kind), kind)
        yield _Case("over_time", name, _state(held), "; ".join(filter(None, (text, other_samples(found, outcome)))))


def _robust(found: "Robustness", outcome: Outcome) -> Iterator[_Case]:
    """The budget of ``lhc robustness`` over many chips; at every age too where it is not the placement's."""
    own = of_budget(found.chips, outcome) and budget_of_margin(found, outcome) == "the budget"
    for one in (found.chips, *(() if own else (point.evaluation for point in found.times))):
        allowed = drop_text(found.max_drop, one.percent, found.drop_type, found.max_drop)
        name = f"{_budget(one, allowed)} at {time_text(one.t_s)}"
        held = held_at(found, one) == "yes"
        text = _drop(one, found.interval(one), found.max_drop, found.drop_type)
        if one is found.chips:
            name, held = f"{name}, {one.draws} chips", held and found.yield_shown is not False
            text = f"{text}; {budget_of_chips(found)}"
        yield _Case("robustness", name, _state(held), text)


def _drop(found: "Evaluation", interval: tuple[float, float] | None, budget: float, kind: DropType) -> str:
    """A mean drop with the interval that decides."""
    drop = drop_text(found.drop, found.percent, kind, budget)
    share = found.percent or kind == "relative"
    between = "no interval with one draw" if interval is None else f"interval {drop_range(interval, share, budget)}"
    allowed = drop_text(budget, found.percent, kind, budget)
    return f"mean {found.drop_word} {drop} ({between}), {allowed} allowed: {_VERDICTS[held_word(interval, budget)]}"
