"""A training of a state: what its weights and input ranges are judged against."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import numpy_helper

from lhc.costs.plan_costs import digital_cost
from lhc.errors import ModelError, UsageError
from lhc.measure import Running
from lhc.options.by_command import RunOptions
from lhc.options.training import TrainingOptions
from lhc.pipeline.steps.prepare import read_placed
from lhc.pipeline.training.retraining import retrained, train_once, training_setup_of
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.train.optimiser_steps import Trainer
from tests.canonical.made_models import model_of
from tests.networks import parsed

pytestmark = pytest.mark.analog

TEN = TrainingOptions(steps=10, batch_size=64, validations=1)


def test_drops_are_against_the_network_before_training(digits: Task) -> None:
    """Weights that are made useless look useless, though their own digital network is as bad."""
    state, analog, _ = read_placed(
        RunOptions("digits-narrow", digits.head(100), draws=2, all_analog=True), Running(), None
    )
    setup = training_setup_of(state, digits, TEN)
    broken = retrained(state, setup, {name: np.zeros_like(value) for name, value in setup.trained.values.items()})
    before, after = (one.evaluator(one.task) for one in (state, broken))
    assert after.baseline == before.baseline > 0.9
    layer = frozenset(sorted(analog)[:1])
    for placement in (layer, frozenset[str]()):
        assert after.measure(placement, range(2), "").drops.min() > 0.5
    ranking = broken.evaluator(state.task.with_metric(get_metric("kl")))
    assert ranking.against == "all digital", "layers are ranked by what they do to the network as it is"


def test_without_labels_drops_are_against_the_outputs_before_training(digits: Task) -> None:
    unlabelled = Task(digits.inputs, None, get_metric("agreement")).head(100)
    state, analog, _ = read_placed(RunOptions("digits-narrow", unlabelled, draws=2, all_analog=True), Running(), None)
    setup = training_setup_of(state, digits, TEN)
    broken = retrained(state, setup, {name: np.zeros_like(value) for name, value in setup.trained.values.items()})
    evaluator = broken.evaluator(broken.task)
    assert evaluator.baseline == 1
    assert evaluator.measure(frozenset(sorted(analog)[:1]), range(2), "").drops.min() > 0.5


def test_the_rate_follows_from_what_is_trained(digits: Task) -> None:
    state, analog, _ = read_placed(
        RunOptions("digits-narrow", digits.head(100), draws=2, all_analog=True), Running(), None
    )
    setup = training_setup_of(state, digits, TrainingOptions())
    convolutions = frozenset(name for name in analog if state.graph[name].op_type == "Conv")
    others = analog - convolutions
    for placement, rate in ((analog, 0.01), (others, 0.003), (frozenset[str](), 0.003)):
        assert setup.with_rate(placement).record(placement, 1, ()).learning_rate == rate
    assert convolutions
    assert others


def test_a_share_of_labels_is_recorded(digits: Task) -> None:
    state, analog, _ = read_placed(
        RunOptions("digits-narrow", digits.head(100), draws=2, all_analog=True), Running(), None
    )
    losses = [
        training_setup_of(state, digits, TrainingOptions(label_share=share)).record(analog, 1, ()).loss
        for share in (0.0, 0.5)
    ]

    assert losses == ["distillation", "distillation, 0.5 labels"]


@pytest.mark.parametrize(
    ("metric", "labels", "loss"),
    [
        ("mse", "numbers", "distillation by squared error"),
        ("cosine", "none", "distillation by squared error"),
        ("accuracy", "classes", "distillation"),
        ("agreement", "none", "distillation"),
    ],
)
def test_distillation_follows_the_metric_that_ranks(metric: str, labels: str, loss: str) -> None:
    """Four coordinates are no logits, whose sum a divergence would leave free."""
    rng = np.random.default_rng(0)
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 6] x) => (float[N, 4] y) { [product] y = MatMul (x, w) }',
        {"w": rng.normal(size=(6, 4)).astype(np.float32)},
    )
    x = rng.normal(size=(12, 6)).astype(np.float32)
    targets = {"none": None, "classes": np.arange(12) % 4, "numbers": rng.normal(size=(12, 4)).astype(np.float32)}
    task = Task({"x": x}, targets[labels], get_metric(metric))
    state, analog, _ = read_placed(RunOptions(model, task, draws=2, all_analog=True), Running(), None)
    setup = training_setup_of(state, task, replace(TEN, batch_size=4))
    found, digital = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[2.0, 3.0, 4.0, 5.0]])
    by_error = 4 / (4 + 9 + 16 + 25)
    assert float(setup.trainer(1).loss(found, digital)) == pytest.approx(by_error if "error" in loss else 0, abs=1e-6)
    assert setup.record(analog, 1, ()).loss == loss


def test_no_session_is_held_while_a_step_is_taken(digits: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    state, analog, _ = read_placed(
        RunOptions("digits-narrow", digits.head(100), draws=2, all_analog=True), Running(), None
    )
    workers, step, held = state.running.workers, Trainer.train_step, []

    def watched(trainer: Trainer, strength: float) -> float:
        held.append(workers._scorer)  # type: ignore[attr-defined]
        return step(trainer, strength)

    monkeypatch.setattr(Trainer, "train_step", watched)
    judge = state.evaluator(state.task)
    judge.measure(analog, range(1))
    assert workers._scorer is not None  # type: ignore[attr-defined]
    settings = replace(TEN, steps=2, validations=2)
    train_once(state, training_setup_of(state, digits, settings), analog, state.task)
    assert held == [None, None]


def test_trained_input_ranges_are_those_of_the_plan(digits: Task) -> None:
    """Of the layers that were analog in training; others are calibrated anew."""
    options = RunOptions("digits-narrow", digits.head(100), hardware="static-range", draws=2, all_analog=True)
    state, analog, _ = read_placed(options, Running(), None)
    setup = training_setup_of(state, digits, TEN)
    names = sorted(analog)
    network = setup.network()
    network.place(names[:1])
    weights = network.weights()
    (key,) = set(weights) - set(setup.trained.values)
    after = retrained(state, setup, {**weights, key: np.array(1.25, np.float32)})
    before = state.plan.ranges
    assert after.plan.ranges == {**before, names[0]: (1.25,) * len(before[names[0]])}
    assert after.evaluator(after.task).measure(frozenset(names[:1]), range(2), "").drops.shape == (2,)


def test_ranges_of_adcs_are_found_anew_for_trained_input_ranges(digits: Task) -> None:
    """They are in units of the input range: half of it makes sums greater, though what is beyond it is clipped."""
    options = RunOptions("digits-narrow", digits.head(100), hardware="neurram", draws=2, all_analog=True)
    state, analog, _ = read_placed(options, Running(), None)
    setup = training_setup_of(state, digits, TEN)
    name = sorted(analog)[0]
    network = setup.network()
    network.place([name])
    weights = network.weights()
    (key,) = set(weights) - set(setup.trained.values)
    half = state.plan.ranges[name][0] / 2
    after = retrained(state, setup, {**weights, key: np.array(half, np.float32)})
    before, found = (one.plan.hardware.for_layer(name).adc.bound for one in (state, after))
    assert before is not None
    assert found is not None
    assert found > 1.1 * before


def test_an_edited_loss_of_the_user_has_a_checkpoint_of_its_own(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for factor in ("1", "1", "200"):
        Path("own_loss.py").write_text(
            f"def distance(output, targets):\n    return {factor} * (output.sum() - targets.sum()).square()\n"
        )
        sys.modules.pop("own_loss", None)
        state, _, _ = read_placed(
            RunOptions("digits-narrow", digits.head(100), draws=2, all_analog=True), Running(), None
        )
        found.append(training_setup_of(state, digits, TrainingOptions(loss="own_loss:distance")).facts())
    assert found[0] == found[1] != found[2]


def test_a_fixed_batch_whose_samples_mix_is_refused() -> None:
    """Also one of as many samples as are looked at first, which alone answer as they should."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[2, 6] x) => (float[2, 3] y) {
      m = ReduceMean <axes = [0], keepdims = 1> (x)
      c = Sub (x, m)
      [product] y = MatMul (c, w)
    }"""
    rng = np.random.default_rng(0)
    model = parsed(text, {"w": rng.normal(size=(6, 3)).astype(np.float32)})
    task = Task({"x": rng.normal(size=(12, 6)).astype(np.float32)}, None, get_metric("nmse"))
    state, _, _ = read_placed(RunOptions(model, task, draws=2, all_analog=True), Running(), None)
    with pytest.raises(ModelError, match="fixes a batch of 2 and cannot be computed with another"):
        training_setup_of(state, task, TEN).network()


def test_a_transposed_convolution_stays_one_and_costs_the_same() -> None:
    net = model_of(
        """net (float[N, 4, 4, 4] x) => (float[N, 2, 8, 8] y) {
          [up] y = ConvTranspose<strides = [2, 2]>(x, w)
        }""",
        w=(4, 2, 2, 2),
    )
    x = np.random.default_rng(0).normal(size=(64, 4, 4, 4)).astype(np.float32)
    state, analog, _ = read_placed(RunOptions(net, {"x": x}, draws=2, metric="nmse", all_analog=True), Running(), None)
    setup = training_setup_of(state, state.task, TEN)
    after = retrained(state, setup, {name: value + 1 for name, value in setup.trained.values.items()})
    assert analog == {"up"}
    (row,), (kept,) = state.plan.layers, after.plan.layers
    assert (kept.kind, kept.origin, kept.macs) == (row.kind, row.origin, row.macs) == ("ConvTranspose", "up", 512)
    assert digital_cost(after.plan, after.graph) == digital_cost(state.plan, state.graph) is not None
    file = after.model.as_file()
    (held,), (given,) = (net.graph.initializer, file.graph.initializer)
    np.testing.assert_allclose(numpy_helper.to_array(given), numpy_helper.to_array(held) + 1, rtol=1e-6)
    assert file.graph.node == net.graph.node


def test_as_many_steps_as_a_time_allows(monkeypatch: pytest.MonkeyPatch, digits: Task) -> None:
    options = RunOptions("digits-narrow", digits.head(100), draws=2, all_analog=True)
    state, analog, _ = read_placed(options, Running(), None)
    costs, times = [99.0, *[0.25] * 9], [0.0]
    monkeypatch.setattr("lhc.train.training_setup.time.perf_counter", lambda: times[-1])
    monkeypatch.setattr(Trainer, "train_step", lambda _, __: times.append(times[-1] + costs[len(times) - 1]))
    setup = training_setup_of(state, digits, TrainingOptions(time="1min", batch_size=16)).timed(analog)
    assert setup.steps == 240, "a quarter of a second each, but for the first"
    assert setup.settings.time is None


def test_pictures_do_not_move_below_labels_of_their_places() -> None:
    net = model_of("net (float[N, 3, 4, 4] x) => (float[N, 2, 4, 4] y) { [up] y = Conv(x, w) }", w=(2, 3, 1, 1))
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(64, 3, 4, 4)).astype(np.float32), rng.integers(0, 2, (64, 4, 4))
    task = Task({"x": x}, labels, get_metric("accuracy"))
    state, _, _ = read_placed(RunOptions(net, task, draws=2, all_analog=True, class_axis=1), Running(), None)
    moving = replace(TEN, augment="crop-flip", label_share=0.5)
    with pytest.raises(UsageError, match=r"--augment crop-flip moves pictures and leaves labels \(4, 4\)"):
        training_setup_of(state, state.task, moving).trainer(1)
    training_setup_of(state, state.task, replace(moving, label_share=0.0)).trainer(1)
