"""A session's chip is calibrated as the chips that are judged; another chip or time needs another calibration."""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

from lhc import HybridSession
from lhc.errors import DataError, UsageError
from lhc.hardware import Adc, Dac, Hardware, Pcm
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.measure import PlacementEvaluator
from lhc.measure.evaluation_context import Block
from lhc.onnx_io import load_model, read_graph
from lhc.passes.decide.copies import Copies
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from tests.runtime.models_on_tiles import Array, by_onnxruntime, error_of, model_of, normal
from tests.runtime.products import ENGINES, Engine

pytestmark = pytest.mark.analog

DAY, YEAR = 86400.0, 3.15e7
AFFINE = Compensation(copies=False, samples=64)
"""Gain and offset of every output."""
EXACT = Hardware(name="exact", dac=Dac(bits=None), adc=Adc(bits=None, bound=None, noise=0.0), compensation=AFFINE)
"""Noisy devices between exact converters: both engines compute the same."""
PLAIN = EXACT.model_copy(update={"compensation": Compensation(copies=False, outputs="none")})


def network(dtype: str = "float32") -> onnx.ModelProto:
    """A convolution in groups, a Gemm with factors, a weight on the left of a matrix and one that is a vector."""
    rng = np.random.default_rng(4)
    nodes = [
        helper.make_node("Conv", ["x", "c", "cb"], ["conv"], name="conv", kernel_shape=[3, 3], group=2),
        helper.make_node("Relu", ["conv"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "gb"], ["gemm"], name="gemm", alpha=0.5, beta=2.0, transB=1),
        helper.make_node("Reshape", ["gemm", "shape"], ["s"]),
        helper.make_node("MatMul", ["l", "s"], ["left"], name="left"),
        helper.make_node("Relu", ["left"], ["t"]),
        helper.make_node("MatMul", ["t", "v"], ["y"], name="vector"),
    ]
    constants = {
        "c": normal(rng, (6, 2, 3, 3)) / 4,
        "cb": normal(rng, (6,)),
        "g": normal(rng, (32, 96)) / 8,
        "gb": normal(rng, (32,)),
        "l": normal(rng, (5, 8)) / 2,
        "v": normal(rng, (4,)),
    }
    typed = {name: value.astype(dtype) for name, value in constants.items()} | {"shape": np.array([-1, 8, 4])}
    return model_of(nodes, {"x": np.zeros((2, 4, 6, 6), dtype)}, {"y": 2}, typed, {"y": dtype})


def samples(seed: int, count: int = 64, dtype: str = "float32") -> dict[str, Array]:
    return {"x": normal(np.random.default_rng(seed), (count, 4, 6, 6), dtype)}


def session(
    hardware: Hardware = EXACT, engine: Engine = "fast", dtype: str = "float32", t_s: float = DAY
) -> HybridSession:
    return HybridSession(network(dtype), hardware, "all-analog", t_inference=t_s, engine=engine)


def damage(of: HybridSession) -> float:
    """Mean squared error against the digital network, on samples that calibrate nothing."""
    feeds = samples(7)
    (digital,) = by_onnxruntime(network(), feeds)
    return float(np.square(of.run(None, feeds)[0] - digital).mean())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 4e-3)])
def test_both_engines_apply_the_same_corrections(dtype: str, tolerance: float) -> None:
    """To float rounding; in half precision to a few units in the last place of the tensors between the layers."""
    outputs = []
    for engine in ENGINES:
        one = session(engine=engine, dtype=dtype)
        plain = one.run(None, samples(7, dtype=dtype))[0]
        one.calibrate(samples(9, dtype=dtype))
        outputs.append(one.run(None, samples(7, dtype=dtype))[0])
        assert error_of(outputs[-1], plain) > 10 * tolerance, "there is something to correct"
    assert all(error_of(outputs[0], other) <= tolerance for other in outputs[1:])


def test_a_calibrated_session_answers_as_the_chip_that_is_judged() -> None:
    model = load_model(network())
    hardware = Hardware.load("lionheart").model_copy(update={"compensation": Compensation(samples=64)})
    x, calibrating = samples(7), samples(9)
    task = Task(x, None, get_metric("nmse"))
    evaluator = PlacementEvaluator(model, read_graph(model), hardware, task, draws=1, t_s=DAY)
    rows = {layer.name: layer.matrix.rows for layer in evaluator.graph.candidates if layer.matrix is not None}
    copies = Copies({name: hardware.free_copies(name, count) for name, count in rows.items()})
    evaluator = replace(evaluator, copies=copies, calibration=Block(0, 64, calibrating, None, "digest"))
    names = frozenset(layer.name for layer in evaluator.graph.candidates)
    (expected,) = [outputs[0] for _, _, outputs in evaluator.outputs(names, range(1))]
    one = HybridSession(network(), hardware, "all-analog")
    one.calibrate(Task(calibrating, None, get_metric("nmse")))
    assert np.array_equal(one.run(None, x)[0], expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_another_chip_is_not_calibrated(engine: Engine) -> None:
    one = session(engine=engine)
    one.calibrate(samples(9))
    one.program(0, draw=1)
    one.drift_to(DAY)
    other = session(engine=engine)
    other.program(0, draw=1)
    other.drift_to(DAY)
    assert np.array_equal(one.run(None, samples(7))[0], other.run(None, samples(7))[0])


WHEN = {
    "readout": (AFFINE, DAY, [(DAY, True), (2 * DAY, False)]),
    "programming": (Compensation(samples=64, when="programming"), 0.0, [(DAY, True), (YEAR, True)]),
    "age": (Compensation(samples=64, when="age", time_s=3600), DAY, [(YEAR, True), (3600.0, True)]),
    "period": (
        Compensation(samples=64, when="period", time_s=DAY),
        1.5 * DAY,
        [(1.2 * DAY, True), (1.9 * DAY, True), (2.1 * DAY, False)],
    ),
}


@pytest.mark.parametrize(("compensation", "t_s", "times"), WHEN.values(), ids=WHEN)
def test_a_calibration_stays_valid_until_the_next(
    compensation: Compensation, t_s: float, times: list[tuple[float, bool]], caplog: pytest.LogCaptureFixture
) -> None:
    hardware = EXACT.model_copy(update={"compensation": compensation})
    for later, valid in times:
        one, fresh = session(hardware, t_s=t_s), session(hardware, t_s=later)
        one.calibrate(samples(9))
        one.drift_to(later)
        if valid:
            fresh.calibrate(samples(9))
        caplog.clear()
        assert np.array_equal(one.run(None, samples(7))[0], fresh.run(None, samples(7))[0]), later
        assert bool(_warnings(caplog)) != valid


def test_a_calibration_at_programming_is_worse_than_one_at_the_read_out() -> None:
    """After a year of a drift that no global gain takes away, with the same devices."""
    devices = Pcm(drift_scale=2.0, read_noise_scale=0.0)

    def after_a_year(when: str) -> float:
        compensation = Compensation(drift="none", samples=64, when=when)  # type: ignore[arg-type]
        one = session(EXACT.model_copy(update={"compensation": compensation, "devices": devices}), t_s=YEAR)
        one.calibrate(samples(9))
        return damage(one)

    assert after_a_year("programming") > 3 * after_a_year("readout")


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [text for text in texts if "not calibrated" in text]


def test_a_chip_that_is_not_calibrated_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    one = session()
    for _ in range(2):
        one.run(None, samples(7))
    (text,) = _warnings(caplog)
    assert text.endswith("call calibrate(samples)")
    caplog.clear()
    one.calibrate(samples(9))
    one.run(None, samples(7))
    assert not _warnings(caplog)
    one.program(3)
    one.run(None, samples(7))
    assert len(_warnings(caplog)) == 1
    caplog.clear()
    session(PLAIN).run(None, samples(7))
    HybridSession(network(), EXACT, []).run(None, samples(7))
    assert not _warnings(caplog), "nothing is asked for, or nothing is analog"


def test_inputs_that_are_no_numbers_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A tile has no NaN; without one onnxruntime's answer is NaN, of which nothing need be said."""
    given = samples(7)
    given["x"][0] = np.nan
    one = session(PLAIN)
    for _ in range(2):
        one.run(None, given)
    assert [record.getMessage() for record in caplog.records] == [
        "model: input 'x' holds NaN or infinite values; tiles give finite numbers for them, which mean nothing"
    ]
    caplog.clear()
    assert np.isnan(HybridSession(network(), PLAIN, []).run(None, given)[0]).any()
    assert not caplog.records


REFUSED: dict[str, tuple[Hardware, Callable[[], dict[str, Array]], type[Exception], str]] = {
    "hardware": (
        PLAIN,
        lambda: samples(9),
        UsageError,
        "corrects no",
    ),
    "names": (EXACT, lambda: {"z": samples(9)["x"]}, DataError, "the inputs are"),
    "nothing": (EXACT, lambda: samples(9, 0), DataError, "no samples"),
    "no number": (EXACT, lambda: {"x": np.where(samples(9)["x"] > 1, np.nan, samples(9)["x"])}, DataError, "holds NaN"),
}


@pytest.mark.parametrize(("hardware", "given", "error", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_calibrate_is_refused(
    hardware: Hardware, given: Callable[[], dict[str, Array]], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        session(hardware).calibrate(given())


def test_as_many_samples_are_taken_as_the_hardware_asks_for(caplog: pytest.LogCaptureFixture) -> None:
    hardware = EXACT.model_copy(update={"compensation": Compensation(samples=32)})
    one, other = session(hardware), session(hardware)
    one.calibrate(samples(9))
    other.calibrate({"x": samples(9)["x"][:32]})
    assert np.array_equal(one.run(None, samples(7))[0], other.run(None, samples(7))[0])
    assert not caplog.records
    one.calibrate(samples(9, 5))
    assert "calibrated on 5 samples, not 32" in caplog.text


def test_copies_that_fit_are_on_the_tiles_of_a_session() -> None:
    hardware = EXACT.model_copy(update={"compensation": Compensation(outputs="none")})
    assert damage(session(hardware)) < 0.7 * damage(session(PLAIN))


def test_what_is_no_time_or_no_samples_is_refused() -> None:
    one = session(PLAIN)
    with pytest.raises(UsageError, match=r"a number of seconds, .*, not '1d'"):
        one.drift_to("1d")  # type: ignore[arg-type]
    for given in (samples(4)["x"], "samples.npz"):
        with pytest.raises(DataError, match=r"on arrays by input \(x\), or on a Task"):
            session().calibrate(given)  # type: ignore[arg-type]
