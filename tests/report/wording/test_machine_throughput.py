"""Throughput, peak power and area in words, in the summary, on the report and in its document."""

from types import SimpleNamespace
from typing import cast

import onnx
import pytest

from lhc.costs import Area, SystemFigures, Throughput
from lhc.costs.plan_costs import plan_cost, plan_figures
from lhc.hardware import AlpineCosts
from lhc.onnx_io import read_graph
from lhc.onnx_model import OnnxModel
from lhc.plan import Plan
from lhc.plan.summary import summary
from lhc.report.document.builder import build_report
from lhc.report.document.report import Report
from lhc.report.exports.json_documents import fields_of
from lhc.report.html.page import html
from lhc.report.wording.machine import system_lines

TITLES = cast("Plan", SimpleNamespace(titles={"a": "block/a", "b": "b"}))


@pytest.mark.parametrize(
    ("throughput", "lines"),
    [
        pytest.param(
            Throughput("one after the other", 0.25, (), None, {}, 0, 1),
            ["estimated throughput 4 samples/s, one after the other"],
            id="sequential",
        ),
        pytest.param(
            Throughput("cores", 0.0004, ("a", "relu", "b"), None, {"b": 3, "a": 2}, 5, 8),
            [
                "estimated throughput 2,500 samples/s, pipelined over 8 cores; slowest: block/a to b",
                "replicas that share out the vectors: of 2 layers, at most 3 of b; 5 tiles beyond those in use",
            ],
            id="cores with replicas",
        ),
        pytest.param(
            Throughput("units", 0.004, ("a",), None, {"a": 2}, 1, 1),
            [
                "estimated throughput 250 samples/s, 1 core, links and tiles at work at once; slowest: block/a",
                "replicas that share out the vectors: 2 of block/a; 1 tile beyond those in use",
            ],
            id="units",
        ),
        pytest.param(
            Throughput("units", 0.004, (), "memory", {}, 0, 2),
            ["estimated throughput 250 samples/s, 2 cores, links and tiles at work at once; slowest: the memory"],
            id="memory",
        ),
    ],
)
def test_how_samples_follow_each_other(throughput: Throughput, lines: list[str]) -> None:
    assert list(system_lines(SystemFigures(throughput, None, None), TITLES)) == lines


def test_power_and_area_are_said_where_known_and_what_is_not() -> None:
    paced = Throughput("one after the other", 0.25, (), None, {}, 0, 1)
    known = SystemFigures(paced, 0.7431, Area(12.3456, 24, 12.0, 5.0, ("cores", "rest")))
    assert list(system_lines(known, TITLES))[1:] == [
        "estimated peak power at most 743 mW, idle parts left out",
        "estimated area 12.3 mm², 24 tiles (42 % for converters); not known: cores and rest",
    ]
    whole = SystemFigures(paced, None, Area(20.0, 1, 12.0, None, ()))
    assert list(system_lines(whole, TITLES))[1:] == ["estimated area 20 mm², 1 tile"]
    none = SystemFigures(paced, None, Area(3.0, 0, 0.0, 0.0, ()))
    assert list(system_lines(none, TITLES))[1:] == ["estimated area 3 mm², 0 tiles"]


def test_a_pipelined_placement_says_so_everywhere(digits: tuple[onnx.ModelProto, Plan]) -> None:
    proto, plan = digits
    graph = read_graph(OnnxModel(proto))
    assert isinstance(plan.hardware.costs, AlpineCosts)
    core = plan.hardware.costs.core.model_copy(update={"count": 4})
    costs = plan.hardware.costs.model_copy(update={"core": core})
    tiles = plan.hardware.tiles.model_copy(update={"count": 1000})
    machine = plan.hardware.model_copy(update={"costs": costs, "tiles": tiles})
    faster = plan.model_copy(update={"hardware": machine})
    cost = plan_cost(faster, graph)
    assert cost is not None
    figures = plan_figures(faster, graph, cost)
    assert cost.latency_s / 4 <= figures.throughput.period_s < cost.latency_s
    rate = f"{1 / figures.throughput.period_s:,.0f} samples/s"
    assert rate in summary(faster, graph)
    assert "samples/s" not in summary(plan, graph)
    report = build_report("digits", faster, graph)
    assert report.costs is not None
    assert report.costs.system == figures
    assert Report.model_validate_json(report.to_json()).costs == report.costs
    assert f"Estimated throughput {rate}, pipelined over 4 cores" in html(report)
    document = fields_of(figures)
    assert document.keys() == {"throughput", "peak_w", "area"}
