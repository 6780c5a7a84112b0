"""How long a measurement takes is estimated from a piece of it."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.hardware import Hardware
from lhc.measure import PlacementEvaluator, Running, measure_sensitivity
from lhc.measure.evaluation_context import calibration_block
from lhc.onnx_io import load_model, read_graph
from lhc.options.shared import Execution
from lhc.passes.decide.copies import Copies
from lhc.pipeline.command_duration import (
    Effort,
    EffortStep,
    UnitTime,
    evaluation_step,
    ranking_steps,
    repeated,
)
from lhc.pipeline.steps.rank import sensitivities
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

pytestmark = pytest.mark.analog


def make_evaluator(samples: int = 1100, draws: int = 6) -> PlacementEvaluator:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4, 12, 12] x) => (float[N, 3] y) {\n'
    body = [f"[l{i}] c{i} = Conv <pads = [1, 1, 1, 1]> ({f'r{i - 1}' if i else 'x'}, w{i})\n r{i} = Relu (c{i})"
            for i in range(15)]  # fmt: skip
    end = "p = GlobalAveragePool (r14)\n f = Flatten (p)\n y = MatMul (f, v)\n}"
    model = onnx.parser.parse_model(text + "\n".join([*body, end]))
    rng = np.random.default_rng(0)
    for name, shape in {**{f"w{i}": (4, 4, 3, 3) for i in range(15)}, "v": (4, 3)}.items():
        array = (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    x = rng.normal(size=(samples, 4, 12, 12)).astype(np.float32)
    loaded = load_model(model)
    task = Task({"x": x}, None, get_metric("kl"))
    return PlacementEvaluator(loaded, read_graph(loaded), Hardware.load("lionheart"), task, draws=draws, t_s=86400.0)


def names(of: PlacementEvaluator) -> list[str]:
    return [layer.name for layer in of.graph.candidates]


def test_units_are_those_that_are_done() -> None:
    done: list[int] = []
    here = make_evaluator(samples=600, draws=6)
    counting = PlacementEvaluator(
        here.model,
        here.graph,
        here.hardware,
        here.task,
        draws=6,
        progress=lambda what, done_, total: done.extend([1] if done_ else []),
    )
    assert counting.baseline is not None
    done.clear()
    step = evaluation_step(counting, [frozenset({"l0"}), frozenset({"l1", "l2"})], "two")
    assert done == [], "nothing is reported of what is timed"
    measure_sensitivity(counting, here.graph, ["l0"])
    counting.measure(frozenset({"l1", "l2"}), range(6))
    assert step.units == len(done) == 2 * 2 * 2, "two placements, two groups of chips, two blocks of samples"
    assert step.kept == 0


def test_a_prediction_that_is_kept_is_told_as_finished(tmp_path: Path) -> None:
    here = make_evaluator(samples=20, draws=2)
    with Running(Execution(work_dir=tmp_path)) as running:
        here = replace(here, running=running)
        (before,) = ranking_steps(here, names(here), "fisher")
        sensitivities(here, names(here), "fisher")
        (after,) = ranking_steps(here, names(here), "fisher")
        (more,) = ranking_steps(replace(here, draws=3), names(here), "fisher")
    assert (before.kept, after.kept, more.kept) == (0, 1, 0)
    assert before.seconds > after.seconds == 0


@pytest.mark.parametrize("method", ["measure", pytest.param("auto", marks=pytest.mark.slow)])
def test_the_estimate_is_about_right(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In seconds of the processor, so that other processes do not matter."""
    here = make_evaluator(samples=700, draws=4)
    monkeypatch.setattr("lhc.pipeline.command_duration.perf_counter", time.process_time)
    steps = ranking_steps(here, names(here), method)  # type: ignore[arg-type]
    start = time.process_time()
    sensitivities(here, names(here), method)  # type: ignore[arg-type]
    taken = time.process_time() - start
    assert taken / 2.5 < sum(step.seconds for step in steps) < 2.5 * taken


def test_processes_share_what_can_be_shared() -> None:
    steps = (
        EffortStep("alone", 1, 0, 10.0, shared=False),
        EffortStep("many", 10, 2, 80.0),
        EffortStep("few", 2, 0, 6.0),
    )
    found = Effort(3, 100, 10, steps, processes=4)
    assert found.seconds == 10 + 20 + 3
    assert (found.units, found.kept) == (13, 2)


def test_a_placement_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other chips and samples, and with less healing, it takes as long."""
    here, timed = make_evaluator(samples=100), {frozenset(names(make_evaluator())): UnitTime(0.5, 0.001)}
    monkeypatch.setattr("lhc.pipeline.command_duration._timed", None)
    (largest,) = timed
    step = evaluation_step(replace(here, draws=3), [largest], "what healing brings", [0.0, 1.0], timed)
    assert step.seconds == pytest.approx(2 * 3 * (0.5 + 100 * 0.001)), "two times, three chips"
    assert repeated(step, 0) == []
    (often,) = repeated(step, 3)
    assert (often.units, often.seconds) == (3 * step.units, 3 * step.seconds)


def test_layers_with_copies_are_ranked_with_them_too() -> None:
    here = make_evaluator(samples=100)
    copied = replace(here, copies=Copies({"l0": 2}), calibration=calibration_block(here.task))
    found = ranking_steps(copied, names(here), "fisher")
    assert [step.what for step in found] == ["predicting sensitivities", "predicting sensitivities with copies"]
    assert all(step.seconds > 0 for step in found)


def test_the_sum_says_what_it_leaves_out() -> None:
    assert "without reading, checks and reports" in Effort(3, 100, 10, ()).summary


def test_work_with_a_metric_of_the_whole_set_is_timed() -> None:
    """One sample has no correlation: outputs are gathered, and scored together."""
    here = make_evaluator(samples=200, draws=2)
    metric = replace(get_metric("kl"), name="of a set", score=lambda output, wanted: float(np.abs(output).mean()))
    judged = replace(here, task=here.task.with_metric(metric))
    assert judged.scores_sets
    step = evaluation_step(judged, [frozenset({"l0"})], "one")
    assert step.seconds > 0
