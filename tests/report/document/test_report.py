"""Reports as JSON, what they are made of, and what is kept of them."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lhc.costs import cost_of
from lhc.errors import ConfigError, UsageError
from lhc.graph import LayerGraph
from lhc.onnx_io import load_model, read_graph
from lhc.pipeline.plan_table import graph_of_plan
from lhc.plan import Plan, Retrained
from lhc.report.charts.report_charts import over_time_chart
from lhc.report.document.builder import build_report, costs_of, estimated_front, over_time
from lhc.report.document.page_content import cost_table
from lhc.report.document.report import Report
from lhc.report.exports.formats import KINDS, NotebookReport, read_report
from lhc.report.exports.markdown import markdown
from lhc.report.store import merged, newest_report, store_report, stored_report
from lhc.report.wording.placement import statements
from lhc.results import Evaluation

Judged = Callable[[onnx.ModelProto], tuple[onnx.ModelProto, Plan]]


def levels(report: Report) -> list[str]:
    """Lines across the chart over time."""
    chart = over_time_chart(report)
    assert chart is not None
    return [level.kind for level in chart.levels]


@pytest.fixture(scope="module")
def small(make_judged: Judged, make_transformer: Callable[..., onnx.ModelProto]) -> tuple[Plan, LayerGraph]:
    proto, plan = make_judged(make_transformer(1))
    return plan, read_graph(load_model(proto))


def test_json_is_read_back_exactly(full: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(full.to_json(), encoding="utf-8")
    assert read_report(path) == full


def test_json_keeps_to_its_schema(full: Report) -> None:
    schema, document = json.loads(Report.json_schema()), json.loads(full.to_json())
    jsonschema.validate(document, schema)
    del document["plan"]
    with pytest.raises(jsonschema.ValidationError, match="plan"):
        jsonschema.validate(document, schema)


def test_a_report_without_a_margin_says_why(full: Report) -> None:
    assert full.robustness is not None
    least = full.robustness.scales[0]
    wide = replace(least, evaluation=replace(least.evaluation, drop=0.004, drop_interval=(-0.05, 0.05)), within=False)
    few = replace(full.robustness, scales=(wide,), margin=0.0)
    told = markdown(full.model_copy(update={"robustness": few}))
    assert "the mean drop is 0.40 points, within the budget, but its interval over" in told
    assert "reaches 5.00 points; more --draws narrow it." in told.replace("\\", "")


def test_drops_of_another_metric_are_not_held_against_the_budget(full: Report) -> None:
    """A drop of 0.02 in nmse is no 2 points of accuracy."""
    assert full.robustness is not None

    def in_nmse(found: Evaluation) -> Evaluation:
        return replace(found, metric="nmse", percent=False)

    robust = full.robustness
    times = tuple(replace(point, evaluation=in_nmse(point.evaluation)) for point in robust.times)
    other = full.model_copy(
        update={"robustness": replace(robust, times=times, chips=in_nmse(robust.chips), max_drop=0.5, margin=2.0)}
    )
    told = dict(statements(other))
    assert told["Over time"] == "in nmse, and the budget is for accuracy: not compared."
    assert "a drop of 0.5 in nmse, which is not the placement's budget, is met up to" in told["Margin"]
    assert levels(other) == ["digital"]
    assert "Measured on another scale than the decision: in nmse, not accuracy; not compared" in markdown(other)


@pytest.mark.parametrize(
    ("differ", "told"),
    [({"metric": "nmse"}, " against the network as it was given ("), ({"against": "s"}, " against another network (")],
)
def test_times_that_can_be_held_against_the_budget_are_the_table(
    full: Report, make_evaluated: Callable[..., Evaluation], differ: dict[str, Any], told: str
) -> None:
    """However many there are in another metric or against another network, and whichever was measured first."""
    judged = full.model_copy(update={"robustness": None, "times": over_time([make_evaluated(0.88, 0.0)])})
    others = over_time(replace(make_evaluated(0.5, t), percent=False, **differ) for t in (0.0, 60.0))
    apart = judged.model_copy(update={"times": others})
    for old, new in ((judged, apart), (apart, judged)):
        both = merged(old, new)
        assert both.times == judged.times
        notes = [note for note in both.notes if note not in judged.notes]
        assert len(notes) == 2
        assert all(told in note for note in notes)


def test_drops_against_the_given_network_are_the_table_of_trained_weights(
    full: Report, make_evaluated: Callable[..., Evaluation]
) -> None:
    """Those against the trained weights, more though they are, are said beside them, also those of a robustness."""
    trained = Retrained(source="a" * 64, layers=("a",), steps=5, batch_size=2, loss="hard", seed=0, samples=9, data="")
    assert full.plan.outcome is not None
    outcome = full.plan.outcome.model_copy(update={"retrained": trained})
    full = full.model_copy(update={"plan": full.plan.model_copy(update={"outcome": outcome})})
    assert full.robustness is not None
    assert all(point.evaluation.against is None for point in full.robustness.times)
    own = over_time(make_evaluated(0.88, t) for t in (0.0, 60.0, 3600.0))
    given = over_time(replace(make_evaluated(0.87, t), against="a" * 64) for t in (0.0, 60.0))
    old = full.model_copy(update={"times": own})
    assert levels(old) == ["digital"]
    both = merged(old, full.model_copy(update={"times": given}))
    assert both.times == both.over_time == given
    assert both.over_time_type == "absolute"
    assert levels(both) == ["digital", "budget"]
    assert "the mean drop against the network as it was given is" in dict(statements(both))["Over time"]
    assert sum("against the trained weights (" in note for note in both.notes) == 3


@pytest.mark.parametrize(
    "differ", [{"samples": 7}, {"baseline": 0.5}, {"values": (0.5, 0.6, 0.7)}, {"seed": 1}, {"data": 64 * "1"}]
)
def test_times_of_other_samples_or_chips_are_not_put_beside(
    full: Report, make_evaluated: Callable[..., Evaluation], differ: dict[str, Any]
) -> None:
    """A curve is of the same chips, samples and reference: a short run does not replace one point of a long one."""
    old = full.model_copy(update={"robustness": None, "times": over_time([make_evaluated(0.88, 0.0)])})
    other = replace(make_evaluated(0.5, 60.0), **differ)
    new = old.model_copy(update={"times": over_time([other])})
    assert [point.evaluation for point in merged(old, new).times] == [other]


def test_a_shorter_series_does_not_replace_a_longer_one(
    full: Report, make_evaluated: Callable[..., Evaluation]
) -> None:
    """A run with another calibration at one time of three: the three stay, and it is said beside them."""
    three = over_time(make_evaluated(0.88, t) for t in (0.0, 86400.0, 3e7))
    old = full.model_copy(update={"robustness": None, "times": three})
    (day,) = over_time([replace(make_evaluated(0.87, 86400.0), calibrated=600, samples=7)])
    shorter = merged(old, old.model_copy(update={"times": (day,)}))
    assert shorter.times == three
    (note,) = set(shorter.notes) - set(old.notes)
    assert note.startswith("measured apart from the series over time: 1 day: drop ")
    assert "7 samples" in note
    assert "600" in note
    assert note in markdown(shorter).replace("\\", "")
    longer = over_time(replace(make_evaluated(0.87, t), calibrated=600, samples=7) for t in (0.0, 1.0, 2.0, 3.0))
    assert merged(shorter, old.model_copy(update={"times": longer})).times == longer
    assert merged(old, old.model_copy(update={"times": over_time([make_evaluated(0.5, 0.0)])})).times[1:] == three[1:]


def test_causes_of_damage_call_layers_by_their_modules(full: Report) -> None:
    assert full.attribution is not None
    (name,) = full.attribution.layers
    plan = full.plan.model_copy(
        update={
            "layers": tuple(
                x.model_copy(update={"module": "encoder.first"}) if x.name == name else x for x in full.plan.layers
            )
        }
    )
    section = markdown(full.model_copy(update={"plan": plan})).split("Where the damage comes from")[1]
    assert f"encoder.first ({name})" in section.split("\n## ")[0].replace("\\", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a report"),
        ("[]", "not a report"),
        ('{"schema_version": 2}', "not a report of schema 1: schema_version"),
        ("\0\xff", "not a report"),
    ],
    ids=["cut off", "a list", "a newer schema", "no JSON"],
)
def test_other_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=message):
        read_report(path)


def test_numbers_that_are_not_finite_are_refused(full: Report, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert full.front is not None
    path.write_text(full.to_json().replace(f'"damage": {full.front.points[0].damage}', '"damage": 1e999'))
    with pytest.raises(ConfigError, match=r"front\.points\.0\.damage: write a finite number"):
        read_report(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_report(tmp_path / "missing.json")


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where there is something in a document; of lists, the first two."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from leaves(inner, (*path, key))


@pytest.fixture(scope="module")
def document(full: Report) -> dict[str, object]:
    small = full.model_copy(update={"plan": full.plan.model_copy(update={"layers": full.plan.layers[:6]})})
    parsed: dict[str, object] = json.loads(small.to_json())
    return parsed


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_documents_are_refused_or_drawn(
    document: dict[str, object], tmp_path: Path, data: st.DataObject
) -> None:
    """Never a traceback."""
    path: tuple[str | int, ...] = data.draw(
        st.sampled_from([p for p in leaves(document) if p and p[:2] != ("plan", "hardware")])
    )
    value: object = data.draw(st.sampled_from([-1e300, 1e300, 0, -1, 0.5, "", None, [], {}, 10**30]))
    damaged = json.loads(json.dumps(document))
    place = damaged
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file = tmp_path / "x.json"
    file.write_text(json.dumps(damaged))
    try:
        report = read_report(file)
    except ConfigError:
        return
    for end in KINDS:
        if end != ".pdf":  # a browser prints .html
            KINDS[end](report)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("robustness", "times", 0, "evaluation", "t_s"), -100.0),
        (("robustness", "scales"), []),
        (("robustness", "chips", "drops"), []),
    ],
    ids=["before programming", "no noise", "no chips"],
)
def test_what_cannot_be_drawn_is_refused(
    document: dict[str, object], path: tuple[str | int, ...], value: object, tmp_path: Path
) -> None:
    damaged = json.loads(json.dumps(document))
    place = damaged
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file = tmp_path / "x.json"
    file.write_text(json.dumps(damaged))
    with pytest.raises(ConfigError, match="not a report of schema 1"):
        read_report(file)


EVALUATION = ("robustness", "chips")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ((*EVALUATION, "std"), -0.1, "robustness.chips.std: "),
        ((*EVALUATION, "samples"), 0, "robustness.chips.samples: "),
        ((*EVALUATION, "seed"), -1, "robustness.chips.seed: "),
        ((*EVALUATION, "confidence"), 1.5, "robustness.chips.confidence: "),
        ((*EVALUATION, "data"), "x", "robustness.chips.data: "),
        ((*EVALUATION, "interval"), [0.9, 0.8], "robustness.chips.interval: .*lower bound 0.9 is above its upper"),
        ((*EVALUATION, "mean"), 0.5, "robustness.chips.mean: 0.5 is not the mean over draws"),
        ((*EVALUATION, "drop"), 0.5, "robustness.chips.drop: 0.5 is not the mean over draws"),
        ((*EVALUATION, "baseline"), 1.5, "robustness.chips.values: beyond 0 and 1, of a metric that is a share"),
        ((*EVALUATION, "drops"), [0.012], "robustness.chips.drops: 1, of 2 draws"),
        ((*EVALUATION, "drop_interval"), [0.5, 0.6], "robustness.chips.drop_interval: .* does not hold the drop"),
        ((*EVALUATION, "documents"), 501, "robustness.chips.documents: 501 of 500 samples"),
        (("robustness", "times", 0, "evaluation", "mean"), 0.5, "robustness.times.0.evaluation.mean: "),
        (("robustness", "times", 0, "gain"), -1.0, "robustness.times.0.gain: "),
        (("robustness", "scales", 1, "scale"), -1.0, "robustness.scales.1.scale: "),
        (("robustness", "chips_within"), 1.2, "robustness.chips_within: "),
        (("robustness", "fails_at"), 0.5, "robustness.fails_at: 0.5 is below the margin, 1"),
        (("front", "points", 0, "tiles"), -1, "front.points.0.tiles: "),
        (("front", "points", 0, "analog_mac_fraction"), 2.0, "front.points.0.analog_mac_fraction: "),
        (("front", "points", 0, "evaluation", "drop"), 0.5, "front.points.0.evaluation.drop: "),
        (("front", "calibration", "spread"), -0.1, "front.calibration.spread: "),
        (("attribution", "draws"), 0, "attribution.draws: "),
        (("infeasibility", "least", "mean"), 0.5, "infeasibility.least.mean: "),
        (("infeasibility", "remedies", 0, "evaluation", "mean"), 0.5, "infeasibility.remedies.0.evaluation.mean: "),
        (("costs", "total", "energy_j"), 1.0, "costs: total.energy_j: 1 is not what layers, others and crossings"),
        (("costs", "others", "latency_s"), -1.0, "costs.others.latency_s: "),
        (("costs", "system", "peak_w"), -1.0, "costs.system.peak_w: "),
        (("costs", "system", "throughput", "period_s"), -1.0, "costs.system.throughput.period_s: "),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_no_measurement_can_have_given_is_refused_by_name(
    document: dict[str, object], path: tuple[str | int, ...], value: object, told: str, tmp_path: Path
) -> None:
    damaged = json.loads(json.dumps(document))
    place = damaged
    for key in path[:-1]:
        place = place[key]
    assert place[path[-1]] != value
    place[path[-1]] = value
    file = tmp_path / "x.json"
    file.write_text(json.dumps(damaged))
    with pytest.raises(ConfigError, match=f"not a report of schema 1: {told}"):
        read_report(file)


def test_costs_are_those_of_the_cost_model(small: tuple[Plan, LayerGraph]) -> None:
    plan, graph = small
    found, expected = costs_of(plan, graph), cost_of(graph, plan.analog, plan.hardware)
    assert found is not None
    assert found.total.latency_s == pytest.approx(expected.latency_s, rel=1e-12)
    energy = sum(layer.energy_j for layer in found.layers) + found.others.energy_j + found.crossings.energy_j
    assert energy == pytest.approx(expected.energy_j, rel=1e-9)  # sums in another order
    assert sum(one.energy_j for one in found.operators) == pytest.approx(found.others.energy_j)
    shown = [row[0].text for row in cost_table(found, plan).rows]
    assert [f"{one.name} ({one.count})" for one in found.operators] == [name for name in shown if "(" in name]
    assert found.all_digital.latency_s == pytest.approx(cost_of(graph, frozenset(), plan.hardware).latency_s)


def test_without_costs_there_is_no_section(small: tuple[Plan, LayerGraph]) -> None:
    plan, graph = small
    free = plan.model_copy(update={"hardware": plan.hardware.model_copy(update={"costs": None})})
    assert costs_of(free, graph) is None
    assert build_report("m", free, graph).costs is None


def test_the_estimated_front_is_the_hull_of_all_placements(small: tuple[Plan, LayerGraph]) -> None:
    """Of all 128 placements, none does less damage for as many MACs, in the mean of neighbouring points."""
    plan, graph = small
    front = estimated_front(plan, graph)
    assert front is not None
    hull = [(point.analog_mac_fraction, point.damage) for point in front.points]
    assert hull == sorted(hull)
    damage = {layer.name: layer.sensitivity.mean for layer in plan.layers if layer.sensitivity is not None}
    macs = {layer.name: layer.macs / plan.macs for layer in plan.layers}
    for size in range(len(damage) + 1):
        for names in itertools.combinations(damage, size):
            share = sum(macs[name] for name in names)
            for (x, y), (x2, y2) in itertools.pairwise(hull):
                if x <= share <= x2:
                    at_least = y + (y2 - y) * (share - x) / (x2 - x)
                    assert sum(damage[name] for name in names) >= at_least - 1e-12


def test_the_estimated_front_keeps_to_the_tiles_that_there_are(small: tuple[Plan, LayerGraph]) -> None:
    plan, graph = small
    whole = estimated_front(plan, graph)
    assert whole is not None
    bound = whole.points[-1].tiles - 1
    tiles = plan.hardware.tiles.model_copy(update={"count": bound})
    few = plan.model_copy(update={"hardware": plan.hardware.model_copy(update={"tiles": tiles})})
    front = estimated_front(few, graph)
    assert front is not None
    assert [p.analog for p in front.points] == [p.analog for p in whole.points if p.tiles <= bound]
    assert len(front.points) < len(whole.points)


def test_long_estimated_fronts_are_thinned(
    make_judged: Judged, make_transformer: Callable[..., onnx.ModelProto]
) -> None:
    proto, plan = make_judged(make_transformer(12))
    front = estimated_front(plan, read_graph(load_model(proto)))
    assert front is not None
    assert len(front.points) <= 25
    assert {len(front.points[0].analog), len(front.points[-1].analog)} == {0, 74}


def test_times_are_sorted_and_the_last_of_each_counts(make_evaluated: Callable[..., Evaluation]) -> None:
    found = over_time([make_evaluated(0.8, 3600.0), make_evaluated(0.85, 0.0), make_evaluated(0.7, 3600.0)])
    assert [(point.evaluation.t_s, point.evaluation.mean) for point in found] == [(0.0, 0.85), (3600.0, 0.7)]


def test_what_later_commands_measure_is_put_in(
    small: tuple[Plan, LayerGraph], full: Report, make_evaluated: Callable[..., Evaluation], tmp_path: Path
) -> None:
    plan, graph = small
    first = build_report("m", plan, graph, times=over_time([make_evaluated(0.8, 0.0)]), commands=("one",), notes=("n",))
    assert store_report(tmp_path, first) == first
    second = build_report(
        "m", plan, graph, times=over_time([make_evaluated(0.7, 9.0)]), commands=("two",), front=full.front
    )
    store_report(tmp_path, second)
    third = store_report(tmp_path, build_report("m", plan, graph, commands=("one",)))
    assert [point.evaluation.t_s for point in third.times] == [0.0, 9.0]
    assert third.commands == ("one", "two")
    assert third.notes == ("n",)
    assert third.front == full.front, "a measured front is not replaced by an estimated one"
    assert stored_report(tmp_path, plan) == third
    assert newest_report(tmp_path) == (third, 1)


def test_reports_of_other_plans_are_kept_apart(small: tuple[Plan, LayerGraph], full: Report, tmp_path: Path) -> None:
    plan, graph = small
    one = store_report(tmp_path, build_report("m", plan, graph))
    store_report(tmp_path, full)
    assert stored_report(tmp_path, plan) == one
    assert newest_report(tmp_path) == (full, 2)
    assert store_report(tmp_path, one) == one
    assert newest_report(tmp_path) == (one, 2)
    with pytest.raises(ConfigError, match="different plans"):
        merged(one, full)


def test_an_empty_folder_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no report"):
        newest_report(tmp_path)


def test_a_network_without_products(full: Report) -> None:
    plan = full.plan.model_copy(update={"layers": (), "outcome": None})
    report = build_report("m", plan, LayerGraph((), (), ()))
    assert (report.costs, report.front) == (None, None)


def test_the_graph_of_a_plan_knows_tiles_and_no_sizes(small: tuple[Plan, LayerGraph]) -> None:
    plan, graph = small
    alone = graph_of_plan(plan)
    assert plan.tiles(alone) == plan.tiles(graph)
    assert alone.tied(plan.analog) == tuple((name,) for name in plan.analog)
    report = build_report("m", plan, alone, operators=len(graph))
    whole = build_report("m", plan, graph)
    assert report.model_copy(update={"costs": whole.costs, "summary": whole.summary}) == whole
    assert report.costs is None
    assert "estimated energy" in whole.summary
    assert "estimated energy" not in report.summary, "without sizes there are no costs"


def test_layers_of_one_initializer_share_tiles(small: tuple[Plan, LayerGraph]) -> None:
    plan, _ = small
    first, second = sorted(plan.analog)[:2]
    layers = tuple(x.model_copy(update={"weight": "w"}) if x.name in (first, second) else x for x in plan.layers)
    tied = plan.model_copy(update={"layers": layers})
    assert tied.tiles(graph_of_plan(tied)) == plan.tiles(graph_of_plan(plan)) - 1


def test_a_notebook_shows_the_page(full: Report) -> None:
    assert isinstance(full, NotebookReport)
    shown = full._repr_html_()
    assert shown.startswith('<iframe srcdoc="&lt;!doctype html&gt;'), shown[:60]
    assert len(repr(full)) < 300
