"""The HTML page and the Markdown: what they say, that names cannot break them, and how large they are."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import onnx
import pytest

from lhc.graph import LayerGraph
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.onnx_io import load_model, read_graph, read_plan
from lhc.plan import CurvePoint, Estimate, Healing, Plan, Retrained
from lhc.report.charts.axes import Chart
from lhc.report.charts.report_charts import front_chart, own_point
from lhc.report.document.builder import build_report
from lhc.report.document.page_content import data_facts, missing
from lhc.report.document.report import Report
from lhc.report.exports.formats import read_report
from lhc.report.exports.markdown import markdown
from lhc.report.html.page import html
from lhc.report.html.sections import sections
from lhc.report.tables.measured_tables import robustness_footer
from lhc.report.wording.machine import times_of_digital
from lhc.report.wording.placement import decision, statements, verdict
from lhc.report.wording.robustness import other_samples
from lhc.results import FrontPoint

HOSTILE = (
    "</title></script><script>document.title='broken'</script><img src=https://example.org/x onerror=alert(1)>\"'`"
)


class Page(HTMLParser):
    """Elements with their attributes, and whether every element that is opened is closed in its turn."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "rect", "circle", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)
        self.close()
        self.unbalanced += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(f"/{tag}")

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


def rename(report: Report, name: str) -> Report:
    layers = [layer.model_copy(update={"name": f"b.0.{name}{i}"}) for i, layer in enumerate(report.plan.layers)]
    hardware = report.plan.hardware.model_copy(update={"name": name, "description": name, "source": name})
    plan = report.plan.model_copy(update={"layers": tuple(layers), "hardware": hardware})
    texts = {"notes": (name,), "commands": (name,), "warnings": (name,), "versions": {name: name}}
    return report.model_copy(update={"plan": plan, "model": name, **texts})


def test_the_page_is_sound(full: Report) -> None:
    page = Page(html(full))
    assert page.unbalanced == []
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    named = [one for value in page.values("aria-labelledby") for one in value.split()]
    assert len(named) >= 10
    assert set(named) <= set(ids)
    assert {href.removeprefix("#") for href in page.values("href") if href.startswith("#")} <= set(ids)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("caption") == tags.count("table") >= 7
    assert all(attributes["scope"] in ("col", "row") for tag, attributes in page.elements if tag == "th")
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    assert dict(page.elements)["html"]["lang"] == "en"


def test_nothing_is_fetched(full: Report) -> None:
    page = Page(html(full))
    assert page.values("src") == []
    assert {href for href in page.values("href") if not href.startswith("#")} == {"data:,"}
    style = re.search(r"<style>(.*?)</style>", html(full), re.DOTALL)
    assert style is not None
    assert "url(http" not in style[1]
    assert "@import" not in style[1]
    assert page.values("style") == [], "the policy forbids style attributes"
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_names_cannot_break_the_page(full: Report) -> None:
    plain, hostile = Page(html(full)), Page(html(rename(full, HOSTILE)))
    assert hostile.unbalanced == []
    assert [tag for tag, _ in hostile.elements].count("script") == 1
    assert "img" not in [tag for tag, _ in hostile.elements]
    assert abs(len(hostile.elements) - len(plain.elements)) < 200, "cells lose their names, and nothing appears"


def test_names_cannot_break_markdown(full: Report) -> None:
    text = markdown(rename(full, HOSTILE + "|*x*[a](https://example.org)"))
    text = re.sub(r"```\n.*?\n```", "", text, flags=re.DOTALL)  # commands stand in code as they are
    assert "<script" not in text
    assert "](" not in text.replace("]&#40;", "")
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| ")}
    assert len(widths) <= 8, "one width a table: no name adds a column"


@pytest.mark.parametrize("section", ["front", "times", "robustness", "region", "attribution", "costs", "infeasibility"])
def test_sections_without_data_are_left_out(full: Report, section: str) -> None:
    names = [one.id for one in sections(full)]
    assert "missing" not in names
    without = full.model_copy(update={section: () if section == "times" else None})
    left = [one.id for one in sections(without)]
    if section != "times":  # robustness has times of its own
        assert set(left) - {"missing"} < set(names)
    assert Page(html(without)).unbalanced == []
    if section in ("front", "robustness", "attribution", "costs"):
        assert len(missing(without)) >= 1
        assert missing(without)[0] in markdown(without).replace("\n- ", "\n")


def test_a_bare_plan_says_what_it_lacks(full: Report) -> None:
    layers = tuple(
        layer.model_copy(update={"sensitivity": None, "reason": "eligible", "placement": "digital"})
        for layer in full.plan.layers
    )
    plan = full.plan.model_copy(update={"outcome": None, "layers": layers})
    report = Report(model="m", summary="s", plan=plan, tiles=0, operators=40)
    assert verdict(plan) == ("not judged on data", "open")
    assert len(missing(report)) == 8
    page = html(report)
    assert Page(page).unbalanced == []
    assert "The network has 40 operators; what is not listed here is always digital." in page


def test_a_report_of_an_all_digital_network_speaks_of_no_chip(full: Report) -> None:
    everything = {layer.name: ("digital", "cost", "") for layer in full.plan.layers}
    plan = full.plan.decide(everything)  # type: ignore[arg-type]
    assert plan.outcome is not None
    plan = plan.model_copy(update={"outcome": plan.outcome.model_copy(update={"evaluations": 1})})
    text = markdown(full.model_copy(update={"plan": plan, "over_time": (), "robustness": None}))
    assert "no layer is analog, so nothing is lost" in text
    assert "with the analog layers" not in text
    assert "other chips" not in text
    assert "1 placement judged" in text


def test_nothing_to_place(full: Report) -> None:
    plan = full.plan.model_copy(update={"layers": ()})
    report = build_report("m", plan, LayerGraph((), (), ()))
    assert verdict(plan)[0] == "nothing to place"
    assert "nothing to place" in decision(report)
    assert Page(html(report)).unbalanced == []


def test_the_first_lines_say_decision_reason_and_certainty(full: Report) -> None:
    assert verdict(full.plan) == ("within the budget", "good")
    assert decision(full) == (
        "17 of 26 layers run on 17 analog tiles of 256x255, with 61.8 % of the multiplications by weights."
        " 1,152 more are of two activations."
    )
    assert "1 day after the first read (86400 s)" in markdown(full)
    said = dict(statements(full))
    assert said["Accuracy"] == (
        "90.00 % digital, 88.80 % with the analog layers 1 day after the first read: a mean drop of 1.20 points, where"
        " a drop of 3.00 points is allowed."
    )
    assert said["Certainty"].startswith(
        "for other chips on these samples, a mean drop of 0.60 to 1.80 points (94 % confidence interval). The budget is"
        " for the mean over chips; each of the 10 chips measured holds it alone."
    )
    assert said["Certainty"].endswith("250 samples: held out from the search.")
    assert full.plan.outcome is not None
    outcome = full.plan.outcome.model_copy(update={"sample_interval": full.plan.outcome.chip_interval})
    alike = full.model_copy(update={"plan": full.plan.model_copy(update={"outcome": outcome})})
    told = dict(statements(alike))["Certainty"]
    assert told.startswith("for other chips on these samples and others alike, a mean drop of "), (
        "as lhc partition says"
    )
    assert said["Why not more"].startswith(
        "17 layers stay digital, 8 of which cannot be analog: 9 not shown to fit the budget, 8 of varying"
    )
    assert said["In the way"].endswith(". The nearest budget that the 17 analog layers hold: --max-drop 5%.")
    assert said["Over time"].startswith(
        "on 500 samples, not the decision's 250, the mean drop is 1.00 points at 0 s, not shown to be within"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"within_budget": False, "drop": 0.05}, ("budget not met", "bad")),
        ({"within_budget": False}, ("budget not met", "bad")),
        ({"limits": {"tiles": 4.0}, "limits_kept": False}, ("beyond the limits", "bad")),
    ],
    ids=["beyond it", "undecided", "too many tiles"],
)
def test_a_budget_that_is_not_met(full: Report, changes: dict[str, object], expected: tuple[str, str]) -> None:
    assert full.plan.outcome is not None
    plan = full.plan.model_copy(update={"outcome": full.plan.outcome.model_copy(update=changes)})
    assert verdict(plan) == expected
    assert expected[0] in html(full.model_copy(update={"plan": plan}))


def test_gains_and_relative_drops_are_said_so(full: Report) -> None:
    assert full.plan.outcome is not None
    outcome = full.plan.outcome.model_copy(update={"drop": -0.01, "drop_type": "relative"})
    said = dict(statements(full.model_copy(update={"plan": full.plan.model_copy(update={"outcome": outcome})})))
    assert "a mean gain of 1.00 % of the digital value" in said["Accuracy"]


def test_faster_and_slower(full: Report) -> None:
    assert full.costs is not None
    whole = full.costs.total
    double = whole.model_copy(update={"latency_s": 2 * whole.latency_s, "energy_j": whole.energy_j / 3})
    found = times_of_digital(full.costs.model_copy(update={"all_digital": double}))
    assert found == ("2.0 times faster", "3.0 times more energy")
    assert times_of_digital(full.costs.model_copy(update={"all_digital": whole})) == ("no faster", "no less energy")


def test_a_margin_says_in_what_it_is_unlike_the_decision(full: Report) -> None:
    assert full.robustness is not None
    assert "unlike the decision" not in markdown(full)
    other = replace(full.robustness, margin=0.9, differs=("other chips (10 of seed 3)",))
    said = full.model_copy(update={"robustness": other})
    assert dict(statements(said))["Margin"] == (
        "the budget is met up to 0.9 times the machine's noise. Measured, unlike the decision, with other chips (10"
        " of seed 3)."
    )
    assert "Measured, unlike the decision, with other chips (10 of seed 3)." in markdown(said)


def test_a_page_tells_not_shown_from_not_met_as_the_terminal_does(full: Report) -> None:
    assert full.robustness is not None
    *held, last = full.robustness.scales
    low, high = full.robustness.max_drop - 0.01, full.robustness.max_drop + 0.01
    for interval, margin_word, cell in (
        ((low, high), "not shown to be met", "not shown"),
        ((high, high), "not met", "no"),
    ):
        at = replace(last, evaluation=replace(last.evaluation, drop_interval=interval), within=False)
        found = replace(full.robustness, scales=(*held, at))
        noise = next(one for one in sections(full.model_copy(update={"robustness": found})) if one.id == "noise")
        assert noise.text[0] == f"Margin: the budget is met up to 1 times the machine's noise; {margin_word} at 2."
        assert noise.text[0].removesuffix(".").endswith(robustness_footer(found).splitlines()[2].split(";")[1])
        column = [title for title, _ in noise.tables[0].columns].index("Within the budget")
        assert noise.tables[0].rows[-1][column].text == cell


def test_samples_other_than_the_decisions_are_said_so(full: Report) -> None:
    """The decision rests on 250 samples, what is over time, under noise and on the front on 500."""
    note = "500 samples, not the decision's 250, digital 90.00 %"
    page = unescape(html(full))
    assert page.count(f'<span class="samples">{note}</span>') == 2, "beside the front and the chart over time"
    assert markdown(full).count(f"Measured on {note}.") == 3

    outcome = full.plan.outcome
    assert outcome is not None
    same = full.model_copy(
        update={"plan": full.plan.model_copy(update={"outcome": outcome.model_copy(update={"samples": 500})})}
    )
    assert "the decision's 250" not in unescape(html(same))
    assert "the decision's 250" not in markdown(same)
    assert dict(statements(same))["Over time"].startswith("the mean drop is 1.00 points at 0 s")


def test_samples_of_the_decision_are_counted_among_those_of_a_run(full: Report) -> None:
    outcome = full.plan.outcome
    assert outcome is not None
    found = full.over_time[0].evaluation
    alike, apart = replace(found, data=outcome.data), replace(found, data="1" * 64, skipped=outcome.data)
    assert other_samples(alike, outcome) == "500 samples with the decision's 250, digital 90.00 %"
    assert other_samples(replace(alike, samples=200), outcome) == "200 of the decision's 250 samples, digital 90.00 %"
    assert other_samples(apart, outcome) == "other samples than the decision: 500, digital 90.00 %"


def test_samples_that_only_calibrated_are_not_among_those_that_served_every_purpose(full: Report) -> None:
    outcome = full.plan.outcome
    assert outcome is not None
    healing = Healing(draws=3, samples=250, neither=0.1, calibration=0.01, calibration_samples=75)
    samples: list[str] = []
    for one in (healing, None):
        judged = outcome.model_copy(update={"held_out": False, "healing": one})
        samples.append(dict(data_facts(full.plan.model_copy(update={"outcome": judged})))["samples"])
    every = "250 verified; not held out: these served every purpose"
    assert samples == [
        f"{every}, and 75 others only calibrated chips",
        f"{every}; any that calibrated chips were others",
    ]
    bare = full.plan.hardware.model_copy(update={"compensation": Compensation(outputs="none")})
    plan = full.plan.model_copy(update={"hardware": bare, "outcome": judged})
    assert dict(data_facts(plan))["samples"] == every


@pytest.mark.slow
def test_five_hundred_layers_take_seconds_and_three_megabytes(large: Report, tmp_path: Path) -> None:
    """From the file of a report with every section to the page."""
    saved = tmp_path / "large.json"
    saved.write_text(large.to_json(), encoding="utf-8")
    start = time.process_time()
    report = read_report(saved)
    page = html(report)
    assert time.process_time() - start < 5
    assert len(report.plan.layers) > 500
    assert len(sections(report)) == len(sections(large)) > 8
    assert len(page.encode()) < 3e6


@pytest.mark.slow
def test_five_hundred_layers_of_a_model_file_take_seconds(
    make_judged: Callable[[onnx.ModelProto], tuple[onnx.ModelProto, Plan]],
    make_transformer: Callable[..., onnx.ModelProto],
) -> None:
    """From the annotations, with costs and a trade-off by estimate."""
    proto, _ = make_judged(make_transformer(63))
    start = time.process_time()
    model = load_model(proto)
    plan = read_plan(model)
    assert plan is not None
    html(build_report("large", plan, read_graph(model)))
    assert time.process_time() - start < 5


def test_the_same_report_gives_the_same_bytes(full: Report, tmp_path: Path) -> None:
    assert html(full) == html(Report.model_validate_json(full.to_json()))


def test_the_front_lists_the_placement_that_the_chart_rings(full: Report) -> None:
    front, outcome = full.front, full.plan.outcome
    assert front is not None
    assert outcome is not None
    (row,) = (line for line in markdown(full).splitlines() if "this placement, as it was verified" in line)
    cells = [cell.strip() for cell in row.split("|")[1:]]
    assert cells[:3] == [str(len(full.plan.analog)), "61.8 %", str(full.tiles)]
    assert "1.20" in cells, "its mean drop in points"
    other = full.plan.model_copy(update={"outcome": outcome.model_copy(update={"metric": "agreement"})})
    elsewhere = full.model_copy(update={"plan": other})
    assert "this placement" not in markdown(elsewhere), "on another scale than the points"
    chart = front_chart(elsewhere)
    assert chart is not None
    assert not any("this placement" in point.title for point in chart.points)


def test_how_the_placement_was_found_is_said(full: Report) -> None:
    assert full.plan.outcome is not None
    estimate = Estimate(metric="kl", damage=0.1, predicted_drop=0.01, factor=0.1, spread=0.2, placements=7)
    changes = {"limits": {"tiles": 4.0}, "groups": (("a", "b"),), "evaluations": 9, "estimate": estimate}
    plan = full.plan.model_copy(update={"outcome": full.plan.outcome.model_copy(update=changes)})
    text = markdown(full.model_copy(update={"plan": plan}))
    for fact in (
        "- strategy: sensitivity, for macs, 9 placements judged",
        "- limits: tiles 4: kept",
        "- moved together: a, b",
        "(the 7 placements judged in the search were 20 % off on average)",
    ):
        assert fact in text


def test_the_learning_curve_is_shown_where_there_is_one(full: Report) -> None:
    outcome = full.plan.outcome
    assert outcome is not None
    assert "training" not in [one.id for one in sections(full)]
    points = ((0, None, 0.08), (50, 1.25, 0.031), (100, 0.5, 0.012))
    trained = Retrained(
        source="0" * 64,
        layers=("a", "b"),
        steps=100,
        batch_size=32,
        loss="distillation",
        seed=0,
        samples=900,
        data="1" * 64,
        curve=tuple(CurvePoint(step=step, loss=loss, drop=drop) for step, loss, drop in points),
    )
    plan = full.plan.model_copy(update={"outcome": outcome.model_copy(update={"retrained": trained})})
    report = full.model_copy(update={"plan": plan})
    (section,) = (one for one in sections(report) if one.id == "training")
    assert [[value.text for value in row] for row in section.tables[0].rows] == [
        ["0", "", "8.00"],
        ["50", "1.25", "3.10"],
        ["100", "0.5", "1.20"],
    ]
    assert section.chart is not None
    assert isinstance(section.chart, Chart)
    assert [point.y for point in section.chart.points] == [drop for _, _, drop in points]
    assert Page(html(report)).unbalanced == []
    assert "100 steps of 32 samples, 2 layers analog in training" in markdown(report)


def test_only_the_bounds_of_an_interval_are_kept_on_one_line(full: Report) -> None:
    """With what a figure rests on, a column of sensitivities would push others off the screen."""
    kept = re.findall(r'<span class="interval">(.*?)</span>', html(full))
    assert kept
    assert all(re.fullmatch(r"\[[^ ]+, [^ ]+\]", bounds) for bounds in kept)


def test_a_point_that_is_this_placement_has_one_row(full: Report) -> None:
    """By estimate; a measured one has figures of other chips than the placement's own row."""
    assert full.front is not None
    front = replace(full.front, points=tuple(replace(point, evaluation=None) for point in full.front.points))
    own = own_point(front, full)
    assert own is not None

    def rows(points: tuple[FrontPoint, ...]) -> list[str]:
        page = markdown(full.model_copy(update={"front": replace(front, points=points)}))
        table = page[page.index("## Trade-off") :].split("\n## ")[0]
        return [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| Analog")]

    others = rows(front.points)
    assert rows((*front.points, own)) == others
    assert sum("this placement" in line for line in others) == 1


def test_a_metric_keeps_its_capitals(full: Report) -> None:
    assert full.plan.outcome is not None
    plan = full.plan.model_copy(update={"outcome": full.plan.outcome.model_copy(update={"metric": "mAP50"})})
    times = tuple(replace(at, evaluation=replace(at.evaluation, metric="mAP50")) for at in full.over_time)
    page = html(full.model_copy(update={"plan": plan, "times": times, "robustness": None}))
    assert "Map50" not in page
    assert "MAP50 over time" in page


def test_times_that_a_region_varies_are_shown_as_times(full: Report) -> None:
    assert full.region is not None
    first, second = full.region.fields
    times = replace(first, path="calibration.period_s", values=(3600.0, 86400.0))
    points = tuple(replace(at, values=(86400.0, at.values[1])) for at in full.region.points)
    region = replace(full.region, fields=(times, second), points=points)
    table = html(full.model_copy(update={"region": region})).partition("Machines that were measured")[2]
    assert "1 day" in table
    assert "86400<" not in table
