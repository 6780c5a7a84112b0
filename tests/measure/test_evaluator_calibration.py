"""Chips are calibrated each for itself, at its own time, and not on the noise that they are judged with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.hardware import Hardware, Pcm
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.measure import PlacementEvaluator
from lhc.measure.evaluation_context import Block
from lhc.measure.work_unit import Scorer
from lhc.onnx_io import load_model, read_graph
from lhc.programmed_matrix import Correction
from lhc.runtime import HybridExecutor
from lhc.runtime.onnxruntime.library import onnxruntime
from lhc.runtime.onnxruntime.sessions import run_session
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

pytestmark = pytest.mark.analog

NETWORK = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 24] x) => (float[N, 10] y) {
  [first] a = Gemm (x, w0, b0)
  r = Relu (a)
  [second] b = Gemm (r, w1, b1)
  s = Relu (b)
  [third] y = MatMul (s, w2)
}"""
SHAPES = {"w0": (24, 40), "b0": (40,), "w1": (40, 40), "b1": (40,), "w2": (40, 10)}
LAYERS = frozenset({"first", "second", "third"})
DAY, YEAR = 86400.0, 3.15e7


def normal(seed: int, *shape: int) -> np.ndarray:
    """Inputs with a mean, so that errors of weights have one."""
    return np.random.default_rng(seed).normal(loc=0.5, size=shape).astype(np.float32)


def make_evaluator(
    compensation: Compensation | None = None, t_s: float = DAY, samples: int = 64, devices: Pcm | None = None
) -> PlacementEvaluator:
    model = onnx.parser.parse_model(NETWORK)
    rng = np.random.default_rng(3)
    for name, shape in SHAPES.items():
        array = (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    opened = load_model(model)
    chosen = Compensation(copies=False, samples=samples) if compensation is None else compensation
    hardware = Hardware.load("lionheart").model_copy(
        update={"compensation": chosen, "devices": devices or Pcm(), "adc": Hardware.load("ideal").adc}
    )
    calibration = Block(0, samples, {"x": normal(9, samples, 24)}, None, f"the first {samples}")
    task = Task({"x": normal(1, 200, 24)}, None, get_metric("nmse"))
    return PlacementEvaluator(opened, read_graph(opened), hardware, task, draws=4, t_s=t_s, calibration=calibration)


def drop(of: PlacementEvaluator) -> float:
    return float(of.measure(LAYERS, range(4)).drops.mean())


def test_chips_are_calibrated_each_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: corrections that are swapped between chips do more damage than none."""
    plain, own = drop(replace(make_evaluator(), calibration=None)), drop(make_evaluator())
    assert own < 0.8 * plain
    calibrated = Scorer.calibrated

    def swapped(self: Scorer, executor: HybridExecutor, draw: int, t_s: float) -> dict[str, Correction]:
        return dict(calibrated(self, executor, (draw + 1) % 4, t_s))

    monkeypatch.setattr(Scorer, "calibrated", swapped)
    assert drop(make_evaluator()) > plain


def test_a_chip_is_the_same_in_any_company() -> None:
    together = make_evaluator().measure(LAYERS, range(4)).drops
    assert [float(make_evaluator().measure(LAYERS, range(n, n + 1)).drops[0]) for n in range(4)] == together.tolist()


def test_what_comes_before_the_analog_layers_runs_once_for_all_chips(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind them does not take part in a calibration: digital segments run for scores alone."""
    ran: list[str] = []

    def counted(
        session: onnxruntime.InferenceSession, outputs: Sequence[str], feeds: Mapping[str, np.ndarray], label: str
    ) -> list[np.ndarray]:
        ran.append(outputs[0])
        return run_session(session, outputs, feeds, label)

    one = make_evaluator()
    _ = one.digital_score
    monkeypatch.setattr("lhc.runtime.placed_network.run_session", counted)
    one.measure(frozenset({"second"}), range(4))
    calls, calibrating = -(-200 // one.context.call_samples), len(one.context.calibration_calls)
    assert ran.count("r") == calls + calibrating
    assert ran.count("y") == 4 * calls


def test_read_noise_of_inference_is_not_calibrated_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a calibration that reads with the noise of inference looks better than a machine can be."""
    loud = Pcm(read_noise_scale=4.0)
    honest, frozen = drop(make_evaluator(devices=loud)), drop(replace(make_evaluator(devices=loud), frozen=True))
    assert frozen < 0.85 * honest
    monkeypatch.setattr("lhc.runtime.calibration.chip_outputs._numbers", lambda hardware, calls: range(1))
    assert drop(make_evaluator(devices=loud)) == frozen


WHEN = {
    "programming": Compensation(copies=False, samples=64, when="programming"),
    "age": Compensation(copies=False, samples=64, when="age", time_s=3600.0),
    "period": Compensation(copies=False, samples=64, when="period", time_s=2e7),
    "readout": Compensation(copies=False, samples=64),
}


def test_the_later_the_calibration_the_better_after_a_year() -> None:
    """Columns drift each in its own way; a gain for the tile does not see that."""
    drifting = Pcm(drift_scale=2.0)
    drops = {
        when: drop(make_evaluator(WHEN[when], YEAR, devices=drifting)) for when in ("programming", "age", "readout")
    }
    assert list(drops) == sorted(drops, key=lambda when: -drops[when])
    assert drops["programming"] > 1.3 * drops["readout"]


@pytest.mark.parametrize(("when", "at"), [("programming", 0.0), ("age", 3600.0), ("period", 2e7)])
def test_chips_are_corrected_by_what_held_at_that_time(when: str, at: float) -> None:
    """At the time of the calibration, they are those that are calibrated whenever they are read."""
    then, readout = make_evaluator(WHEN[when], at), make_evaluator(WHEN["readout"], at)
    assert drop(then) == drop(readout)
    later = [one.measure(LAYERS, range(1), t_s=YEAR).drops[0] for one in (then, readout)]
    assert later[0] != later[1]


def test_results_are_kept_apart_by_what_calibrates() -> None:
    some = make_evaluator()
    evaluators = (some, make_evaluator(samples=32), replace(some, frozen=True), replace(some, calibration=None))
    assert len({repr(one.kept.placed(LAYERS)) for one in evaluators}) == 4
