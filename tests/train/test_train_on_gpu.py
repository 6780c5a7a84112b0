"""Training on a GPU that is pretended: nothing meets a tensor of the processor, and steps can be taken up again."""

from pathlib import Path

import numpy as np
import pytest
import torch

import lhc
from lhc.hardware import Adc, Dac, Faults, Hardware, Mapping
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.models import zoo_entry
from lhc.onnx_io import read_graph
from lhc.onnx_model import OnnxModel
from lhc.options.training import TrainingOptions
from lhc.runtime.gradients import network as differentiable
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.train.batches import Batches
from lhc.train.checkpoints import Checkpoint
from lhc.train.losses import load_loss
from lhc.train.noisy_network import NoisyNetwork
from lhc.train.optimiser_steps import Trainer, device_for
from lhc.train.trained_tensors import find_trained
from lhc.train.training_run import fit
from tests.runtime.pretended_gpu import pretended_gpu
from tests.train.conftest import Build

pytestmark = pytest.mark.analog

TEXT = """g (float[N, 2, 6, 6] x) => (float[N, 4] y) {
  [conv] a = Conv <pads = [1, 1, 1, 1]> (x, w, b)  r = Relu (a)  f = Flatten (r)  [fc] y = Gemm (f, v, c)
}"""
SHAPES = {"w": (3, 2, 3, 3), "b": (3,), "v": (108, 4), "c": (4,)}
LIONHEART = Hardware.load("lionheart")
PLAIN = Compensation(outputs="none", copies=False)


def _machine(**sections: object) -> Hardware:
    return LIONHEART.model_copy(update={"compensation": PLAIN, **sections})


MACHINES = {
    "calibrated": LIONHEART,
    "only means": _machine(compensation=Compensation(outputs="offset")),
    "gains by columns": _machine(compensation=Compensation(drift="per-column")),
    "static ranges": _machine(dac=Dac(scaling="static")),
    "faults": _machine(faults=Faults(column_offset=0.05)),
    "currents": _machine(currents=Currents(read_noise=0.05)),
    "slices of weights": _machine(devices=None, mapping=Mapping(cell_bits=2, slices=3)),
    "voltages": Hardware.load("neurram"),
    "clipped weights": Hardware.load("afm"),
}


@pytest.fixture
def model(build: Build, rng: np.random.Generator) -> OnnxModel:
    return build(TEXT, **{name: 0.3 * rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()})


def trainer(model: OnnxModel, settings: TrainingOptions, hardware: Hardware = LIONHEART, steps: int = 4) -> Trainer:
    graph, rng = read_graph(model, {"x": (1, 2, 6, 6)}), np.random.default_rng(1)
    x = rng.normal(size=(32, 2, 6, 6)).astype(np.float32)
    labels = rng.normal(size=(32, 4)) if settings.loss == "mse" else rng.integers(0, 4, 32)
    ranges = dict.fromkeys(("conv", "fc"), (2.0,)) if hardware.needs_calibration else {}
    network = NoisyNetwork(model, graph, find_trained(model, graph), hardware, 86400.0, settings.noise, ranges, COPIES)
    network.to(device_for(network, {"x": x[:2]}))
    batches = Batches(Task({"x": x}, labels, get_metric("accuracy")), settings.batch_size, settings.seed)
    return Trainer(network, batches, load_loss(settings.loss), settings, "y", steps)


COPIES = {"conv": 3}
OPTIONS = {
    "adam": TrainingOptions(batch_size=8),
    "sgd": TrainingOptions(batch_size=8, optimizer="sgd"),
    "preset noise": TrainingOptions(batch_size=8, noise="preset"),
    "cross-entropy": TrainingOptions(batch_size=8, loss="cross-entropy"),
    "mse": TrainingOptions(batch_size=8, loss="mse"),
}


def steps(one: Trainer) -> dict[str, np.ndarray]:
    one.check(*one.batches.task.read(0, 2))
    one.begin(("conv", "fc"))
    assert all(np.isfinite(one.train_step(1.0)) for _ in range(one.horizon))
    return one.network.weights()


@pytest.mark.parametrize("name", MACHINES)
def test_machines_are_trained_for_on_a_gpu(name: str, model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_gpu(monkeypatch) as computed:
        one = trainer(model, OPTIONS["adam"], MACHINES[name])
        assert one.network.device.type == "cuda"
        before = one.network.weights(every=True)
        computed.clear()
        after = steps(one)
        assert computed["backward"] > 0
    assert before.keys() == after.keys()
    assert all((before[key] != after[key]).any() for key in before)


@pytest.mark.parametrize("name", ["calibrated", "static ranges", "slices of weights"])
def test_what_draws_no_noise_otherwise_is_trained_as_on_the_processor(
    name: str, model: OnnxModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor draws noise of outputs, and chips of devices, by loops of its own; all else is torch's there."""
    quiet = {"adc": Adc(bits=None, bound=None, noise=0.0), "dac": Dac(bits=None, scaling=MACHINES[name].dac.scaling)}
    machine = MACHINES[name].model_copy(update=quiet)
    here = steps(trainer(model, OPTIONS["preset noise"], machine))
    with pretended_gpu(monkeypatch):
        there = steps(trainer(model, OPTIONS["preset noise"], machine))
    for key, value in here.items():
        np.testing.assert_array_equal(there[key], value)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_seed_gives_the_same_weights_on_a_gpu(name: str, model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_gpu(monkeypatch):
        first, again = (steps(trainer(model, OPTIONS[name])) for _ in range(2))
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_training_that_was_cut_off_on_a_gpu_goes_on(
    optimizer: str, model: OnnxModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingOptions(batch_size=8, validations=4, optimizer=optimizer)  # type: ignore[arg-type]
    checkpoint = Checkpoint.of(tmp_path, {})

    def stop(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pretended_gpu(monkeypatch):
        whole = fit(trainer(model, settings), ("conv", "fc"), settings, 4, lambda _: 0.0)
        with pytest.raises(KeyboardInterrupt):
            fit(trainer(model, settings), ("conv", "fc"), settings, 4, lambda _: 0.0, checkpoint, stop)
        again = fit(trainer(model, settings), ("conv", "fc"), settings, 4, lambda _: 0.0, checkpoint)
    for key, value in whole.weights.items():
        np.testing.assert_array_equal(again.weights[key], value)


def test_a_network_that_the_gpu_cannot_run_is_trained_on_the_processor(
    model: OnnxModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def mixing(_: object, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) + torch.from_numpy(np.zeros(x.shape, np.float32))

    monkeypatch.setattr(differentiable, "OPERATORS", {**differentiable.OPERATORS, "Relu": mixing})
    with pretended_gpu(monkeypatch) as computed:
        one = trainer(model, OPTIONS["adam"])
        computed.clear()
        steps(one)
        assert sum(computed.values()) == 0
    assert "training on the CPU, since the GPU cannot run the network" in caplog.text
    assert "fails in torch on cuda:0: add: expected all tensors to be on the same device" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"adapters": 2}], ids=["weights", "adapters"])
def test_the_command_trains_on_a_gpu_and_says_so(
    more: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lhc.partition("digits-narrow", strategy="all-analog", draws=2, samples=60, max_drop="100%").save(
        tmp_path / "p.onnx"
    )
    task = zoo_entry("digits").task()
    np.savez(tmp_path / "d.npz", x=np.asarray(task.inputs["x"][:]), labels=np.asarray(task.targets))
    asked = {
        "data": tmp_path / "d.npz",
        "steps": 3,
        "samples": 160,
        "draws": 2,
        "batch_size": 32,
        "max_drop": "100%",
        "validations": 1,
        **more,
    }
    with pretended_gpu(monkeypatch) as computed:
        lhc.retrain(tmp_path / "p.onnx", checkpoint=tmp_path / "states", **asked)  # type: ignore[arg-type]
    assert computed["backward"] == 3
    assert caplog.text.count("training computes on GPU X") == 1
    here = {path.name for path in (tmp_path / "states").iterdir()}
    lhc.retrain(tmp_path / "p.onnx", checkpoint=tmp_path / "states", **asked)  # type: ignore[arg-type]
    assert len({path.name for path in (tmp_path / "states").iterdir()} - here) == 1
