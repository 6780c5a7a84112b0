"""Costs in what analyze and inspect return."""

import pytest

import lhc
from lhc.hardware import Hardware
from lhc.report.json_documents import analysis_document
from lhc.report.placement_lines import analysis_footer


def test_analysis_costs_every_layer_both_ways() -> None:
    analysis = lhc.analyze("digits")
    assert analysis.costs is not None
    names = [layer.name for layer in analysis.plan.layers]
    assert list(analysis.costs.digital) == list(analysis.costs.analog) == names
    everything = analysis.cost(frozenset(names))
    assert everything is not None
    layers = sum(cost.latency_s for cost in analysis.costs.analog.values())
    others = sum(cost.latency_s for cost in analysis.costs.others.values())
    assert everything.latency_s == pytest.approx(layers + others)
    table = analysis.as_table(grouped=False)
    row = dict(zip(table.headers, table.rows[0], strict=True))
    assert row["digital µs"] == f"{1e6 * analysis.costs.digital['conv1'].latency_s:.2f}"
    assert row["analog µJ"] == f"{1e6 * analysis.costs.analog['conv1'].energy_j:.2f}"
    costs = analysis_document(analysis)["costs"]
    assert isinstance(costs, dict)
    assert set(costs) == {"digital", "analog", "operators"}
    lines = analysis_footer(analysis)
    assert "all eligible layers analog" in lines
    assert "cost more in sum" not in lines
    assert "reads repeated as often as is assumed" in lines
    assert [line.split()[:2] for line in lines.splitlines()[-4:]] == [
        ["Relu", "11"],
        ["Add", "9"],
        ["ReduceMean", "1"],
        ["all", "of"],
    ]


def test_tiles_that_cost_more_than_they_save_are_told() -> None:
    analysis = lhc.analyze("digits-narrow")
    digital, everything = analysis.cost(frozenset()), analysis.cost(frozenset(analysis.plan.eligible))
    assert digital is not None
    assert everything is not None
    assert analysis.costs is not None
    assert everything.energy_j > digital.energy_j
    costs = analysis.costs
    saving = sum(costs.analog[name].energy_j < cost.energy_j for name, cost in costs.digital.items())
    (line,) = (line for line in analysis_footer(analysis).splitlines() if "cost more in sum" in line)
    assert line.startswith(f"tiles save energy in {saving} of {len(costs.digital)} eligible layers")
    assert "--objective macs" in line


def test_hardware_without_costs_has_none() -> None:
    machine = Hardware.load("lionheart").model_copy(update={"costs": None})
    analysis = lhc.analyze("digits", hardware=machine)
    assert analysis.costs is None
    assert "digital µs" not in analysis.as_table().headers
    assert analysis_footer(analysis) == analysis.totals
    assert analysis_document(analysis)["costs"] is None
