"""Costs in what analyze and inspect return, and what is said where a budget is not met."""

from dataclasses import replace

import pytest

import lhc
from lhc.hardware import Hardware
from lhc.hardware.circuits.faults import Faults
from lhc.pipeline.plan_table import plan_table
from lhc.plan import LayerPlan, Sensitivity
from lhc.report.document.report import Report
from lhc.report.exports.json_documents import analysis_document
from lhc.report.html.page import html
from lhc.report.html.sections import sections
from lhc.report.wording.infeasibility import infeasibility_lines
from lhc.report.wording.model_file import analysis_footer
from lhc.report.wording.outcome import shares_error
from lhc.report.wording.placement import statements
from lhc.results import FrontPoint


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
    assert "how often reads are repeated is assumed" in lines
    assert "; 2 layers are dearer than digital even with a single copy;" in lines, "conv1 and linear"
    assert "fewer than fit" not in lines, "no layer would pay with one copy and not with all"
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
    assert "14 layers are dearer than digital even with a single copy" in analysis_footer(analysis)
    assert "copies" not in analysis_footer(lhc.analyze("digits-narrow", hardware="afm")), "a machine without any"


def test_hardware_without_costs_has_none() -> None:
    machine = Hardware.load("lionheart").model_copy(update={"costs": None})
    analysis = lhc.analyze("digits", hardware=machine)
    assert analysis.costs is None
    assert "digital µs" not in analysis.as_table().headers
    assert analysis_footer(analysis) == analysis.totals
    assert analysis_document(analysis)["costs"] is None


@pytest.mark.parametrize(("difference", "said"), [((-0.01, 0.02), True), ((0.001, 0.02), False), (None, False)])
def test_a_remedy_has_both_bounds_and_says_where_no_difference_is_shown(
    full: Report, difference: tuple[float, float] | None, said: bool
) -> None:
    assert full.infeasibility is not None
    (remedy,) = full.infeasibility.remedies
    found = replace(full.infeasibility, remedies=(replace(remedy, difference=difference),))
    lines = list(infeasibility_lines(found, full.plan))
    (line,) = (line for line in lines if line.startswith("tried: adc.bits 8 -> 10: "))
    assert " points (" in line
    assert " to " in line
    assert line.endswith("; no difference shown on the same chips") == said
    assert lines[0].startswith("least drop of the placements that were measured, without further tiles: ")
    tiles = "not tried: copies of weights on more tiles (lhc partition --max-tiles)"
    assert (tiles in lines) == (full.plan.hardware.copies_obstacle is None)
    doubled = replace(found, remedies=(replace(remedy, change="tiles 5 -> 10"),))
    assert tiles not in infeasibility_lines(doubled, full.plan)
    assert full.plan.outcome is not None
    for asked in ("off", 3):
        chosen = full.plan.model_copy(update={"outcome": full.plan.outcome.model_copy(update={"copies": asked})})
        told = f"not tried: other copies of weights (--copies {asked} was asked for)"
        assert told in infeasibility_lines(found, chosen)


def test_all_layers_in_the_way_are_no_finding(full: Report) -> None:
    """Without any layer on tiles the drop is 0, which says nothing of which of them is in the way."""
    assert full.infeasibility is not None
    everything = replace(full.infeasibility, in_the_way=full.infeasibility.analog)
    number = len(everything.analog)
    told = (
        f"no small group of layers. The {number} analog layers were made digital step by step, the most damaging first."
        " The rest was never shown to hold the budget"
    )
    lines = [line for line in infeasibility_lines(everything, full.plan) if line.startswith("in the way: ")]
    assert lines == [f"in the way: {told}"]
    report = full.model_copy(update={"infeasibility": everything})
    assert dict(statements(report))["In the way"].startswith(f"{told}. The nearest budget")
    assert dict(next(section.facts for section in sections(report) if section.id == "infeasible"))["in the way"] == told
    only = everything.analog[:1]
    for analog, what in ((only, "analog layer"), ((), "layer tested on tiles")):
        decided = dict.fromkeys(full.plan.analog.difference(analog), ("digital", "sensitivity", ""))
        plan = full.plan.decide(decided)  # type: ignore[arg-type]
        lines = list(infeasibility_lines(replace(everything, analog=only, in_the_way=only), plan))
        assert f"in the way: {full.plan.titles[only[0]]}, the only {what}" in lines
        assert f"nearest budget that the 1 {what} holds: --max-drop 5%" in lines


@pytest.mark.parametrize(("most", "held"), [(0.5, True), (2.0, False)])
def test_layers_are_in_the_way_where_the_rest_is_shown_to_hold_the_budget(
    full: Report, most: float, held: bool
) -> None:
    """Else no set of layers is called so, and what was measured is told of those that a search left out."""
    found, outcome = full.infeasibility, full.plan.outcome
    assert found is not None
    assert found.without is not None
    assert outcome is not None
    bounds = (0.0, most * outcome.max_drop)
    without = replace(found.without, drop_interval=bounds, sample_interval=bounds)
    told = replace(found, without=without)
    (line,) = (line for line in infeasibility_lines(told, full.plan) if line.startswith("in the way: "))
    first, second = (full.plan.titles[name] for name in found.in_the_way)
    drop = f"the mean drop is 1.00 points, at most {100 * bounds[1]:.2f} points, "
    order = "2 layers, the most damaging first"
    none = "no set of layers was found whose digital execution is shown to bring the rest within the budget"
    said = {
        True: f"{order}: {first}, {second}; with them digital {drop}within the budget",
        False: f"{none}; with 2 layers digital, the most damaging first, {drop}budget not met: {first}, {second}",
    }
    assert line == f"in the way: {said[held]}"
    report = full.model_copy(update={"infeasibility": told})
    assert dict(statements(report))["In the way"].startswith(f"{said[held]}. The nearest budget")


@pytest.mark.parametrize(
    ("bits", "change", "said"), [(8, "adc.bits", True), (8, "dac.bits", False), (None, "x", False)]
)
def test_more_bits_of_the_dac_are_named_where_they_were_not_tried(
    full: Report, bits: int | None, change: str, said: bool
) -> None:
    assert full.infeasibility is not None
    (remedy,) = full.infeasibility.remedies
    found = replace(full.infeasibility, remedies=(replace(remedy, change=f"{change} 8 -> 10"),))
    machine = full.plan.hardware
    machine = machine.model_copy(update={"dac": machine.dac.model_copy(update={"bits": bits})})
    lines = infeasibility_lines(found, full.plan.model_copy(update={"hardware": machine}))
    assert any(line.startswith("not tried: more bits of the DAC") for line in lines) == said


@pytest.mark.parametrize(
    ("faults", "remedies", "said"),
    [
        (Faults(), (), False),
        (Faults(column_gain=0.1), (), False),
        (Faults(dead_rows=0.01), (), True),
        (Faults(stuck_low=0.01, remap=True), (), False),
        (Faults(stuck_low=0.01), ("faults.remap false -> true",), False),
    ],
)
def test_remapping_is_named_where_it_was_not_tried(
    full: Report, faults: Faults, remedies: tuple[str, ...], said: bool
) -> None:
    assert full.infeasibility is not None
    (remedy,) = full.infeasibility.remedies
    found = replace(full.infeasibility, remedies=tuple(replace(remedy, change=one) for one in remedies))
    machine = full.plan.hardware.model_copy(update={"faults": faults})
    lines = infeasibility_lines(found, full.plan.model_copy(update={"hardware": machine}))
    assert any(line.startswith("not tried: weights mapped around stuck cells and dead lines") for line in lines) == said


def test_sensitivities_are_of_one_copy_and_beside_it_of_those_that_layers_have(full: Report) -> None:
    """Earlier plans have but one figure, found with all copies."""
    row = next(row for row in full.plan.layers if row.sensitivity is not None and row.placement == "analog")
    assert row.sensitivity is not None
    one, three = (row.sensitivity.model_copy(update={"copies": copies}) for copies in (1, 3))

    def shown(**known: Sensitivity | None) -> dict[str, str]:
        layer, other = row.model_copy(update=known), row.model_copy(update={"name": "other", "sensitivity": one})
        table = plan_table(full.plan.model_copy(update={"layers": (layer, other)}))
        return {
            title: cell
            for title, cell in zip(table.headers, table.rows[0], strict=True)
            if {"sens", "with"} & {title[:4]}
        }

    assert shown(sensitivity=one) == {"sensitivity (kl)": one.estimate}
    assert shown(sensitivity=one, with_copies=three) == {
        "sensitivity (kl)": one.estimate,
        "with its copies": f"{one.estimate} with 3 copies",
    }
    assert shown(sensitivity=three) == {"sensitivity (kl)": f"{one.estimate} with 3 copies"}


def test_layers_with_fewer_copies_than_others_are_told_in_the_trade_off(full: Report) -> None:
    """Layers that cost more on tiles than they save have one copy of their weights, others as many as pay."""
    ranked = [row for row in full.plan.layers if row.sensitivity is not None]

    def copied(row: LayerPlan, copies: int, **update: object) -> LayerPlan:
        assert row.sensitivity is not None
        found = row.sensitivity.model_copy(update={"copies": copies}) if copies > 1 else None
        return row.model_copy(update={"with_copies": found, "copies": copies, **update})

    def report(copies: int) -> Report:
        dear, *others = ranked
        rows = (copied(dear, 1, placement="digital", reason="cost"), *(copied(row, copies) for row in others))
        plan = full.plan.model_copy(update={"layers": rows})
        front = None if full.front is None else replace(full.front, points=tuple(map(unmeasured, full.front.points)))
        return full.model_copy(update={"plan": plan, "front": front})

    for copies, told in ((4, 1), (1, 0)):
        said = report(copies)
        page = html(said)
        assert ("with 4 copies" in page) == bool(told)
        assert page.count("estimated, not measured; 1 layer with one copy; ringed: this placement") == told
        caption = "does alone is added up, for 1 layer with one copy (dearer on tiles)."
        assert (caption in page) == bool(told)
        assert "counts layers with other copies" not in page, "they were measured with theirs"
    of_one = report(4)
    rows = tuple(row.model_copy(update={"with_copies": None}) for row in of_one.plan.layers)
    of_one = of_one.model_copy(update={"plan": of_one.plan.model_copy(update={"layers": rows})})
    assert "Estimated damage counts layers with other copies than measured in proportion to 1 / copies." in html(of_one)


def unmeasured(point: FrontPoint) -> FrontPoint:
    """The same as an estimate."""
    return replace(point, evaluation=None)


@pytest.mark.parametrize(
    ("level", "error", "tests", "shared"),
    [(0.9, 0.05, 1, False), (0.966, 0.05, 1, True), (0.9, 0.1, 2, False), (0.9, None, 1, False)],
)
def test_a_level_that_one_test_has_to_itself_is_not_called_higher(
    full: Report, level: float, error: float | None, tests: int, shared: bool
) -> None:
    assert full.plan.outcome is not None
    outcome = full.plan.outcome.model_copy(update={"confidence": level, "error": error, "tests": tests})
    assert shares_error(outcome) == shared
