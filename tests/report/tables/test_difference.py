"""Files for other viewers, names of outputs, and two plans side by side."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.plan import CurvePoint, Estimate, Plan, Retrained
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.report.document.report import Report
from lhc.report.exports.formats import KINDS, check_kind, netron_attachment, placement_data, save_report
from lhc.report.tables.difference import compare, compare_machines

Judged = Callable[[onnx.ModelProto], tuple[onnx.ModelProto, Plan]]


def test_a_netron_attachment_has_every_key_of_every_node(full: Report) -> None:
    document = json.loads(netron_attachment(full))
    assert document["signature"] == "netron:attachment"
    rows = {(row["kind"], row["target"], row["name"]): row["value"] for row in document["metadata"]}
    assert len(rows) == len(document["metadata"])
    for layer in full.plan.layers:
        assert rows["node", layer.name, "lhc.placement"] == layer.placement
        assert rows["node", layer.name, "lhc.reason"] == layer.reason
    assert rows["model", "", "lhc.summary"] == full.summary
    metrics = {row["target"]: row["value"] for row in document["metrics"]}
    assert metrics == {layer.name: layer.sensitivity.mean for layer in full.plan.layers if layer.sensitivity}


def test_placement_data_colours_every_node(full: Report) -> None:
    document = json.loads(placement_data(full))
    assert list(document["results"]) == [layer.name for layer in full.plan.layers]
    colours = {(row["value"], row["bgColor"]) for row in document["results"].values()}
    assert colours == {("analog", "#f28e2b"), ("digital", "#4e79a7")}


@pytest.mark.parametrize("end", [end for end in KINDS if end != ".pdf"])
def test_every_kind_is_written(full: Report, end: str, tmp_path: Path) -> None:
    path = tmp_path / f"Report{end.upper() if end == '.html' else end}"
    save_report(full, path)
    assert path.read_text(encoding="utf-8") == KINDS[end](full)
    named = tmp_path / f"named{end}"
    save_report(full, str(named))
    assert named.read_bytes() == path.read_bytes()


def test_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a report ends in \.html, \.md, \.pdf or \.json"):
        check_kind(tmp_path / "report.doc")


def test_equal_plans_do_not_differ(full: Report) -> None:
    found = compare(full.plan, full.plan)
    assert found.empty
    assert found.lines() == ["no difference"]
    assert found.document()["layers"] == []


def test_digital_products_that_compute_otherwise_are_a_difference(full: Report) -> None:
    digital = DigitalArithmetic(precision="int8", ranges={"x": (-1.0, 2.0), "h": (0.0, 4.0)}, samples=8)
    plan = full.plan.model_copy(update={"digital": digital})
    ranges = {"x": (-1.0, 2.0), "h": (0.0, 5.0)}
    raised = digital.model_copy(update={"high_precision": "bf16", "raised": ("head",), "ranges": ranges})
    found = compare(plan, plan.model_copy(update={"digital": raised}))
    assert not found.empty
    assert not found.layers
    assert found.lines()[:3] == [
        "digital high precision: - -> bf16",
        "digital raised: - -> [head]",
        "digital ranges: other for 1 tensor, e.g. h [0, 4] -> [0, 5]",
    ]
    assert found.document()["digital"] == {
        "high_precision": [None, "bf16"],
        "raised": [None, ["head"]],
        "ranges.h": [[0.0, 4.0], [0.0, 5.0]],
    }
    assert "digital precision: int8 -> -" in compare(plan, plan.model_copy(update={"digital": None})).lines()


def test_what_differs(full: Report) -> None:
    plan = full.plan
    analog, digital = sorted(plan.analog)[0], next(x.name for x in plan.layers if x.reason == "sensitivity")
    moved = plan.decide({analog: ("digital", "sensitivity", "…"), digital: ("analog", "budget", "…")})
    sensitivity = next(x.sensitivity for x in plan.layers if x.name == digital)
    assert sensitivity is not None
    far = sensitivity.model_copy(update={"mean": 9.0, "interval": (8.0, 10.0)})
    assert plan.outcome is not None
    other = moved.with_sensitivities({digital: far}).model_copy(
        update={
            "hardware": Hardware.load("ideal"),
            "outcome": plan.outcome.model_copy(update={"drop": 0.02}),
            "source": "another",
        }
    )
    found = compare(plan, other)
    assert not found.empty
    assert not found.same_network
    changed = {change.name: change for change in found.layers}
    assert set(changed) == {analog, digital}
    assert [changed[analog].told_apart, changed[digital].told_apart] == [False, True]
    assert {change.name for change in found.moved} == {analog, digital}
    assert found.outcome == {"drop": (0.012, 0.02)}
    assert found.hardware["name"] == ("lionheart", "ideal")
    assert len([line for line in found.lines() if line.startswith("hardware ")]) == len(found.hardware)
    assert "mean drop: 1.2 points -> 2 points" in found.lines()
    assert found.notice == "the networks differ in graph or weights; layers are compared by name"
    assert found.lines()[-1].startswith("2 layers placed otherwise, 2 differ; analog MACs 61.8 % -> ")
    json.dumps(found.document(), allow_nan=False)
    assert replace(found, layers=found.moved[:1]).lines()[-1].startswith("1 layer placed otherwise, 1 differs; ")


def test_numbers_of_an_outcome_are_short_and_equal_sensitivities_are_said_so(full: Report) -> None:
    plan = full.plan
    assert plan.outcome is not None
    moved = plan.decide({sorted(plan.analog)[0]: ("digital", "sensitivity", "…")})
    estimate = Estimate(metric="kl", damage=1 / 3, predicted_drop=0.01, factor=0.03, spread=0.2, placements=7)
    changes = {"interval": (1 / 300, 2 / 300), "estimate": estimate}
    found = compare(plan, moved.model_copy(update={"outcome": plan.outcome.model_copy(update=changes)}))
    lines = found.lines()
    assert "interval: [0.6, 1.8] points -> [0.3333, 0.6667] points" in lines
    (line,) = (line for line in lines if line.startswith("estimate: "))
    assert line.startswith("estimate: - -> metric kl, damage 0.3333, predicted drop 1 points, ")
    assert any(line.endswith(" same") for line in found.table().render("table").splitlines())


def test_one_thing_has_one_word_and_intervals_that_read_the_same_are_one(full: Report) -> None:
    assert full.plan.outcome is not None
    estimate = Estimate(metric="nmse", damage=0.2, predicted_drop=0.01, factor=0.05, spread=0.2, placements=7)
    error = {"metric": "mse", "percent": False, "higher_is_better": False, "drop_type": "relative"}
    outcome = full.plan.outcome.model_copy(update=error | {"estimate": estimate, "generalized": False})

    def lines(chips: tuple[float, float], samples: tuple[float, float]) -> list[str]:
        pair = (
            outcome.model_copy(
                update={
                    "interval": one,
                    "chip_interval": one,
                    "sample_interval": other,
                    "estimate": estimate.model_copy(update={"predicted_drop": one[1]}),
                }
            )
            for one, other in (((0.001, 0.002), (0.001, 0.002)), (chips, samples))
        )
        one, two = (full.plan.model_copy(update={"outcome": found}) for found in pair)
        return compare(one, two).lines()[:-1]

    unit = "% of the digital value"
    assert lines((0.003, 0.004), (0.003, 0.004)) == [
        f"interval, for these samples and others alike: [0.1, 0.2] {unit} -> [0.3, 0.4] {unit}",
        f"estimate: predicted rise 0.2 -> 0.4 {unit}",
    ]
    assert lines((0.003, 0.004), (0.003, 0.005))[:2] == [
        f"other chips, these samples (compared with the budget): [0.1, 0.2] {unit} -> [0.3, 0.4] {unit}",
        f"other chips, other samples: [0.1, 0.2] {unit} -> [0.3, 0.5] {unit}",
    ]


def test_values_that_differ_look_different(full: Report) -> None:
    """Digits enough, and sizes: what differs can be read off every row."""
    plan = full.plan
    assert plan.outcome is not None
    layers = [x.model_copy(update={"tiles": x.tiles + 1}) if x.sensitivity else x for x in plan.layers]
    first = next(at for at, x in enumerate(layers) if x.sensitivity and x.placement == "analog")
    sensitivity = layers[first].sensitivity
    assert sensitivity is not None
    near = sensitivity.model_copy(update={"mean": sensitivity.mean * (1 + 1e-7)})
    layers[first] = layers[first].model_copy(update={"sensitivity": near})
    outcome = plan.outcome.model_copy(update={"drop": plan.outcome.drop + 1e-9, "chips_within": 0.5})
    found = compare(plan, plan.model_copy(update={"layers": tuple(layers), "outcome": outcome}))
    for line in (*found.lines()[:-1], *(cell for row in found.table().rows for cell in row)):
        one, arrow, two = line.rpartition(": ")[2].partition(" -> ")
        assert one != two or not arrow, line
    sizes = {change.name: row[3] for change, row in zip(found.layers, found.table().rows, strict=True)}
    assert sizes[layers[first].name] == f"tiles {layers[first].tiles - 1} -> {layers[first].tiles}"
    assert any(
        line.startswith("share of chips within the budget: ") and line.endswith("-> 50 %") for line in found.lines()
    )


def test_what_is_no_difference_is_not_told(full: Report) -> None:
    """Tiles of digital layers, who chose the tiles of a layer that was given none, and the rounding of scores."""
    plan = full.plan
    assert plan.outcome is not None
    layers = [x if x.placement == "analog" else x.model_copy(update={"tiles": 9, "copies": 3}) for x in plan.layers]
    outcome = plan.outcome.model_copy(update={"value": plan.outcome.value * (1 + 1e-15)})
    other = plan.model_copy(update={"layers": tuple(layers), "outcome": outcome})
    assert compare(plan, other).empty
    given = plan.hardware.with_fields({"overrides": [{"layers": "stem", "adc": {"bits": 6}}]})
    found = compare_machines(plan.hardware, given).hardware
    assert found == {"overrides.0.layers": (None, "stem"), "overrides.0.adc.bits": (None, 6)}


def test_no_text_of_a_file_begins_a_line(full: Report) -> None:
    plan = full.plan
    assert plan.outcome is not None
    outcome = plan.outcome.model_copy(update={"metric_note": "a\nno difference"})
    machine = plan.hardware.model_copy(update={"description": "b\nno difference"})
    found = compare(plan, plan.model_copy(update={"outcome": outcome, "hardware": machine}))
    assert not [line for line in found.lines() if "\n" in line]
    assert "why this metric: " in (told := "\n".join(found.lines()))
    assert "a\\nno difference" in told
    assert "b\\nno difference" in told


def test_two_machines_differ_in_a_line_for_every_table() -> None:
    table = {"targets_us": [0, 10], "t_0_s": 20, "times_s": [0], "read_us": [0, 0], "g_max_us": 10}
    table |= {"model": "measured", "mean_us": [[0, 10]], "std_us": [[1, 2]], "correlation": [[[1]], [[1]]]}
    base = Hardware.load("lionheart").with_fields({"t_inference_s": 0.0})
    one, two = (base.with_fields({"devices": table | {"std_us": [[1, y]]}}) for y in (2, 3))
    found = compare_machines(one, two)
    assert found.lines() == ["hardware devices.std_us: [[1, 2]] -> [[1, 3]]"]
    lines = compare_machines(base, one).lines()
    assert len({line.split(":")[0] for line in lines}) == len(lines)
    assert sum(line.startswith("hardware devices.mean_us: ") for line in lines) == 1
    assert compare_machines(one, one).rendered("", "", 80) == ["no difference"]


def test_a_number_with_a_source_is_the_field_that_it_is_without_one() -> None:
    base = Hardware.load("lionheart")
    assert base.costs is not None
    before = base.costs.model_dump(mode="json")["tile"]["product_ns"]
    sourced = base.with_fields({"costs": {"tile": {"product_ns": {"value": 60, "source": "datasheet"}}}})
    assert compare_machines(base, sourced).hardware == {
        "costs.tile.product_ns": (before, 60.0),
        "costs.tile.product_ns.source": (None, "datasheet"),
    }


def test_a_narrow_terminal_is_shown_what_matters_most_of_every_layer(full: Report) -> None:
    plan = full.plan
    layers = tuple(
        layer.model_copy(update={"placement": "digital", "reason": "user", "sensitivity": None})
        for layer in plan.layers
    )
    found = compare(plan, plan.model_copy(update={"layers": layers}))
    whole, narrow = (found.rendered("one", "two", width) for width in (math.inf, 90))
    assert max(map(len, whole[0].splitlines())) > 90 >= max(map(len, narrow[0].splitlines()))
    assert narrow[0].split()[:2] == ["layer", "placement"]
    assert narrow[1].startswith("not shown for lack of room: ")
    assert "sensitivity" in narrow[1]
    assert narrow[2:] == whole[1:]


def test_fields_of_an_outcome_are_named_as_in_the_report(full: Report) -> None:
    plan = full.plan
    assert plan.outcome is not None
    changes = {"t_s": 31536000.0, "held_out": False, "chip_interval": None, "draws": 7, "limits_kept": False}
    lines = compare(plan, plan.model_copy(update={"outcome": plan.outcome.model_copy(update=changes)})).lines()
    assert "time: 1 day -> 1 year" in lines
    assert "held out: yes -> no" in lines
    assert "limits kept: yes -> no" in lines
    assert f"chips: {plan.outcome.draws} -> 7" in lines
    assert any(line.startswith("other chips, these samples: [") and line.endswith("] points -> -") for line in lines)
    assert not any("_" in line for line in lines)


def test_long_lists_and_digests_are_cut_unless_only_what_is_cut_differs(full: Report) -> None:
    outcome = full.plan.outcome
    assert outcome is not None
    layers = tuple(f"layer{number}" for number in range(9))
    curve = tuple(CurvePoint(step=10 * step, loss=None, drop=0.05 / (step + 1)) for step in range(5))
    trained = Retrained(
        source="5f" * 32, layers=layers, steps=40, batch_size=8, loss="mse", seed=0, samples=99, data="", curve=curve
    )
    other = trained.model_copy(update={"layers": (*layers[:4], "between", *layers[5:])})
    none, one, two = (
        full.plan.model_copy(update={"outcome": outcome.model_copy(update={"retrained": record})})
        for record in (None, trained, other)
    )
    (line,) = (line for line in compare(none, one).lines() if line.startswith("retrained: "))
    assert "source 5f5f5f5f5f5f, layers [9: layer0, …, layer8], steps 40, " in line
    assert "curve [5: step 0, loss -, drop 5 points, …, step 40, loss -, drop 1 points]" in line
    (line,) = (line for line in compare(one, two).lines() if line.startswith("retrained: "))
    assert line.count("layer3, ") == 2
    assert "layer3, between, layer5" in line


def test_placements_judged_otherwise_are_not_compared(full: Report) -> None:
    outcome = full.plan.outcome
    assert outcome is not None
    known = outcome.model_copy(update={"higher_is_better": True, "output": "y"})
    before = full.plan.model_copy(update={"outcome": known})
    for change, line in (
        ({"metric": "nmse", "higher_is_better": False}, "judged by accuracy and by nmse"),
        ({"output": "z"}, "judged on other outputs or in another direction"),
    ):
        after = full.plan.model_copy(update={"outcome": known.model_copy(update=change)})
        assert compare(before, after).lines()[0] == f"{line}: their values, drops and budgets cannot be compared"
    assert compare(full.plan, before).empty, "an earlier version did not say"


def test_unrelated_networks_are_said_to_be_so_and_their_layers_not_listed_as_changes(full: Report) -> None:
    layers = tuple(x.model_copy(update={"name": f"other/{x.name}", "weight": None}) for x in full.plan.layers[:-1])
    found = compare(full.plan, full.plan.model_copy(update={"layers": layers, "source": "another"}))
    assert found.unrelated
    assert found.notice is not None
    number = len(full.plan.layers)
    assert found.notice.startswith(f"different networks: of {number} and {number - 1} layers, 0 have the same name")
    assert "give two placements of one network" in found.notice
    assert found.lines()[-1].startswith("analog MACs 61.8 % -> ")


def test_a_layer_is_called_by_its_module_and_in_json_by_its_name(full: Report) -> None:
    first = full.plan.layers[0].model_copy(update={"module": "encoder.stem"})
    plan = full.plan.model_copy(update={"layers": (first, *full.plan.layers[1:])})
    moved = plan.decide({first.name: ("digital" if first.placement == "analog" else "analog", "strategy", "…")})
    found = compare(plan, moved)
    assert [row[0] for row in found.table().rows] == [f"encoder.stem ({first.name})"]
    assert [layer["name"] for layer in found.document()["layers"]] == [first.name]  # type: ignore[attr-defined]
    renamed = moved.layers[0].model_copy(update={"name": "node_1"})
    both = compare(plan, moved.model_copy(update={"layers": (renamed, *moved.layers[1:])}))
    assert both.table().rows[0][0] == f"encoder.stem ({first.name}) -> encoder.stem (node_1)"


def test_layers_of_other_names_belong_together_by_their_weights(full: Report) -> None:
    layers = tuple(layer.model_copy(update={"name": f"new/{layer.name}"}) for layer in full.plan.layers)
    renamed = full.plan.model_copy(update={"layers": layers})
    assert all(change.before is None or change.after is None for change in compare(full.plan, renamed).layers)
    kinds = [layer.weight is None for layer in full.plan.layers]
    assert len(compare(full.plan, renamed).layers) == 2 * sum(kinds), "those without weights are gone, and new"


def test_layers_that_only_one_plan_has(full: Report) -> None:
    fewer = full.plan.model_copy(update={"layers": full.plan.layers[1:]})
    (change,) = compare(full.plan, fewer).layers
    assert (change.before, change.after) == (full.plan.layers[0], None)
    assert compare(fewer, full.plan).moved[0].after == full.plan.layers[0]
    assert compare(full.plan, fewer).table().rows[0][1].endswith("-> -")


def test_a_calibrated_layer_is_one_line() -> None:
    machine = Hardware.load("lionheart")
    found = compare_machines(machine, machine.with_adc_bounds({"conv1": 0.25, "fc.1": 0.5}, {}))
    assert found.lines() == [
        "hardware overrides.0: layers - -> conv1, adc.bound - -> 0.25, adc.range - -> calibrated",
        "hardware overrides.1: layers - -> fc.1, adc.bound - -> 0.5, adc.range - -> calibrated",
    ]
    assert len(found.hardware) == 6
