"""Damage that is predicted from gradients is the damage that is measured, as long as the noise is small."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.errors import DataError, ModelError, UsageError
from lhc.hardware import Faults, Hardware
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.measure import PlacementEvaluator, Running, measure_sensitivity
from lhc.measure.evaluation_context import Block
from lhc.measure.sensitivity.fisher_prediction import Floats, column_damages, fisher_sensitivity
from lhc.onnx_io import load_model, read_graph
from lhc.options.shared import Execution
from lhc.passes.decide.copies import Copies
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from tests.measure.six_layers import LAYERS, LIONHEART, NETWORK, healed, make_evaluator, network, quiet, task


@pytest.mark.analog
@pytest.mark.parametrize("metric", ["kl", "nmse"])
def test_small_noise_does_the_damage_that_is_predicted(metric: str) -> None:
    """Third order is a twentieth of the second here; the rest of the tolerance is that of 60 samples' directions."""
    here = make_evaluator(metric, quiet(0.1), draws=8)
    predicted = fisher_sensitivity(here, here.graph, LAYERS).table
    measured = measure_sensitivity(here, here.graph, LAYERS)
    ratios = [predicted.layers[name].mean / measured.layers[name].mean for name in LAYERS]
    assert np.abs(np.log(ratios)).max() < 0.25, dict(zip(LAYERS, ratios, strict=True))
    assert abs(np.mean(np.log(ratios))) < 0.1


@pytest.mark.analog
def test_damages_of_columns_add_up_to_that_of_the_layer() -> None:
    """Errors of columns are independent: over 24 chips their products in the sum are small."""
    here = make_evaluator("kl", quiet(0.1), draws=24)
    names = ("stem", "body", "narrow", "head")
    layers = fisher_sensitivity(here, here.graph, names).table.layers
    columns = column_damages(here, here.graph, names)
    assert {name: len(found) for name, found in columns.items()} == {"stem": 8, "body": 6, "narrow": 7, "head": 5}
    for name in names:
        assert columns[name].sum() == pytest.approx(layers[name].mean, rel=0.35), name


@pytest.mark.analog
def test_the_damage_of_the_one_column_that_is_read_is_the_layer_s() -> None:
    here = make_evaluator("kl", quiet(0.1), draws=3)
    proto = here.model.proto
    (weight,) = (tensor for tensor in proto.graph.initializer if tensor.name == "w3")
    only = numpy_helper.to_array(weight).copy()
    only[[0, 1, 3, 4, 5, 6]] = 0
    weight.CopyFrom(numpy_helper.from_array(only, "w3"))
    model = load_model(proto)
    here = replace(here, model=model, graph=read_graph(model))
    whole = fisher_sensitivity(here, here.graph, ("narrow",)).table.layers["narrow"].mean
    columns = column_damages(here, here.graph, ("narrow",))["narrow"]
    assert columns[2] == pytest.approx(whole, rel=0.01)  # without what the DAC's 12 bits round
    assert np.delete(columns, 2).max() == 0


@pytest.mark.analog
@pytest.mark.parametrize(
    "section",
    [
        {"faults": Faults(column_offset=0.05)},
        {"currents": Currents(read_noise=0.1)},
        {"currents": Currents(read_noise=0.05, read_noise_kind="constant")},
    ],
    ids=["offsets of ADCs", "read noise of products", "constant read noise"],
)
def test_effects_beside_those_of_devices_are_in_the_prediction(section: dict[str, object]) -> None:
    machine = quiet(0.1).model_copy(update=section)
    here = make_evaluator("kl", machine, draws=24)
    measured = measure_sensitivity(here, here.graph, LAYERS)
    predicted, without = (
        fisher_sensitivity(one, here.graph, LAYERS).table for one in (here, make_evaluator("kl", quiet(0.1), draws=24))
    )
    ratios = [predicted.layers[name].mean / measured.layers[name].mean for name in LAYERS]
    assert np.abs(np.log(ratios)).max() < 0.25, dict(zip(LAYERS, ratios, strict=True))
    changes = [predicted.layers[name].mean / without.layers[name].mean for name in LAYERS]
    assert np.mean(changes) > 1.5, "so the test sees whether the effect is in the prediction"
    by_column = {name: found.sum() for name, found in column_damages(here, here.graph, ("stem", "head")).items()}
    assert all(found == pytest.approx(predicted.layers[name].mean, rel=0.35) for name, found in by_column.items())


@pytest.mark.analog
@pytest.mark.parametrize(
    "code", [{}, {"slice_bits": 3, "code": "twos-complement", "signs": "layer"}], ids=["whole", "in two's complement"]
)
def test_static_ranges_of_inputs_are_in_the_prediction(code: dict[str, object]) -> None:
    from lhc.runtime.calibration.converter_ranges import calibrate_ranges, calibrate_signs

    base = quiet(0.3)
    fields: dict[str, object] = {"dac": base.dac.model_copy(update={"scaling": "static", **code}), "costs": None}
    fields |= {
        "adc": base.adc.model_copy(update={"bound_management": "none"}),
        "compensation": Compensation(outputs="none"),
    }
    here = make_evaluator("kl", base.model_copy(update=fields), draws=6)
    blocks = [(where.stop - where.start, feeds) for where, feeds in here.blocks()]
    here = replace(here, ranges=calibrate_ranges(here.model, here.graph, here.hardware, LAYERS, blocks))
    if code:
        signed = calibrate_signs(here.model, here.graph, LAYERS, blocks)
        assert len(set(signed.values())) == 2
        here = replace(here, hardware=here.hardware.with_signs(signed))
    measured = measure_sensitivity(here, here.graph, LAYERS)
    predicted = fisher_sensitivity(here, here.graph, LAYERS).table
    ratios = [predicted.layers[name].mean / measured.layers[name].mean for name in LAYERS]
    assert np.abs(np.log(ratios)).max() < 0.3, dict(zip(LAYERS, ratios, strict=True))


@pytest.mark.analog
@pytest.mark.parametrize(("noise", "read"), [(0.003, 0.0), (0.0, 0.02)], ids=["output noise", "constant read noise"])
def test_noise_of_columns_that_are_sensed_as_voltages_is_in_the_prediction(noise: float, read: float) -> None:
    """Output noise is 0.003 of a full-scale input, which weighs more the more a column conducts."""
    base = quiet(0.0)
    fields: dict[str, object] = {
        "adc": base.adc.model_copy(update={"bits": None, "bound": None, "noise": noise, "sensing": "voltage"}),
        "currents": Currents(read_noise=read, read_noise_kind="constant"),
        "compensation": Compensation(drift="none", outputs="none", copies=False),
        "devices": None,
    }
    here = make_evaluator("kl", base.model_copy(update=fields), draws=6)
    measured = measure_sensitivity(here, here.graph, LAYERS)
    predicted = fisher_sensitivity(here, here.graph, LAYERS).table
    ratios = [predicted.layers[name].mean / measured.layers[name].mean for name in LAYERS]
    assert np.abs(np.log(ratios)).max() < 0.25, dict(zip(LAYERS, ratios, strict=True))
    assert min(predicted.layers[name].mean for name in LAYERS) > 1e-6


@pytest.mark.analog
def test_the_range_of_a_column_is_in_the_prediction() -> None:
    """Half of a bound is half of the range of every column."""
    coarse = quiet(0.0).adc.model_copy(update={"bits": 5, "bound": 4.0, "noise": 0.0})
    outputs = {"stem": 8, "body": 6, "narrow": 7, "square": 7, "again": 7, "head": 5}
    # Read-outs of drift compensation have the range of the layer.
    machine = quiet(0.0).model_copy(update={"adc": coarse, "compensation": Compensation(drift="none", outputs="none")})
    columns = machine.with_adc_bounds(dict.fromkeys(outputs, 4.0), {n: (0.5,) * size for n, size in outputs.items()})
    half = machine.model_copy(update={"adc": coarse.model_copy(update={"bound": 2.0})})
    found, wanted, whole = (
        fisher_sensitivity(one, one.graph, LAYERS).table
        for one in (make_evaluator("kl", each, draws=2) for each in (columns, half, machine))
    )
    for name in LAYERS:
        assert found.layers[name].mean == pytest.approx(wanted.layers[name].mean, rel=1e-5)
        both = [table.layers[name].by_outputs for table in (whole, found)]
        assert both[0] == pytest.approx(4 * (both[1] or 0), rel=1e-5)


HEALED = {
    "copies": (Compensation(outputs="none"), 1.5),
    "offset": (Compensation(copies=False, outputs="offset"), 1.5),
    "affine": (Compensation(copies=False, outputs="affine"), 1.5),
    "both": (Compensation(), 1.5),
    "stale": (Compensation(copies=False, when="programming"), 1.0),
}
"""With the least factor by which the damage of some layer falls."""


@pytest.mark.slow
@pytest.mark.analog
@pytest.mark.parametrize(("compensation", "factor"), HEALED.values(), ids=HEALED)
def test_what_copies_and_calibration_leave_is_predicted(compensation: Compensation, factor: float) -> None:
    """To the tolerance of `test_small_noise_does_the_damage_that_is_predicted`, whose noise is half as large."""
    here = healed(compensation)
    predicted = fisher_sensitivity(here, here.graph, LAYERS).table
    measured = measure_sensitivity(here, here.graph, LAYERS)
    ratios = [predicted.layers[name].mean / measured.layers[name].mean for name in LAYERS]
    assert np.abs(np.log(ratios)).max() < 0.3, dict(zip(LAYERS, ratios, strict=True))
    plain = replace(here, calibration=None, copies=Copies())
    unhealed = fisher_sensitivity(plain, here.graph, LAYERS).table
    changes = [unhealed.layers[name].mean / predicted.layers[name].mean for name in LAYERS]
    assert max(changes) > factor, "so the test sees whether copies and corrections are in the prediction"


@pytest.mark.analog
def test_parts_are_those_of_their_causes() -> None:
    def parts(hardware: Hardware) -> tuple[float, float]:
        here = make_evaluator(hardware=hardware)
        figure = fisher_sensitivity(here, here.graph, ["body"]).table.layers["body"]
        assert figure.by_weights is not None
        assert figure.by_outputs is not None
        assert figure.mean == pytest.approx(figure.by_weights + figure.by_outputs, rel=1e-12)
        return figure.by_weights, figure.by_outputs

    noisy, silent = quiet(1.0), quiet(1.0)
    silent = silent.model_copy(update={"adc": silent.adc.model_copy(update={"noise": 0.0})})
    perfect = quiet(1.0).model_copy(update={"devices": None, "compensation": Compensation(drift="none")})
    weights, outputs = parts(noisy)
    assert parts(silent)[1] < 1e-4 * outputs, "only the ADC's rounding is left"
    assert parts(perfect)[0] < 1e-4 * weights, "only the DAC is left"
    assert parts(perfect)[1] > 0.1 * outputs


@pytest.mark.analog
def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    here = make_evaluator()
    whole = fisher_sensitivity(here, here.graph, LAYERS).table
    monkeypatch.setattr("lhc.measure.sensitivity.fisher_prediction.MOST_SAMPLES", 7)
    monkeypatch.setattr("lhc.measure.evaluation_context.BANK_SHARE", 2**40)
    parts = fisher_sensitivity(here, here.graph, LAYERS).table
    for name in LAYERS:
        assert parts.layers[name].mean == pytest.approx(whole.layers[name].mean, rel=1e-4), name


FOLDED = """i = Reshape (x, images)
  [stem] c = Conv <pads = [1, 1, 1, 1]> (i, w0, b0)
  r = Relu (c)
  [body] d = Conv <group = 2, strides = [2, 2]> (r, w1)
  s = Relu (d)
  m = ReduceMean <keepdims = 0> (s, last)
  v = Reshape (m, frames)
  f = ReduceSum <keepdims = 0> (v, one)"""
WHOLE = """i = Transpose <perm = [0, 2, 1, 3, 4]> (x)
  [stem] c = Conv <pads = [0, 1, 1, 0, 1, 1]> (i, w0, b0)
  r = Relu (c)
  [body] d = Conv <group = 2, strides = [1, 2, 2]> (r, w1)
  s = Relu (d)
  m = ReduceMean <keepdims = 0> (s, last)
  f = ReduceSum <keepdims = 0> (m, two)"""


@pytest.mark.analog
@pytest.mark.parametrize("corrected", [False, True])
def test_frames_in_the_batch_are_predicted_as_an_axis_of_the_kernel(corrected: bool) -> None:
    """Items that are a multiple of the samples: the same tiles and products as of a kernel with one more axis."""
    text = '<ir_version: 8, opset_import: ["" : 18]> g (float[N, 3, 4, 6, 6] x) => (float[N, 5] y) {{ {} {} }}'
    head = "\n  [head] y = Gemm (f, w2)"

    def found(convs: str, axes: tuple[int, ...], **integers: list[int]) -> list[Floats]:
        proto = onnx.parser.parse_model(text.format(convs, head))
        rng = np.random.default_rng(3)
        shapes = {"w0": (8, 4, *axes, 3, 3), "b0": (8,), "w1": (6, 4, *axes, 2, 2), "w2": (6, 5)}
        arrays = {name: (rng.normal(size=shape) / 4).astype(np.float32) for name, shape in shapes.items()}
        arrays |= {name: np.array(value, np.int64) for name, value in integers.items()}
        proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
        model = load_model(proto)
        samples = np.random.default_rng(1).normal(size=(24, 3, 4, 6, 6)).astype(np.float32)
        here = PlacementEvaluator(
            model,
            read_graph(model, {"x": (1, 3, 4, 6, 6)}),
            quiet(0.1),
            Task({"x": samples}, None, get_metric("kl")),
            draws=3,
            t_s=86400.0,
            calibration=Block(0, 8, {"x": samples[:8]}, None, "calibration") if corrected else None,
        )
        names = ("stem", "body", "head")
        layers = fisher_sensitivity(here, here.graph, names).table.layers
        columns = column_damages(here, here.graph, ("stem", "head"))
        return [*(np.array([layers[n].by_weights, layers[n].by_outputs]) for n in names), *columns.values()]

    folded = found(FOLDED, (), images=[-1, 4, 6, 6], last=[2, 3], frames=[-1, 3, 6], one=[1])
    whole = found(WHOLE, (1,), last=[3, 4], two=[2])
    for one, other in zip(folded, whole, strict=True):
        assert one == pytest.approx(other, rel=1e-3)  # sums in another order; corrections are fitted to other roundings


@pytest.mark.analog
def test_layers_that_share_weights_share_the_figure() -> None:
    here = make_evaluator()
    found = fisher_sensitivity(here, here.graph, LAYERS)
    assert list(found.table.layers) == list(LAYERS)
    assert found.table.layers["square"] == found.table.layers["again"]
    assert found.unreached == ()
    assert {figure.method for figure in found.table.layers.values()} == {"fisher"}


@pytest.mark.analog
def test_finished_blocks_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.measure.sensitivity.fisher_prediction.MOST_SAMPLES", 20)
    alone = make_evaluator()
    expected = fisher_sensitivity(alone, alone.graph, LAYERS).table
    with Running(Execution(work_dir=tmp_path)) as running:
        here = make_evaluator(running=running)
        assert fisher_sensitivity(here, here.graph, LAYERS).table == expected

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("lhc.measure.sensitivity.fisher_prediction.check_gradients", refuse)
    with Running(Execution(work_dir=tmp_path)) as running:
        here = make_evaluator(running=running)
        assert fisher_sensitivity(here, here.graph, LAYERS).table == expected
        others = [
            make_evaluator(running=running, draws=5),
            make_evaluator(running=running, seed=1),
            make_evaluator(running=running, samples=59),
            make_evaluator("nmse", running=running),
        ]
        for other in others:
            with pytest.raises(AssertionError, match="computed again"):
                fisher_sensitivity(other, other.graph, LAYERS)


@pytest.mark.analog
def test_a_network_that_torch_computes_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from lhc.runtime.gradients import network as differentiable

    monkeypatch.setattr(differentiable, "OPERATORS", {**differentiable.OPERATORS, "Relu": lambda op, x: x.abs()})
    here = make_evaluator()
    with pytest.raises(ModelError, match="differs between torch and onnxruntime by"):
        fisher_sensitivity(here, here.graph, LAYERS)


def test_other_metrics_are_refused() -> None:
    here = make_evaluator("agreement")
    with pytest.raises(UsageError, match="kl or nmse, not agreement"):
        fisher_sensitivity(here, here.graph, LAYERS)


@pytest.mark.analog
def test_infinite_answers_are_refused() -> None:
    model = network(NETWORK.replace("y = MatMul (k, w4)", "z = MatMul (k, w4)\n y = Log (z)"))
    here = PlacementEvaluator(model, read_graph(model), LIONHEART, task("nmse"), draws=2)
    with pytest.raises(DataError, match="NaN or infinite values in 'y'"):
        fisher_sensitivity(here, here.graph, LAYERS)


@pytest.mark.analog
@pytest.mark.parametrize("predict", [fisher_sensitivity, column_damages])
def test_gradients_that_are_not_finite_are_refused(predict: Callable[..., object]) -> None:
    """A root has no slope at 0, where its value is finite."""
    model = network(
        NETWORK.replace("y = MatMul (k, w4)", "z = MatMul (k, w4)\n n = Sub (z, z)\n s = Sqrt (n)\n y = Add (s, z)")
    )
    here = PlacementEvaluator(model, read_graph(model), LIONHEART, task("nmse"), draws=2)
    with pytest.raises(ModelError, match=r"the gradient at layer '\w+' is not finite on these samples"):
        predict(here, here.graph, ("stem", "head"))
