"""Plans: decisions, tiles, the summary line, and JSON both ways."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lhc.costs import Cost, gains
from lhc.errors import ConfigError
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.plan import LayerPlan, Outcome, Placement, Plan, Reason, Sensitivity
from lhc.plan.layer_plan import GREATEST
from lhc.plan.summary import format_outcome, layers_text, summary
from lhc.report.wording.placement import decision_of


def outcome(drop: object = 0.006, **changes: object) -> Outcome:
    assert isinstance(drop, float)
    fields = {
        "metric": "accuracy",
        "percent": True,
        "baseline": 0.917,
        "value": 0.917 - drop * (0.917 if changes.get("drop_type") == "relative" else 1),
        "drop": drop,
        "interval": (0.002, 0.010),
        "confidence": 0.9,
        "chips_within": 0.8,
        "max_drop": 0.01,
        "drop_type": "absolute",
        "within_budget": True,
        "held_out": True,
        "samples": 500,
        "draws": 10,
        "seed": 0,
        "t_s": 86400.0,
        "strategy": "sensitivity",
        "data": "ab" * 32,
    }
    return Outcome.model_validate(fields | changes)


def row(name: str, placement: Placement = "digital", macs: int = 100, tiles: int = 1, **more: object) -> LayerPlan:
    fields = {
        "name": name,
        "op_type": "Conv",
        "weight": f"{name}.w",
        "output": f"{name}.out",
        "placement": placement,
        "reason": "eligible",
        "detail": "",
        "macs": macs,
        "parameters": macs,
        "tiles": tiles,
    }
    return LayerPlan.model_validate(fields | more)


def plan_of(*rows: LayerPlan, result: Outcome | None = None) -> Plan:
    return Plan(lhc_version="0.1.0", source="cd" * 32, hardware=Hardware.load("lionheart"), layers=rows, outcome=result)


def graph_of(plan: Plan, shared: tuple[str, ...] = ()) -> LayerGraph:
    """Layers side by side; those of ``shared`` hold the same weights."""
    layers = [
        Layer(
            r.name,
            r.op_type,
            ("x", f"{r.name}.w"),
            (r.output,),
            WeightRef(f"{r.name}.w", 1, (1, r.macs, 1), "float32", "shared" if r.name in shared else r.name),
            MatrixShape(r.macs, 1, 1, 1),
        )
        for r in plan.layers
    ]
    return LayerGraph(layers, ["x"], [r.output for r in plan.layers])


def test_the_summary_line_is_that_of_the_issue() -> None:
    analog = [row(f"a{i}", "analog", macs=5647, tiles=2 if i < 16 else 1, reason="budget") for i in range(17)]
    digital = [row(f"d{i}", macs=1333, reason="sensitivity") for i in range(3)]
    plan = plan_of(*analog, *digital, result=outcome())
    assert summary(plan, graph_of(plan)) == (
        "analog 17/20 layers, 96.0 % of MACs, 33 tiles of 256x255, estimated energy 11 times more, latency 10 times"
        " more than all digital, drop 0.60 points [0.20, 1.00] <= 1.00 points"
    )
    silent = plan.model_copy(update={"hardware": plan.hardware.model_copy(update={"costs": None})})
    assert summary(silent, graph_of(plan)) == (
        "analog 17/20 layers, 96.0 % of MACs, 33 tiles of 256x255, drop 0.60 points [0.20, 1.00] <= 1.00 points"
    )


def test_layers_that_can_never_be_analog_are_counted_apart() -> None:
    rows = [row("a", "analog", reason="budget"), row("b", reason="sensitivity"), row("c", reason="excluded")]
    never = [row("d", reason="no-static-weight"), row("e", reason="unsupported")]
    plan = plan_of(*rows, *never)
    assert layers_text(plan) == "1 of 3 layers"
    assert summary(plan, graph_of(plan)).startswith("analog 1/3 layers (2 more cannot be), ")
    assert decision_of(plan, 1).startswith("1 of 3 layers run on 1 analog tile of ")
    assert layers_text(plan_of(*rows)) == "1 of 3 layers"


def test_summaries_of_plans_that_nothing_was_measured_for() -> None:
    plan = plan_of(row("a", macs=0), row("b", macs=0))
    assert summary(plan, graph_of(plan)) == "analog 0/2 layers, 0.0 % of MACs, 0 tiles of 256x255"
    one = plan_of(row("a", "analog", reason="budget"), row("b"))
    assert summary(one, graph_of(one)).startswith("analog 1/2 layers, 50.0 % of MACs, 1 tile of 256x255, ")
    empty = plan_of()
    assert summary(empty, graph_of(empty)) == "analog 0/0 layers, 0.0 % of MACs, 0 tiles of 256x255"


@pytest.mark.parametrize(
    ("placed", "told"),
    [
        ((1.0, 1.0), "energy 2.0 times less, latency 3.0 times less than all digital"),
        ((1.0, 3.0), "energy 2.0 times less than all digital, latency the same"),
        ((2.0, 9.0), "latency 3.0 times more than all digital, energy the same"),
        ((2.0, 3.0), "energy and latency the same as all digital"),
    ],
)
def test_what_a_placement_gains_is_told_in_a_sentence(placed: tuple[float, float], told: str) -> None:
    energy_j, latency_s = placed
    assert gains(Cost(latency_s, energy_j), Cost(latency_s=3.0, energy_j=2.0)) == told


@dataclass(frozen=True)
class Line:
    id: str
    changes: dict[str, object]
    expected: str


LINES = [
    Line("within", {}, "drop 0.60 points [0.20, 1.00] <= 1.00 points"),
    Line(
        "not within",
        {"within_budget": False, "interval": (0.003, 0.0142)},
        "drop 0.60 points [0.30, 1.42], budget 1.00 points not met",
    ),
    Line(
        "hardly not within",
        {"within_budget": False, "interval": (0.003, 0.010003)},
        "drop 0.60 points [0.30, 1.0003], budget 1.00 points not met",
    ),
    Line("hardly a drop", {"drop": 0.00046, "interval": (0.0, 0.002)}, "drop 0.05 points [0.00, 0.20] <= 1.00 points"),
    Line("no drop", {"drop": 0.0, "interval": (0.0, 0.002)}, "drop 0.00 points [0.00, 0.20] <= 1.00 points"),
    Line("one chip", {"interval": None}, "drop 0.60 points <= 1.00 points"),
    Line("a gain", {"drop": -0.002, "interval": (-0.004, 0.0)}, "drop -0.20 points [-0.40, 0.00] <= 1.00 points"),
    Line(
        "a budget of more digits",
        {"max_drop": 0.01125},
        "drop 0.60 points [0.20, 1.00] <= 1.125 points",
    ),
    Line(
        "own unit",
        {"metric": "mse", "percent": False, "drop": 0.01234567, "interval": (0.01, 0.02), "max_drop": 0.5},
        "drop 0.01235 [0.01, 0.02] <= 0.5",
    ),
    Line(
        "relative", {"metric": "mse", "percent": False, "drop_type": "relative"}, "drop 0.60 % [0.20, 1.00] <= 1.00 %"
    ),
]


@pytest.mark.parametrize("case", LINES, ids=lambda case: case.id)
def test_outcomes_as_people_read_them(case: Line) -> None:
    assert format_outcome(outcome(**case.changes)) == case.expected


def test_decide_replaces_what_is_named_and_nothing_else() -> None:
    before = plan_of(row("a"), row("b"), row("c"))
    after = before.decide({"b": ("analog", "budget", "within")})
    assert after.analog == {"b"}
    assert (after.layers[1].reason, after.layers[1].detail) == ("budget", "within")
    assert (after.layers[0], after.layers[2]) == (before.layers[0], before.layers[2])
    assert before.analog == frozenset()
    assert after.eligible == ("a", "c")
    assert before.decide({}) == before


def test_decisions_about_unknown_layers_do_nothing() -> None:
    plan = plan_of(row("a"))
    assert plan.decide({"z": ("analog", "budget", "")}) == plan


def test_sensitivities_are_put_in_and_earlier_ones_kept() -> None:
    def figure(mean: float) -> Sensitivity:
        return Sensitivity(metric="kl", mean=mean, std=0.1, interval=(mean - 0.1, mean + 0.1))

    plan = plan_of(row("a"), row("b"), row("c")).with_sensitivities({"a": figure(1), "b": figure(2)})
    plan = plan.with_sensitivities({"b": figure(3)})
    assert [r.sensitivity for r in plan.layers] == [figure(1), figure(3), None]


def test_a_sensitivity_reads_as_in_the_design() -> None:
    one = Sensitivity(metric="kl", mean=0.06312, std=0, interval=(0.0562, 0.07))
    assert str(one) == "0.06312 [0.0562, 0.07] kl with 1 copy, measured"
    predicted = Sensitivity(metric="nmse", mean=0.5, std=0, interval=None, copies=3, method="fisher")
    assert str(predicted) == "0.5 nmse with 3 copies, predicted"


def test_shares_and_tiles_count_analog_layers_only() -> None:
    plan = plan_of(row("a", "analog", macs=300, tiles=4), row("b", macs=100, tiles=9))
    assert (plan.macs, plan.analog_mac_fraction) == (400, 0.75)
    assert plan.tiles(graph_of(plan)) == 4
    assert plan.tiles_of(graph_of(plan), frozenset({"a", "b"})) == 13


def test_layers_that_share_weights_share_tiles() -> None:
    plan = plan_of(row("a", "analog", tiles=4), row("b", tiles=2), row("c", "analog", tiles=4))
    assert plan.tiles(graph_of(plan)) == 8
    assert plan.tiles(graph_of(plan, shared=("a", "c"))) == 4
    assert plan.tiles_of(graph_of(plan, shared=("a", "c")), frozenset("abc")) == 6


names = st.text(min_size=1, max_size=6)
numbers = st.floats(-GREATEST, GREATEST)
reasons: st.SearchStrategy[Reason] = st.sampled_from(["eligible", "budget", "forced", "tiles", "parity"])
figures = (
    st.none()
    | st.builds(
        Sensitivity,
        metric=st.just("kl"),
        mean=numbers,
        std=st.floats(0, 1e9),
        interval=st.none(),
    )
    | st.builds(
        lambda low, mean, high: Sensitivity(metric="kl", mean=mean, std=0.0, interval=(low, high)),
        st.floats(-GREATEST, -1e9),
        st.floats(-1e9, 1e9),
        st.floats(1e9, GREATEST),
    )
)
rows = st.builds(
    LayerPlan,
    name=names,
    op_type=st.just("Gemm"),
    weight=st.none() | names,
    output=names,
    placement=st.sampled_from(["analog", "digital"]),
    reason=reasons,
    detail=names,
    macs=st.integers(0, 2**60),
    parameters=st.integers(0, 2**40),
    tiles=st.integers(1, 10**6),
    sensitivity=figures,
)


@given(st.lists(rows, max_size=3, unique_by=lambda layer: layer.name), st.booleans(), numbers)
def test_json_gives_the_same_plan_back(layers: list[LayerPlan], measured: bool, drop: float) -> None:
    result = outcome(drop, interval=None, percent=False, within_budget=False) if measured else None
    plan = plan_of(*layers, result=result)
    assert Plan.parse(plan.model_dump_json(), "text") == plan


@dataclass(frozen=True)
class Wrong:
    id: str
    path: tuple[str | int, ...]
    value: object
    field: str


WRONG = [
    Wrong("newer schema", ("schema_version",), 2, "schema_version: choose 1"),
    Wrong("unknown field", ("colour",), "orange", "colour: no such key; there are schema_version, "),
    Wrong("mistyped field", ("layers", 0, "placment"), "analog", r"layers\.0\.placment: .*; did you mean placement\?"),
    Wrong("mistyped hardware", ("hardware", "adc", "bit"), 8, r"hardware\.adc\.bit: .*; did you mean bits\?"),
    Wrong("placement", ("layers", 0, "placement"), "optical", r"layers\.0\.placement: "),
    Wrong("reason", ("layers", 0, "reason"), "because", r"layers\.0\.reason: "),
    Wrong("negative MACs", ("layers", 0, "macs"), -1, r"layers\.0\.macs: "),
    Wrong("number as text", ("layers", 0, "tiles"), "many", r"layers\.0\.tiles: "),
    Wrong("hardware", ("hardware", "tiles", "rows"), 0, r"hardware\.tiles\.rows: "),
    Wrong("NaN", ("outcome", "drop"), float("nan"), r"outcome\.drop: "),
    Wrong("beyond every metric", ("outcome", "drop"), -1e308, r"outcome\.drop: .*beyond 1e\+100"),
    Wrong("layers", ("layers",), None, "layers: "),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.id)
def test_a_wrong_field_is_named(case: Wrong) -> None:
    document = json.loads(plan_of(row("a"), result=outcome()).model_dump_json())
    holder = document
    for key in case.path[:-1]:
        holder = holder[key]
    holder[case.path[-1]] = case.value
    with pytest.raises(ConfigError, match=rf"plan\.json: not a plan of schema 1: {case.field}"):
        Plan.parse(json.dumps(document), "plan.json")


def whole_plan() -> Plan:
    """A plan that says something in every field."""
    curve = ({"step": 0, "loss": None, "drop": 0.1}, {"step": 5, "loss": 1.0, "drop": 0.05})
    tested = {"layers": 1, "analog_mac_fraction": 0.5, "drop": 0.006, "interval": (0.002, 0.010), "draws": 10}
    further = {"output": "z", "metric": "mse", "percent": False, "max_drop": 0.2, "baseline": 0.0, "value": 0.1}
    result = outcome(
        higher_is_better=True,
        output="y",
        class_axis=1,
        chip_interval=(0.002, 0.010),
        sample_interval=(0.001, 0.012),
        yield_share=0.9,
        yield_shown=True,
        error=0.05,
        documents=20,
        first_draw=10_000,
        limits={"tiles": 9.0, "energy": 1e-6},
        copies=2,
        evaluations=3,
        retrained={
            "source": "0" * 64,
            "layers": ("a",),
            "steps": 5,
            "batch_size": 2,
            "loss": "mse",
            "seed": 0,
            "samples": 9,
            "data": "1" * 64,
            "curve": curve,
            "adapters": 2,
            "learning_rate": 0.1,
        },
        estimate={
            "metric": "kl",
            "damage": 0.5,
            "predicted_drop": 0.25,
            "factor": 0.5,
            "spread": 0.1,
            "placements": 3,
        },
        healing={
            "draws": 3,
            "samples": 500,
            "neither": 0.03,
            "copies": 0.02,
            "calibration": 0.01,
            "both": 0.006,
            "calibration_samples": 8,
            "reads": 8,
        },
        further=(further | {"drop": 0.1, "interval": (0.05, 0.15), "within_budget": True},),
        tested=(tested | {"within_budget": True},),
        sample_axes={"y": 1, "x": "call"},
        harmful_calibration={"calibrated": 2.0, "uncalibrated": 1.0, "chips": 4, "samples": 8},
    )
    figure = {"metric": "kl", "mean": 1.0, "std": 0.1, "interval": (0.9, 1.1), "draws": 4, "copies": 2}
    first = row("a", "analog", copies=2, sensitivity=figure, input_range=(1.0,), sums=(0.1,), digital_columns=(0, 2))
    return plan_of(first, row("b"), result=result).model_copy(update={"control": {"if": "then_branch"}})


Place = tuple[str | int, ...]


def leaves(value: object, path: Place = ()) -> Iterator[tuple[Place, object]]:
    """Values of a document that hold no others; what the hardware says has a schema of its own."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield path, value
        return
    for key, one in inner:
        if key != "hardware":
            yield from leaves(one, (*path, key))


def changed(plan: Plan, changes: dict[Place, object]) -> str:
    """The plan as a document, some of its values forged."""
    document = json.loads(plan.model_dump_json())
    for path, value in changes.items():
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value
    return json.dumps(document)


WHOLE_NUMBERS = [path for path, value in leaves(json.loads(whole_plan().model_dump_json())) if type(value) is int]


@pytest.mark.parametrize("path", WHOLE_NUMBERS, ids=lambda path: ".".join(map(str, path)))
def test_every_whole_number_has_bounds(path: Place) -> None:
    assert Plan.parse(changed(whole_plan(), {}), "plan.json") == whole_plan()
    for forged in (-(10**30), 10**30):
        if path[-1] == "seed" and forged > 0:
            continue  # numpy takes any
        with pytest.raises(ConfigError, match=rf"\b{path[-1]}[.:]"):
            Plan.parse(changed(whole_plan(), {path: forged}), "plan.json")


OUTCOME, LAYER = ("outcome",), ("layers", 0)
FORGED: list[tuple[dict[Place, object], str]] = [
    ({(*OUTCOME, "samples"): 0}, "outcome.samples: must be at least 1"),
    ({(*OUTCOME, "documents"): 501}, "outcome.documents: 501 of 500 samples"),
    ({(*OUTCOME, "confidence"): 2}, "outcome.confidence: must be below 1"),
    ({(*OUTCOME, "draws"): 10**18}, "outcome.draws: must be at most 1000000"),
    ({(*OUTCOME, "chips_within"): 50}, "outcome.chips_within: must be at most 1"),
    ({(*OUTCOME, "error"): 5}, "outcome.error: must be at most 1"),
    ({(*OUTCOME, "yield_share"): 1.5}, "outcome.yield_share: must be below 1"),
    ({(*OUTCOME, "yield_share"): None}, "outcome.yield_shown: no share of chips was to be shown"),
    ({(*OUTCOME, "yield_shown"): False}, "outcome.within_budget: the share of chips was not shown"),
    ({(*OUTCOME, "t_s"): -1}, "outcome.t_s: must be at least 0"),
    ({(*OUTCOME, "max_drop"): -0.01}, "outcome.max_drop: must be at least 0"),
    ({(*OUTCOME, "max_drop"): 0.001}, "outcome.within_budget: the drop may be 0.01, and 0.001 is allowed (max_drop)"),
    ({(*OUTCOME, "value"): 1.5}, "outcome.value: 1.5, and 0.917 digital, of a metric that is a share"),
    ({(*OUTCOME, "baseline"): -0.1}, "outcome.value: 0.911, and -0.1 digital, of a metric that is a share"),
    ({(*OUTCOME, "drop"): 0.005}, "outcome.drop: 0.005 is not that of 0.911 from 0.917 digital"),
    ({(*OUTCOME, "drop"): -0.006}, "outcome.drop: -0.006 is not that of 0.911 from 0.917 digital"),
    ({(*OUTCOME, "drop_type"): "relative"}, "outcome.drop: 0.006 is not that of 0.911 from 0.917 digital"),
    ({(*OUTCOME, "interval"): [0.2, 0.1]}, "outcome.interval: its lower bound 0.2 is above its upper bound 0.1"),
    ({(*OUTCOME, "sample_interval"): [0.1, 0.2]}, "outcome.sample_interval: [0.1, 0.2] does not hold the drop, 0.006"),
    ({(*OUTCOME, "interval"): [0.001, 0.009]}, "outcome.interval: not the one that decides"),
    ({(*OUTCOME, "generalized"): True}, "outcome.interval: not the one that decides"),
    ({(*OUTCOME, "data"): "no digest"}, "outcome.data: write a SHA-256"),
    ({(*OUTCOME, "limits"): {"watts": 1}}, "outcome.limits.watts"),
    ({(*OUTCOME, "limits"): {"tiles": -1}}, "outcome.limits.tiles: must be at least 0"),
    ({(*OUTCOME, "metric"): ""}, "outcome.metric: "),
    ({(*OUTCOME, "further", 0, "within_budget"): False}, "outcome.within_budget: a further output does not hold"),
    ({(*OUTCOME, "further", 0, "drop"): 0.3}, "outcome.further.0.drop: 0.3 is not that of 0.1 from 0 digital"),
    ({(*OUTCOME, "further", 0, "max_drop"): 0.01}, "outcome.further.0.within_budget: the drop may be 0.15"),
    ({(*OUTCOME, "tested", 0, "drop"): 0.5}, "outcome.tested.0.interval: [0.002, 0.01] does not hold the drop, 0.5"),
    ({(*OUTCOME, "estimate", "factor"): -1}, "outcome.estimate.factor: must be above 0"),
    ({(*OUTCOME, "estimate", "predicted_drop"): 9}, "outcome.estimate.predicted_drop: 9 is not the damage times"),
    ({(*OUTCOME, "healing", "both"): None}, "outcome.healing.both: given where there are copies and a calibration"),
    ({(*OUTCOME, "healing", "calibration_samples"): 0}, "outcome.healing.calibration_samples: given where"),
    ({(*OUTCOME, "harmful_calibration", "calibrated"): -1}, "outcome.harmful_calibration.calibrated: must be at least"),
    ({(*OUTCOME, "retrained", "steps"): 4}, "outcome.retrained.curve: step 5 of 4"),
    ({(*OUTCOME, "retrained", "curve", 0, "step"): 6}, "outcome.retrained.curve: its steps must ascend"),
    ({(*OUTCOME, "retrained", "learning_rate"): 0}, "outcome.retrained.learning_rate: must be above 0"),
    ({(*LAYER, "sensitivity", "mean"): 5}, "layers.0.sensitivity.interval: [0.9, 1.1] does not hold the mean, 5"),
    ({(*LAYER, "input_range", 0): -1}, "layers.0.input_range.0: must be at least 0"),
    ({(*LAYER, "digital_columns", 1): 0}, "layers.0.digital_columns: 0 is there twice"),
    ({(*LAYER, "tiles"): 0}, "layers.0.tiles: must be at least 1 where a layer is analog"),
    ({(*LAYER, "name"): "b"}, "layers: 'b' is there twice"),
    ({("lhc_version",): "}, evil = {"}, "lhc_version: write a version such as 0.1.0"),
    ({("source",): "../x"}, "source: write a SHA-256"),
    ({("control", "if"): "\u00b2"}, "control.if: "),
]


@pytest.mark.parametrize(("changes", "message"), FORGED, ids=[message for _, message in FORGED])
def test_what_no_measurement_gives_is_refused_with_the_field(changes: dict[Place, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"plan.json: not a plan of schema 1: {message}")):
        Plan.parse(changed(whole_plan(), changes), "plan.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"schema_version": 1}'])
def test_text_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a plan of schema 1"):
        Plan.parse(text, "plan.json")


def test_products_of_two_activations_in_an_earlier_plan_are_told_apart() -> None:
    detail = "both operands are computed at run time (q and k); tiles hold constants"
    scores = row("scores", macs=30, weight=None, parameters=0, reason="no-static-weight", detail=detail)
    assert (scores.macs, scores.activation_macs) == (0, 30)
    computed = row("odd", macs=30, weight=None, reason="no-static-weight", detail="its weight w is computed, but …")
    assert (computed.macs, computed.activation_macs) == (30, 0)
    plan = plan_of(row("a", "analog", macs=50), row("b", macs=50), scores)
    assert (plan.macs, plan.activation_macs, plan.analog_mac_fraction) == (100, 30, 0.5)
    again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan


def test_a_share_says_what_it_is_of() -> None:
    unknown = row("odd", macs=0, weight=None, counted=False)
    plan = plan_of(row("a", "analog", macs=50), row("b", macs=0, activation_macs=1234), unknown)
    line = summary(plan, graph_of(plan))
    assert line.startswith("analog 1/3 layers, 100.0 % of known MACs (1 operator not counted), 1,234 MACs of activ")
    assert plan.uncounted == ("odd",)


def test_digital_layers_take_no_tiles_in_files_and_say_what_they_would_take() -> None:
    """In memory a placement may still put them on tiles; a plan may be edited, and earlier ones are read."""
    plan = plan_of(row("a", "analog", tiles=3, copies=2), row("b", tiles=4, copies=5))
    written = json.loads(plan.model_dump_json())["layers"]
    assert [(one["tiles"], one["copies"], one.get("if_analog")) for one in written] == [
        (3, 2, None),
        (0, 0, {"tiles": 4, "copies": 5}),
    ]
    assert "if_analog" not in written[0]
    again = Plan.parse(plan.model_dump_json(), "here")
    assert again == plan
    assert [(one.tiles, one.copies) for one in again.layers] == [(3, 2), (4, 5)]
    edited = LayerPlan.model_validate(written[1] | {"placement": "analog", "reason": "forced"})
    assert (edited.tiles, edited.copies) == (4, 5)
    before = {name: value for name, value in written[1].items() if name != "if_analog"}
    assert LayerPlan.model_validate(before | {"tiles": 4, "copies": 5}) == plan.layers[1]
    assert LayerPlan.model_validate(before).copies == 1
    with pytest.raises(ValidationError, match="copies: must be at least 1"):
        LayerPlan.model_validate(before | {"placement": "analog"})
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        LayerPlan.model_validate(written[1] | {"if_analog": {"tiles": 1, "copies": 0}})
