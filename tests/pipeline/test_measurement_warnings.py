"""What is said of a measurement before anybody trusts it."""

import logging
import re
from types import SimpleNamespace
from typing import cast

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lhc
from lhc.errors import ModelError
from lhc.hardware import AlpineCosts, Hardware
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.description.overrides import Override
from lhc.hardware.description.tiles_and_converters import LeftOut
from lhc.measure import PlacementEvaluator
from lhc.measure.budget_test import Budget
from lhc.onnx_io import load_model, read_graph
from lhc.pipeline.inputs.hardware_choice import warn_of_defaults, warn_of_left_out
from lhc.pipeline.measurement_warnings import (
    beyond_memory,
    doubts,
    doubts_of_error,
    warn_of_few_samples,
    warn_of_other_digital,
    warn_of_wrong_direction,
)
from lhc.plan import Outcome
from lhc.results import Evaluation, Verdict
from lhc.samples.metrics import METRICS
from lhc.support.documentation_links import page
from tests.networks import parsed

NO_IR_DROP = (
    "hardware lionheart leaves out IR drop (currents.ir_drop is 0); results are too good, most where layers have"
    f" copies: see {page('emulation')}"
)
LABELS = np.array([0] * 30 + [1] * 40 + [2] * 30)

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[BATCH, 6] x) => (float[BATCH, 3] y) <bool on = {ON}, float ratio = {0.5}> {
  [fc1] h = MatMul(x, w)
  [norm] n NORM(h, scale, shift, mean, variance)
  [drop] d = Dropout(n, ratio, on)
  [fc2] y = MatMul(d, v)
}"""
INFERRING = "= BatchNormalization"
TRAINING = ", m, s = BatchNormalization <training_mode = 1>"


def network(batch: str = "N", norm: str = INFERRING, dropout: int = 0) -> onnx.ModelProto:
    text = NET.replace("BATCH", batch).replace("{ON}", f"{{{dropout}}}").replace("n NORM", f"n {norm}")
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(size=(6, 5)), "v": rng.normal(size=(5, 3))}
    arrays |= {"scale": np.ones(5), "shift": np.zeros(5), "mean": np.zeros(5), "variance": np.ones(5)}
    for name, array in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    return model


PIXELS = np.tile([0, 0, 0, 0, 1, -100], (4, 3, 1))
"""Classes of pictures of 3x6; a sixth of the pixels does not count."""
DATA: dict[str, np.ndarray] = {
    "x": np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32),
    "labels": np.arange(12) % 3,
}


@pytest.mark.parametrize(
    ("accuracy", "labels", "classes", "said"),
    [
        (1.0, LABELS, 3, "was it trained on them"),
        (0.99, LABELS, 3, None),
        (0.30, LABELS, 3, "no better than chance for 3 classes"),
        (0.41, LABELS, 3, "always answering class 1 is right on 40.0 %"),
        (0.55, LABELS, 3, "scaled and normalised as in training"),
        (0.65, LABELS, 3, None),
        (0.352, np.arange(500) % 10, 10, "always answering class 0 is right on 10.0 %"),  # ResNet20, not normalised
        (0.45, np.arange(3000) % 1000, 1000, None),
        (0.30, np.arange(200).reshape(4, 50) % 100, 100, None),  # words of a text: 30 % may be good
        (0.85, PIXELS, 4, None),
        (0.79, PIXELS, 4, "right on 79.0 % of the labels, where always answering class 0 is right on 80.0 %"),
    ],
)
def test_doubtful_accuracy(accuracy: float, labels: np.ndarray, classes: int, said: str | None) -> None:
    found = doubts(accuracy, labels, classes)
    assert (found is None) if said is None else (found is not None and said in found)


@pytest.mark.parametrize(
    ("error", "samples", "told"),
    [(0.9, 1000, False), (1.1, 1000, True), (16330.0, 1000, True), (1.1, 2, False), (4.1, 2, True), (9.0, 1, False)],
)
def test_an_error_no_better_than_that_of_a_constant_answer_is_asked_about(
    error: float, samples: int, told: bool
) -> None:
    """Targets of variance 1 about a mean of their own at every position; of two samples, each is 2 off the other."""
    targets = np.where(np.arange(samples) % 2, 1.0, -1.0)[:, None] + np.array([0, 100, 1000.0])
    found = doubts_of_error(error, targets.astype(np.float32))
    assert (found is not None) == told
    if found is not None:
        assert f"which has {4 if samples == 2 else 1.002:.4g}. Are inputs and targets scaled" in found


def test_targets_that_are_all_alike_are_not_asked_about() -> None:
    assert doubts_of_error(7.0, np.ones((100, 3))) is None


@pytest.mark.analog
def test_inputs_on_another_scale_are_asked_about_under_mse(caplog: pytest.LogCaptureFixture) -> None:
    model = network()
    answers = lhc.HybridSession(model, placement=frozenset()).run(None, {"x": DATA["x"]})[0]
    noise = np.random.default_rng(5).normal(size=answers.shape)
    targets = (answers + 0.1 * answers.std() * noise).astype(np.float32)
    lhc.evaluate(model, {"x": DATA["x"], "labels": targets}, metric="mse", draws=2)
    assert "no better" not in caplog.text
    lhc.evaluate(model, {"x": 100 * DATA["x"], "labels": targets}, metric="mse", draws=2)
    assert caplog.text.count("no better than always answering the mean of the targets") == 1


@pytest.mark.analog
def test_labels_that_the_network_gave_are_asked_about(caplog: pytest.LogCaptureFixture) -> None:
    model = network()
    outputs = lhc.HybridSession(model, placement=frozenset()).run(None, {"x": DATA["x"]})[0]
    lhc.evaluate(model, DATA | {"labels": np.argmax(outputs, axis=1)}, draws=2)
    assert "right on all 12 samples" in caplog.text


@pytest.mark.analog
def test_an_active_dropout_is_refused_where_something_is_measured(caplog: pytest.LogCaptureFixture) -> None:
    model = network(dropout=1)
    with pytest.raises(ModelError, match=r"Dropout 'drop' is active, .* random.* model\.eval\(\)"):
        lhc.evaluate(model, DATA, draws=2)
    assert not caplog.text
    assert len(lhc.analyze(model).plan.layers) == 2
    assert "Dropout 'drop' is active" in caplog.text


@pytest.mark.analog
@pytest.mark.parametrize("inside", [False, True], ids=["graph", "body"])
def test_a_network_that_draws_random_numbers_is_told_once(inside: bool, caplog: pytest.LogCaptureFixture) -> None:
    drawn = "[z] r = RandomNormalLike(h)  s = Add(h, r)"
    body = f"s = If (yes) <then_branch = t () => (s) {{ {drawn} }}, else_branch = e () => (s) {{ s = Identity(h) }}>"
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 6] x) => (float[N, 3] y) <bool yes = {{1}}> {{
          h = Relu(x)  {body if inside else drawn}  [fc] y = MatMul(s, w)
        }}"""
    )
    weight = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))

    lhc.evaluate(model, DATA, draws=2)

    assert caplog.text.count("RandomNormalLike 'z' draws random numbers in every call") == 1
    assert "Measured figures hold this noise too" in caplog.text
    caplog.clear()
    for node in model.graph.node:
        node.input[:] = ["h" if name == "s" else name for name in node.input]
    lhc.analyze(model)  # nothing depends on the drawing operator any more
    assert "draws random numbers" not in caplog.text


@pytest.mark.analog
def test_a_normalisation_in_training_mode_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    lhc.evaluate(network(norm=TRAINING), DATA, draws=2)
    assert caplog.text.count("BatchNormalization 'norm' is in training mode") == 1


@pytest.mark.analog
def test_a_fixed_batch_of_one_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    lhc.partition(network(batch="1"), DATA, draws=2, max_drop="100%")
    assert caplog.text.count("fixes a batch of 1") == 1
    assert "symbolic batch" in caplog.text


@pytest.mark.analog
def test_an_ordinary_export_is_taken_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    lhc.analyze(network())
    lhc.analyze(network(), DATA)
    assert not caplog.text


def test_no_more_than_all_answers_are_said_to_change(caplog: pytest.LogCaptureFixture) -> None:
    evaluator = SimpleNamespace(
        metric=METRICS["accuracy"], baseline=0.9, samples=2, task=SimpleNamespace(document_count=None)
    )
    needed = "about 11 may be needed, if tiles change 100.0 % of the answers, as often for better as for worse"
    warn_of_few_samples(cast(PlacementEvaluator, evaluator), Budget(max_drop=0.5))
    assert needed in caplog.text
    assert "to decide for others of their kind too (--generalize) " + needed in caplog.text
    caplog.clear()
    warn_of_few_samples(cast(PlacementEvaluator, evaluator), Budget(max_drop=0.5, generalize=True))
    assert "--generalize: 2 samples may be too few to decide for others of their kind: " + needed in caplog.text


@pytest.mark.analog
def test_what_a_machine_leaves_out_is_told_once_where_figures_rest_on_it(caplog: pytest.LogCaptureFixture) -> None:
    model, effects = network(), tuple(LeftOut(name=name, size="1 %", text="a long story") for name in "ab")
    machine = Hardware.load("lionheart").model_copy(update={"left_out": effects})
    lhc.analyze(model, hardware=machine)
    assert not caplog.text
    lhc.evaluate(model, DATA, all_analog=True, hardware=machine, draws=2)
    told = [record.getMessage() for record in caplog.records if "leaves out" in record.getMessage()]
    assert told == [
        "hardware lionheart leaves out a (1 %), b (1 %); its description says what that does",
        NO_IR_DROP,
    ]


@pytest.mark.analog
def test_wires_without_resistance_are_told_where_devices_conduct(caplog: pytest.LogCaptureFixture) -> None:
    def told(machine: Hardware) -> list[str]:
        caplog.clear()
        warn_of_left_out(machine)
        return [record.getMessage() for record in caplog.records]

    preset = Hardware.load("lionheart")
    lossy = preset.model_copy(update={"currents": Currents(ir_drop=1.0)})
    first = Override(layers="conv1", currents={"ir_drop": 0.0})
    named = LeftOut(name="IR drop", size="1 %", text="a long story")
    assert told(preset) == [NO_IR_DROP]
    assert told(lossy) == []
    assert told(lossy.model_copy(update={"overrides": (first,)})) == [NO_IR_DROP], "of one layer"
    assert told(preset.model_copy(update={"devices": None})) == []
    assert told(preset.model_copy(update={"left_out": (named,)})) == [
        "hardware lionheart leaves out IR drop (1 %); its description says what that does"
    ]


def test_what_a_description_does_not_say_is_told(caplog: pytest.LogCaptureFixture) -> None:
    lhc.analyze(
        network(), hardware=Hardware.parse("name: mine\ntiles: {rows: 128}\nadc: {bits: 6}\ncosts: null", "mine")
    )
    (told,) = (record.getMessage() for record in caplog.records)
    fields = "dac, devices, compensation, t_inference_s, tiles.cols, adc.bound, adc.noise, adc.bound_management"
    assert told.startswith(f"hardware mine does not say {fields}: lhc's defaults are taken")
    assert told.endswith("; it is without output noise (adc.noise: 0)")


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        (
            "{tile: {product_ns: 60, product_pj_per_cell: {value: 0.4, source: chip 7}}}",
            "{some} of {all} fields of costs:",
        ),
        ("{}", "{all} of {all} fields of costs:"),
        (None, ", costs,"),
    ],
)
def test_costs_that_a_description_leaves_to_defaults_are_told(
    costs: str | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    section = "" if costs is None else f"\ncosts: {costs}"
    warn_of_defaults(Hardware.parse(f"name: mine\ntiles: {{rows: 128}}{section}", "mine"))
    numbers = AlpineCosts().model_dump(exclude={"model", "chip"})
    count = sum(len(section) for section in numbers.values())
    assert told.format(some=count - 2, all=count) in caplog.text
    caplog.clear()
    warn_of_defaults(Hardware.load("lionheart"))
    assert not caplog.text


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        (
            "g_max_us: 50, programming_coefficients_us: [1.5]",
            ["devices.drift_nu_mean", "devices.drift_nu_std", "devices.read_noise_scale"],
        ),
        ("g_max_us: 50, programming_coefficients_us: [1.5], drift_scale: 0", ["devices.read_noise_scale"]),
        ("programming_noise_scale: 0, drift_scale: 0, read_noise_scale: 0", ["devices.g_max_us"]),
    ],
    ids=["drift-and-read-noise", "no-drift", "no-noise"],
)
def test_numbers_of_devices_that_nobody_measured_are_told(
    devices: str, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """aihwkit's noise that does not depend on conductance drifts by 0.1 by default, as no device that was measured."""
    warn_of_defaults(Hardware.parse(f"name: mine\ndevices: {{model: state_independent, {devices}}}", "mine"))

    missing, _ = caplog.text.split(": lhc's defaults")
    assert re.findall(r"devices\.\w+", missing) == told


def test_a_memory_that_a_process_exceeds_whatever_it_keeps_is_told() -> None:
    """Four times 2 MB of weights; a sample holds 1,000 and 500 values; 900 MiB are libraries."""
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 1000] x) => (float[N, 500] y) '
    text += "{ r = Relu (x) y = MatMul (r, w) }"
    model = parsed(text, {"w": np.zeros((1000, 500), np.float32)})
    network = load_model(model)
    graph = read_graph(network)

    def told(preset: str, samples: int, memory: int) -> str | None:
        return beyond_memory(network, graph, lhc.Hardware.load(preset), samples, memory * 2**20)

    assert told("lionheart", 1, 908) is None
    few, many = str(told("lionheart", 1, 907)), str(told("lionheart", 10**6, 1))
    assert "about 908 MiB: libraries 900, four times the weights 8, tensors of 1 sample 0;" in few
    assert "tensors of 256 samples 1;" in many, "those that calibrate a chip"
    assert "tensors of 64 samples 0;" in str(told("ideal", 10**6, 1)), "those of a call"


@pytest.mark.parametrize(
    ("found", "samples", "metric", "told"),
    [
        (0.56, 497, "accuracy", True),
        (0.985, 497, "accuracy", False),
        (0.25, 8, "accuracy", True),
        (0.75, 8, "accuracy", False),
        (0.56, 497, "top5", False),  # the placement was judged by another one
    ],
)
def test_a_digital_value_far_from_that_of_the_placement_is_told(
    found: float, samples: int, metric: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    task = SimpleNamespace(document_count=None)
    evaluator = SimpleNamespace(baseline=found, samples=samples, metric=METRICS[metric], task=task, digital_score=0.0)
    outcome = SimpleNamespace(metric="accuracy", baseline=0.9911, samples=450, documents=None)
    warn_of_other_digital(cast(PlacementEvaluator, evaluator), cast(Outcome, outcome))
    assert bool(caplog.records) == told
    if told:
        assert (
            f"has {100 * found:.2f} % of accuracy on these {samples} samples, and had 99.11 % on the 450 samples"
            in caplog.text
        )


@pytest.mark.parametrize(
    ("scores", "metric", "told"),
    [
        ([9e3, 2e4, 1e4, 2.5e4], "mse", True),
        ([0.05, 0.3, 0.1, 0.5], "mse", False),  # four times as much, as a few hard samples make it
        ([0.09, 0.11, 0.1, 0.1], "mse", False),  # surely more, and not far more
        ([0.001, 0.002, 0.001, 0.001], "mse", False),  # better
        ([9e3], "mse", False),  # one sample shows no spread
        ([9e3, 2e4, 1e4, 2.5e4], "psnr", False),  # the placement was judged by another one
    ],
)
def test_an_error_far_above_that_of_the_placement_is_told(
    scores: list[float], metric: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    score = np.array(scores)
    evaluator = SimpleNamespace(
        baseline=float(score.mean()),
        samples=len(scores),
        metric=METRICS[metric],
        task=SimpleNamespace(document_count=None),
        digital_score=score,
    )
    outcome = SimpleNamespace(metric="mse", baseline=0.0624, samples=375, documents=None)
    warn_of_other_digital(cast(PlacementEvaluator, evaluator), cast(Outcome, outcome))
    assert bool(caplog.records) == told
    if told:
        assert "has 1.6e+04 of mse on these 4 samples, and had 0.0624 on the 375 samples that its" in caplog.text


@pytest.mark.parametrize(
    ("metric", "interval", "relative", "told"),
    [
        ("mets:mae", (-0.097, -0.024), True, True),
        ("mets:mae", (-0.097, 0.001), True, False),
        ("mets:right", (-0.008, -0.004), True, False),  # healing
        ("mets:mae", (-0.019, -0.005), False, True),
        ("mets:mae", (-0.019, -0.001), False, False),
        ("mse", (-0.097, -0.024), True, False),  # lhc knows its direction
        ("mets:mae", None, True, False),
    ],
)
def test_noise_that_improves_a_function_by_far_asks_about_its_direction(
    metric: str,
    interval: tuple[float, float] | None,
    relative: bool,
    told: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = Evaluation(
        metric,
        percent=False,
        baseline=0.1948,
        values=(0.2066,),
        mean=0.2066,
        std=0.0,
        interval=None,
        drop=-0.06,
        drop_interval=interval,
        sample_interval=interval,
        drops=(-0.06,),
        samples=375,
        seed=0,
        t_s=0.0,
        confidence=0.95,
        higher_is_better=True,
    )
    warn_of_wrong_direction(Verdict("accepted", found), Budget(0.05, "relative" if relative else "absolute"))
    said = "improves mets:mae from 0.1948 to 0.2066, if it is better when higher as was said; is it better when lower ("
    assert [said in message for message in caplog.messages] == told * [True]
