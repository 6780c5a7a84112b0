"""A network of six products of every kind, and evaluators of it, for tests of predictions from gradients."""

from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from lhc.hardware import Hardware
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.measure import PlacementEvaluator, Running
from lhc.measure.evaluation_context import Block
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.passes.decide.copies import Copies
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

__all__ = ["LAYERS", "LIONHEART", "NETWORK", "healed", "make_evaluator", "network", "quiet", "task"]

LIONHEART = Hardware.load("lionheart")
NETWORK = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 2, 6, 6] x) => (float[N, 5] y) {
  [stem] c = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
  a = Relu (c)
  [body] d = Conv <strides = [2, 2]> (a, w1)
  e = Relu (d)
  f = Flatten (e)
  [narrow] g = Gemm (f, w2, b2)
  h = Tanh (g)
  [square] i = MatMul (h, w3)
  j = Tanh (i)
  [again] k = MatMul (j, w3)
  [head] y = MatMul (k, w4)
}"""
SHAPES = {"w0": (8, 2, 3, 3), "b0": (8,), "w1": (6, 8, 2, 2), "w2": (54, 7), "b2": (7,), "w3": (7, 7), "w4": (7, 5)}
LAYERS = ("stem", "body", "narrow", "square", "again", "head")


def network(text: str = NETWORK) -> OnnxModel:
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(3)
    for name, shape in SHAPES.items():
        fan_in = int(np.prod(shape[1:] if len(shape) == 4 else shape[:1]))
        array = (rng.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return load_model(model)


def task(metric: str, samples: int = 60) -> Task:
    x = np.random.default_rng(1).normal(size=(samples, 2, 6, 6)).astype(np.float32)
    return Task({"x": x}, None, get_metric(metric))


def make_evaluator(
    metric: str = "kl",
    hardware: Hardware = LIONHEART,
    running: Running | None = None,
    samples: int = 60,
    draws: int = 4,
    seed: int = 0,
) -> PlacementEvaluator:
    model = network()
    graph, running = read_graph(model), running or Running()
    return PlacementEvaluator(model, graph, hardware, task(metric, samples), seed, draws, t_s=86400.0, running=running)


def quiet(factor: float) -> Hardware:
    """The default hardware with all noise scaled by a factor, and finer converters."""
    assert LIONHEART.devices is not None
    scales = {"programming_noise_scale": factor, "read_noise_scale": factor}
    return LIONHEART.model_copy(
        update={
            "devices": LIONHEART.devices.model_copy(update=scales),
            "dac": LIONHEART.dac.model_copy(update={"bits": 12}),
            "adc": LIONHEART.adc.model_copy(update={"bits": 14, "noise": 0.06 * factor}),
        }
    )


def healed(compensation: Compensation, metric: str = "kl") -> PlacementEvaluator:
    """An evaluator of which the layers are healed so."""
    here = make_evaluator(metric, quiet(0.2).model_copy(update={"compensation": compensation}), draws=6)
    x = np.random.default_rng(8).normal(size=(64, 2, 6, 6)).astype(np.float32)
    samples = Block(0, 64, {"x": x}, None, "calibration")
    calibration = None if compensation.outputs == "none" else samples
    rows = {layer.name: layer.matrix.rows for layer in here.graph.candidates if layer.matrix is not None}
    copies = Copies({name: here.hardware.free_copies(name, count) for name, count in rows.items()})
    return replace(here, copies=copies, calibration=calibration)
