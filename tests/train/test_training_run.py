"""Whole trainings of a small network: they learn, are repeatable, and go on where they were cut off."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import lhc
from lhc.errors import DataError, ModelError, NotFiniteError
from lhc.hardware import Hardware
from lhc.models import zoo_entry
from lhc.onnx_io import read_graph
from lhc.onnx_model import OnnxModel
from lhc.options.training import TrainingOptions
from lhc.runtime.onnxruntime.sessions import observe_tensors
from lhc.samples.metrics import get_metric
from lhc.samples.task import Array, Task
from lhc.train.batches import Batches
from lhc.train.checkpoints import Checkpoint
from lhc.train.losses import load_loss
from lhc.train.noisy_network import PARITY, WRITTEN_PARITY, NoisyNetwork
from lhc.train.optimiser_steps import Trainer, clip_weights, device_for
from lhc.train.trained_tensors import find_trained
from lhc.train.training_run import TrainingResult, fit
from tests.runtime.pretended_gpu import pretended_gpu
from tests.train.conftest import Build

pytestmark = pytest.mark.analog

TEXT = "g (float[N, 8] x) => (float[N, 4] y) { a = Gemm (x, w, b)  r = Relu (a)  y = Gemm (r, v, c) }"
STEPS = 30


@pytest.fixture
def model(build: Build, rng: np.random.Generator) -> OnnxModel:
    shapes = {"w": (8, 16), "b": (16,), "v": (16, 4), "c": (4,)}
    return build(TEXT, **{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


def trainer(model: OnnxModel, settings: TrainingOptions, steps: int = STEPS) -> Trainer:
    graph = read_graph(model, {"x": (1, 8)})
    hardware = Hardware.load("lionheart")
    trained = find_trained(model, graph)
    network = NoisyNetwork(model, graph, trained, hardware, 86400.0, settings.noise)
    x = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    labels = np.random.default_rng(2).integers(0, 4, 64)
    batches = Batches(Task({"x": x}, labels, get_metric("accuracy")), settings.batch_size, settings.seed)
    return Trainer(network, batches, load_loss(settings.loss), settings, "y", steps)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.uint64, np.int32])
def test_labels_of_any_whole_numbers_train(model: OnnxModel, kind: type) -> None:
    settings = TrainingOptions(steps=1, batch_size=16, loss="cross-entropy")
    made = trainer(model, settings)
    labels = np.asarray(made.batches.task.targets)
    made.batches = replace(made.batches, task=replace(made.batches.task, targets=labels.astype(kind)))
    expected = trainer(model, settings)
    for one in (made, expected):
        one.begin(["Gemm_0"])
    assert made.train_step(0.0) == expected.train_step(0.0)


def test_a_loss_that_is_not_finite_at_the_first_step_is_not_put_down_to_the_learning_rate(model: OnnxModel) -> None:
    made = trainer(model, TrainingOptions(steps=1, batch_size=16))
    made.batches = replace(made.batches, task=replace(made.batches.task, inputs={"x": np.full((64, 8), 3e38, "f")}))
    made.begin(["Gemm_0"])
    with pytest.raises(ModelError, match=r"at the first step of training the loss is nan, .* look for samples"):
        made.train_step(0.0)
    made.begin(["Gemm_0"], first=1)  # a later round begins with weights that were trained
    with pytest.raises(ModelError, match=r"diverged at step 1: the loss is nan, .* \(--lr\)"):
        made.train_step(0.0)


def test_an_output_of_whole_numbers_is_refused(build: Build) -> None:
    text = "g (float[N, 8] x) => (int64[N] y) { a = MatMul (x, w)  y = ArgMax <axis = 1, keepdims = 0> (a) }"
    made = trainer(build(text, w=np.eye(8, dtype=np.float32)), TrainingOptions(steps=1, batch_size=16))
    with pytest.raises(ModelError, match=r"output 'y' holds whole numbers, which have no gradient"):
        made.check(*made.batches.batch(0))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_labels_have_their_share_of_the_loss(model: OnnxModel, share: float) -> None:
    """Without noise a step's loss is that of the digital network: no divergence, and cross-entropy with the labels."""
    mixed = trainer(model, TrainingOptions(batch_size=64, seed=3, label_share=share))
    mixed.begin(())
    feeds, labels = mixed.batches.batch(0)
    (logits,) = observe_tensors(model, ["y"], feeds).values()
    expected = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(np.asarray(labels)))

    assert mixed.train_step(0.0) == pytest.approx(share * float(expected), abs=1e-5)


def test_a_share_of_labels_needs_labels(model: OnnxModel) -> None:
    mixed = trainer(model, TrainingOptions(batch_size=64, label_share=0.3))
    mixed.begin(())

    with pytest.raises(DataError, match="--label-share needs labels and the training data has none"):
        mixed.check(mixed.batches.batch(0)[0], None)


def analog(model: OnnxModel) -> list[str]:
    return [layer.name for layer in read_graph(model, {"x": (1, 8)}).candidates]


def length(weights: object) -> float:
    """A validation that costs nothing: the size of all weights."""
    assert isinstance(weights, dict)
    return float(sum(np.abs(value).sum() for value in weights.values()))


def same(a: TrainingResult, b: TrainingResult) -> bool:
    return all(np.array_equal(a.weights[name], b.weights[name]) for name in a.weights) and a.curve == b.curve


def test_the_loss_under_noise_falls(model: OnnxModel) -> None:
    settings = TrainingOptions(batch_size=32, learning_rate=0.02, validations=10, seed=3)
    fitted = fit(trainer(model, settings, 150), analog(model), settings, 150, length)
    losses = [point.loss for point in fitted.curve if point.loss is not None]
    assert len(losses) == 10
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:2])


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_seed_decides_the_result(model: OnnxModel, optimizer: str) -> None:
    def run(seed: int) -> TrainingResult:
        settings = TrainingOptions(batch_size=32, seed=seed, optimizer=optimizer)  # type: ignore[arg-type]
        return fit(trainer(model, settings), analog(model), settings, STEPS, length)

    assert same(run(0), run(0))
    assert not same(run(0), run(1))


@pytest.mark.parametrize(("steps", "seen"), [(3, 3 * 32), (20, 64)])
def test_the_digital_network_answers_once_for_every_sample(
    model: OnnxModel, monkeypatch: pytest.MonkeyPatch, steps: int, seen: int
) -> None:
    """Where samples are trained on more than once; its answers are those of the batches all the same."""
    settings = TrainingOptions(batch_size=32, seed=3, ramp=0.0)
    answered: list[int] = []

    def losses() -> list[float]:
        one = trainer(model, settings, steps)
        one.begin(analog(model))
        answer = one.network.digital

        def counted(feeds: dict[str, np.ndarray], output: str) -> torch.Tensor:
            answered.append(len(feeds["x"]))
            return answer(feeds, output)

        monkeypatch.setattr(one.network, "digital", counted)
        return [one.train_step(1.0) for _ in range(steps)]

    kept = losses()
    assert sum(answered) == seen
    monkeypatch.setattr("lhc.train.optimiser_steps._KEPT_ANSWERS", 0)
    assert kept == pytest.approx(losses(), rel=1e-4)


def test_what_is_distilled_is_the_network_before_training(model: OnnxModel) -> None:
    one = trainer(model, TrainingOptions(batch_size=32, seed=3, ramp=0.0))
    feeds, _ = one.batches.batch(0)
    before = one.network.digital(feeds, "y")
    expected = observe_tensors(model, ["y"], feeds)["y"]
    np.testing.assert_allclose(before.numpy(), expected, rtol=1e-5, atol=1e-5)
    one.begin(analog(model))
    weights = one.network.weights()
    one.train_step(1.0)
    assert all(not np.array_equal(now, weights[name]) for name, now in one.network.weights().items())
    assert torch.equal(one.network.digital(feeds, "y"), before)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("cut", [1, 9, 26])
def test_a_training_that_was_cut_off_ends_with_the_same_weights(
    model: OnnxModel, tmp_path: Path, optimizer: str, cut: int
) -> None:
    settings = TrainingOptions(batch_size=32, optimizer=optimizer, validations=3)  # type: ignore[arg-type]
    whole = fit(trainer(model, settings), analog(model), settings, STEPS, length)
    checkpoint = Checkpoint.of(tmp_path, {"cut": cut})

    def stop(what: str, done: int, total: int) -> None:
        if done == cut:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trainer(model, settings), analog(model), settings, STEPS, length, checkpoint, stop)
    steps: list[int] = []

    def count(what: str, done: int, total: int) -> None:
        steps.append(done)

    again = fit(trainer(model, settings), analog(model), settings, STEPS, length, checkpoint, count)
    assert same(whole, again)
    assert len(steps) == STEPS - (cut // 10 * 10 if cut < 25 else 25)
    assert same(fit(trainer(model, settings), analog(model), settings, STEPS, length, checkpoint), again)


def test_patience_ends_early_with_the_weights_of_the_best_validation(model: OnnxModel) -> None:
    settings = TrainingOptions(batch_size=32, validations=10, patience=2)
    drops = iter([0.5, 0.4, 0.3, 0.35, 0.3001, 0.1])
    seen: list[dict[str, Array]] = []

    def validate(weights: object) -> float:
        assert isinstance(weights, dict)
        seen.append(weights)
        return next(drops)

    fitted = fit(trainer(model, settings), analog(model), settings, STEPS, validate)
    assert [point.drop for point in fitted.curve] == [0.5, 0.4, 0.3, 0.35, 0.3001]
    assert fitted.step == 6
    assert all(np.array_equal(fitted.weights[name], seen[2][name]) for name in seen[2])


def test_noise_grows_with_the_ramp(model: OnnxModel) -> None:
    settings = TrainingOptions(batch_size=32, ramp=0.5, validations=1)
    one = trainer(model, settings, 8)
    strengths = []
    step = one.train_step

    def watched(strength: float) -> float:
        strengths.append(strength)
        return step(strength)

    one.train_step = watched  # type: ignore[method-assign]
    fit(one, analog(model), settings, 8, length)
    assert strengths == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]


def test_divergence_says_what_to_do(model: OnnxModel) -> None:
    settings = TrainingOptions(batch_size=32, optimizer="sgd", learning_rate=1e14)
    with pytest.raises(ModelError, match="--lr"):
        fit(trainer(model, settings), analog(model), settings, STEPS, length)


def test_a_network_that_answers_nan_after_a_step_has_diverged(model: OnnxModel) -> None:
    def validate(weights: Mapping[str, Array]) -> float:
        raise NotFiniteError("the digital network gives NaN")

    def later(weights: Mapping[str, Array]) -> float:
        return validate(weights) if one.step else 0.0

    settings = TrainingOptions(batch_size=32, validations=STEPS)
    one = trainer(model, settings)
    with pytest.raises(NotFiniteError, match="gives NaN"):  # of the weights as given: the samples are at fault
        fit(trainer(model, settings), analog(model), settings, STEPS, validate)
    with pytest.raises(ModelError, match=r"diverged at step 1: the digital network gives NaN; .* \(--lr\), 0\.001"):
        fit(one, analog(model), settings, STEPS, later)


def test_a_loss_that_needs_targets_says_so(model: OnnxModel) -> None:
    settings = TrainingOptions(batch_size=32, loss="cross-entropy")
    one = trainer(model, settings)
    one.batches.task = Task(one.batches.task.inputs, None, get_metric("agreement"))
    with pytest.raises(DataError, match="--label-key"):
        fit(one, analog(model), settings, STEPS, length)


def test_weights_are_clipped_where_the_hardware_says_so(model: OnnxModel) -> None:
    base = Hardware.load("lionheart")
    hardware = base.model_copy(update={"training": base.training.model_copy(update={"clip_sigma": 1.0})})
    graph = read_graph(model, {"x": (1, 8)})
    network = NoisyNetwork(model, graph, find_trained(model, graph), hardware, 86400.0)
    network.place(analog(model)[:1])
    before = network.weights()
    clip_weights(network)
    after = network.weights()
    np.testing.assert_allclose(np.abs(after["w"]).max(), before["w"].std(ddof=1), rtol=1e-5)
    assert np.array_equal(after["v"], before["v"])


@pytest.mark.parametrize(("apart", "before", "after"), [(2e-4, True, True), (2e-3, False, True), (2e-2, False, False)])
def test_trained_weights_may_round_more_than_the_network_as_it_was(
    model: OnnxModel, monkeypatch: pytest.MonkeyPatch, apart: float, before: bool, after: bool
) -> None:
    """A difference that stops a training before it begins does not throw it away when it is over."""
    graph = read_graph(model, {"x": (1, 8)})
    network = NoisyNetwork(model, graph, find_trained(model, graph), Hardware.load("lionheart"), 86400.0)
    monkeypatch.setattr("lhc.train.noisy_network.parity", lambda *_: {"y": apart})
    for exact, passes in ((PARITY, before), (WRITTEN_PARITY, after)):
        with nullcontext() if passes else pytest.raises(ModelError, match="'y' differs between onnxruntime"):
            network.check({}, exact)


def test_a_gpu_that_cannot_run_the_network_is_not_used(
    model: OnnxModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = trainer(model, TrainingOptions(batch_size=32)).network
    feeds = {"x": np.zeros((2, 8), np.float32)}
    assert device_for(network, feeds).type == "cpu"
    move = network.to

    def refuse(device: torch.device) -> None:
        if device.type != "cpu":
            raise RuntimeError("out of memory")
        move(device)

    monkeypatch.setattr(network, "to", refuse)
    with pretended_gpu(monkeypatch):
        assert device_for(network, feeds).type == "cpu"
    assert "out of memory" in caplog.text
    assert network.device.type == "cpu"


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint = Checkpoint.of(tmp_path, {})
    checkpoint.path.write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match=str(checkpoint.path)):
        checkpoint.read()


def test_checkpoints_of_different_trainings_are_different_files(tmp_path: Path) -> None:
    assert Checkpoint.of(tmp_path, {"seed": 0}).path != Checkpoint.of(tmp_path, {"seed": 1}).path


@pytest.mark.slow
def test_a_killed_command_writes_the_same_file_when_it_is_started_again(tmp_path: Path) -> None:
    """SIGKILL in the middle of the training, more than once."""
    model = tmp_path / "digits.lhc.onnx"
    lhc.partition("digits-narrow", strategy="all-analog", draws=2).save(model)
    command = [sys.executable, "-m", "lhc", "retrain", str(model), "--data", str(tmp_path / "train.npz")]
    command += ["--steps", "60", "--draws", "2", "--batch-size", "64", "--validations", "2", "--max-drop", "100%"]
    task = zoo_entry("digits").task()
    np.savez(tmp_path / "train.npz", x=np.asarray(task.inputs["x"][:]), labels=np.asarray(task.targets))
    environment = {**os.environ, "LHC_CACHE": str(tmp_path / "cache")}
    whole, parts = tmp_path / "whole.onnx", tmp_path / "parts.onnx"
    subprocess.run([*command, "-o", str(whole)], check=True, env=environment, capture_output=True)
    folder = tmp_path / "states"
    last = ""
    for _ in range(2):
        with subprocess.Popen([*command, "-o", str(parts), "--checkpoint", str(folder)], env=environment) as process:
            deadline = time.monotonic() + 300
            while process.poll() is None and time.monotonic() < deadline:
                state = "".join(f"{path}{path.stat().st_mtime_ns}" for path in folder.glob("*.pt"))
                if state not in ("", last):
                    last = state
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
    assert not parts.exists()
    subprocess.run([*command, "-o", str(parts), "--checkpoint", str(folder)], check=True, env=environment)
    assert parts.read_bytes() == whole.read_bytes()
