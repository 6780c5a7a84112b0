"""Training of networks that have samples elsewhere than on the first axis, or take one a call."""

from collections.abc import Mapping

import numpy as np
import pytest

from lhc.hardware import Hardware
from lhc.onnx_io import read_graph
from lhc.onnx_model import OnnxModel
from lhc.options.training import TrainingOptions
from lhc.samples.metrics import get_metric
from lhc.samples.sample_axis import SampleAxis, SampleLayout
from lhc.samples.task import Array, Task
from lhc.train.training_setup import TrainingSetup
from tests.train.conftest import Build

pytestmark = pytest.mark.analog

SWAPPED = "{} = Transpose<perm = [1, 0, 2]> ({})"
TEXT = """g (float[TAKEN] x) => (float[GIVEN] y) {
  FIRST
  [a] h = MatMul (b, w)  [r] r = Relu (h)  [c] z = MatMul (r, v)
  LAST
}"""
STEPS = 4
CASES: dict[str, tuple[str, str, str, str, dict[str, SampleAxis], dict[str, SampleAxis]]] = {
    "samples first": ("N, 5, 6", "N, 5, 4", "{} = Identity ({})", "{} = Identity ({})", {}, {}),
    "input and output": ("5, N, 6", "5, N, 4", SWAPPED, SWAPPED, {"x": 1}, {"y": 1}),
    "of a fixed batch": ("5, 4, 6", "5, 4, 4", SWAPPED, SWAPPED, {"x": 1}, {"y": 1}),
    "a call": ("5, 6", "5, 4", "{} = Unsqueeze ({}, first)", "{} = Squeeze ({}, first)", {"x": "call"}, {"y": "call"}),
    "a call by its output": ("1, 5, 6", "5, 4", "{} = Identity ({})", "{} = Squeeze ({}, first)", {}, {"y": "call"}),
    "a call by its input": ("5, 6", "1, 5, 4", "{} = Unsqueeze ({}, first)", "{} = Identity ({})", {"x": "call"}, {}),
}
"""What the network takes and gives, how it begins and ends, and where it has samples."""


def model_of(build: Build, given: str, answer: str, first: str, last: str) -> OnnxModel:
    text = TEXT.replace("TAKEN", given).replace("GIVEN", answer)
    text = text.replace("FIRST", first.format("b", "x")).replace("LAST", last.format("y", "z"))
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(6, 16)), "v": rng.normal(size=(16, 4))}
    return build(text, first=np.zeros(1, np.int64), **{name: a.astype(np.float32) for name, a in weights.items()})


def trained(model: OnnxModel, layout: SampleLayout, loss: str) -> Mapping[str, Array]:
    """Weights after a few steps."""
    x = np.random.default_rng(1).normal(size=(16, 5, 6)).astype(np.float32)
    labels = np.random.default_rng(2).integers(0, 4, (16, 5))
    task = Task({"x": x}, labels, get_metric("accuracy"), layout=layout)
    settings = TrainingOptions(batch_size=8, seed=3, ramp=0.0, loss=loss)
    shape = next(iter(layout.feeds({"x": x[:1]}).values())).shape
    graph = read_graph(model, {"x": shape if static(model) is None else static(model)})  # type: ignore[dict-item]
    plan = TrainingSetup(model, graph, Hardware.load("ideal"), {}, 86400.0, task, settings, lambda *_: None, "y")
    trainer = plan.trainer(STEPS)
    trainer.begin([layer.name for layer in graph.candidates])
    for _ in range(STEPS):
        trainer.train_step(1.0)
    return trainer.network.weights()


def static(model: OnnxModel) -> tuple[int, ...] | None:
    sizes = tuple(dim.dim_value for dim in model.proto.graph.input[0].type.tensor_type.shape.dim)
    return sizes if all(sizes) else None


@pytest.mark.parametrize("loss", ["cross-entropy", "distillation"])
@pytest.mark.parametrize("case", list(CASES)[1:])
def test_weights_are_those_of_the_network_with_samples_first(build: Build, case: str, loss: str) -> None:
    found, wanted = (
        trained(model_of(build, *texts), SampleLayout(inputs, outputs), loss)
        for *texts, inputs, outputs in (CASES[case], CASES["samples first"])
    )
    assert found.keys() == wanted.keys()
    for name, weight in wanted.items():
        # Sums of float32 in another order; Adam divides by their size.
        np.testing.assert_allclose(found[name], weight, rtol=1e-3, atol=1e-4, err_msg=name)
