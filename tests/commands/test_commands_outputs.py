"""Commands on a network with two outputs, each with layers of its own."""

from typing import Any

import numpy as np
import onnx
import pytest

import lhc
from lhc.errors import UsageError
from lhc.report.wording.infeasibility import nearest_budget
from lhc.samples.metrics import get_metric
from tests.networks import drawn, parsed

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 6] x) => (float[N, 4] prob, float[N, 3] box) {
  [body] h = MatMul(x, w)
  [act] r = Relu(h)
  [class] z = MatMul(r, v)
  [soft] prob = Softmax<axis = -1>(z)
  [corner] b = MatMul(r, u)
  [act2] s = Relu(b)
  [box] box = MatMul(s, t)
}"""
X = np.random.default_rng(1).normal(size=(64, 6)).astype(np.float32)
OPTIONS: dict[str, Any] = {"draws": 2, "max_drop": 0.9, "objective": "macs"}


def two_heads() -> onnx.ModelProto:
    return parsed(NET, drawn({"w": (6, 16), "v": (16, 4), "u": (16, 8), "t": (8, 3)}))


def reasons(result: lhc.PartitionResult) -> dict[str, str]:
    return {row.name: row.reason for row in result.plan.layers}


@pytest.mark.analog
def test_layers_that_nothing_judges_stay_digital(caplog: pytest.LogCaptureFixture) -> None:
    result = lhc.partition(two_heads(), {"x": X}, **OPTIONS)
    assert reasons(result) == {"body": "budget", "class": "budget", "corner": "not-judged", "box": "not-judged"}
    assert "2 layers stay digital, since output 'prob' does not depend on them" in caplog.text
    assert lhc.sensitivity(two_heads(), {"x": X}, draws=2).layers.keys() == {"body", "class"}
    other = lhc.partition(two_heads(), {"x": X}, output="box", **OPTIONS)
    assert reasons(other) == {"body": "budget", "class": "not-judged", "corner": "budget", "box": "budget"}
    forced = lhc.partition(two_heads(), {"x": X}, force_analog=["corner"], **OPTIONS)
    assert reasons(forced)["corner"] == "forced"
    assert "1 layer is analog as you say, and nothing judges what that loses" in caplog.text


def judged(result: lhc.PartitionResult) -> dict[str, tuple[float, float, bool]]:
    """Drop, budget and whether it holds, by output."""
    outcome = result.plan.outcome
    assert outcome is not None
    assert outcome.output is not None
    first = {outcome.output: (outcome.drop, outcome.max_drop, outcome.within_budget)}
    return first | {one.output: (one.drop, one.max_drop, one.within_budget) for one in outcome.further}


@pytest.mark.analog
def test_several_outputs_hold_their_own_budgets() -> None:
    """All layers are judged; with a budget that the second output cannot hold, what it depends on stays digital."""
    result = lhc.partition(two_heads(), {"x": X}, output=["prob", "box,nmse,0.5"], **OPTIONS)
    assert set(reasons(result).values()) == {"budget"}
    assert {row.sensitivity.metric for row in result.plan.layers if row.sensitivity} == {"nmse"}
    assert all(row.sensitivity is not None and row.sensitivity.mean > 0 for row in result.plan.layers)
    found = judged(result)
    assert found.keys() == {"prob", "box"}
    assert all(0 < drop < allowed and held for drop, allowed, held in found.values())
    assert result.plan.outcome is not None
    assert result.plan.outcome.further[0].metric == "nmse"
    strict = lhc.partition(two_heads(), {"x": X}, output=["prob", "box,nmse,1e-7"], **OPTIONS)
    placed = {row.name for row in strict.plan.layers if row.placement == "analog"}
    assert placed <= {"class"}
    assert judged(strict)["box"] == (0.0, 1e-7, True)


@pytest.mark.analog
def test_what_the_digital_precision_takes_is_told_of_the_first_output() -> None:
    drops = set()
    for allowed in ("0.5", "5"):
        result = lhc.partition(two_heads(), {"x": X}, output=["prob", f"box,nmse,{allowed}"], **OPTIONS)
        assert result.plan.outcome is not None
        drops.add(result.plan.outcome.digital_drop)
    assert len(drops) == 1, "another budget of the second changes nothing of the first"


@pytest.mark.slow
@pytest.mark.analog
def test_a_further_output_is_measured_as_it_would_be_by_itself() -> None:
    """On the same samples and other chips: what the plan says of it is what a partition by it alone says."""
    options = OPTIONS | {"draws": 12}
    both = lhc.partition(two_heads(), {"x": X}, output=["prob", "box,nmse,0.5"], **options)
    options |= {"max_drop": 0.5}
    alone = lhc.partition(two_heads(), {"x": X}, output="box", metric="nmse", plan=both.plan, **options)
    assert alone.plan.outcome is not None
    assert both.plan.outcome is not None
    further = both.plan.outcome.further[0]
    assert further.baseline == alone.plan.outcome.baseline
    assert further.drop == pytest.approx(alone.plan.outcome.drop, rel=0.3)


@pytest.mark.slow
@pytest.mark.analog
def test_budgets_of_several_outputs_that_are_not_met_are_explained() -> None:
    """Remedies change the machine for every output, and what is in the way is what the strict output depends on."""
    options = OPTIONS | {"strategy": "all-analog", "t_inference": "1d"}
    result = lhc.partition(two_heads(), {"x": X}, output=["prob", "box,nmse,1e-7"], **options)
    found = result.infeasibility
    assert found is not None
    assert found.in_the_way[:1] != ("class",)
    assert "class" not in found.in_the_way or found.all_in_the_way
    assert not any(remedy.within for remedy in found.remedies)
    assert any(remedy.evaluation.drop != found.least.drop for remedy in found.remedies)
    assert result.plan.outcome is not None
    assert "times that of every output" in ": ".join(nearest_budget(found, result.plan.outcome, result.plan))


@pytest.mark.analog
def test_layers_that_were_not_ranked_in_time_say_so() -> None:
    """No rule of a strategy placed them: the user asked for the default one."""
    result = lhc.partition(two_heads(), {"x": X}, timeout=1e-9, **OPTIONS)
    assert reasons(result) == {"body": "time", "class": "time", "corner": "not-judged", "box": "not-judged"}
    assert result.plan.analog == frozenset()


@pytest.mark.analog
def test_relative_budgets_of_several_outputs_need_no_time_that_is_over() -> None:
    """Their common unit is the first output's baseline, which is known whatever the time."""
    labels = np.arange(len(X)) % 4
    task = lhc.Task({"x": X}, labels, get_metric("accuracy"))
    wanted = {**OPTIONS, "drop_type": "relative", "max_drop": 0.5}
    result = lhc.partition(two_heads(), task, output=["prob", "box,nmse,0.5"], timeout=1e-9, **wanted)
    assert result.plan.analog == frozenset()


@pytest.mark.analog
def test_commands_say_that_they_look_at_one_of_the_judged_outputs(caplog: pytest.LogCaptureFixture) -> None:
    result = lhc.partition(two_heads(), {"x": X}, output=["prob", "box,nmse,0.5"], **OPTIONS)
    lhc.evaluate(result.model, {"x": X}, draws=1)
    assert "judged by the outputs prob, box; this command looks at 'prob' alone (`output` names another)" in caplog.text


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such output": ({"output": ["prob", "bow"]}, "'bow': the model's outputs are prob, box"),
    "labels": ({"output": ["prob", "box,mse,1"]}, "labels are those of the first output"),
    "no budget": ({"output": ["prob", "box,nmse,0"]}, "the budget 0 cannot go with several outputs"),
    "a percentage": ({"output": ["prob", "box,nmse,5%"]}, "percentages are points of a share"),
    "no budget of the first": ({"output": ["prob", "box"], "max_drop": 0}, "0 cannot go with several"),
    "training": ({"output": ["prob", "box"], "retrain": True}, "trains for one output"),
    "columns": ({"output": ["prob", "box"], "digital_columns": "auto"}, "goes by one output"),
    "no number": ({"output": ["prob", "box,nmse,x"]}, "box: the budget 'x' is no number"),
    "points": ({"output": ["prob", "box,agreement,5"]}, "box: the budget 5 would be 500 points"),
    "hilal": ({"output": ["prob", "box"], "strategy": "hilal"}, "says nothing of layers behind other outputs"),
}


@pytest.mark.analog
@pytest.mark.parametrize(("said", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_go_with_several_outputs_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lhc.partition(two_heads(), {"x": X}, **OPTIONS | said)


def test_other_commands_look_at_one_output() -> None:
    with pytest.raises(UsageError, match="are for 'lhc partition'"):
        lhc.sensitivity(two_heads(), {"x": X}, draws=2, output=["prob", "box"])
