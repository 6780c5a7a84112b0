"""Circuits of a machine in compiled models: slices of inputs, digital offsets, currents, mismatch of cells.

Noise off, outputs are the fast engine's but for rounding, and the few that lie on a rounding edge. Noise on, they have
its mean and deviation, by a test that sees deviations that are 3 % off.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from lhc.hardware import Hardware
from lhc.lowering import Noise, lower
from lhc.onnx_io import load_model, read_graph
from lhc.runtime import HybridExecutor, HybridSession
from tests.lowering.compiled_products import ROUNDING, Drawn, check, inputs_of, model_of, plan_of, run, values

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]

BITS = {"cell_bits": 1, "slices": 3, "code": "twos-complement", "columnwise": False}
CIRCUITS: dict[str, dict[str, Any]] = {
    "slices": {"dac": {"bits": 6, "slice_bits": 2}, "adc": {"bits": 7}},
    "slices of unlike bits": {"dac": {"bits": 7, "slice_bits": 4, "scaling": "static"}},
    "slices without ADCs": {
        "dac": {"bits": 5, "slice_bits": 1, "scaling": "none"},
        "adc": {"bits": None, "bound": None},
    },
    "two's complement": {
        "dac": {"bits": 5, "slice_bits": 2, "scaling": "static", "code": "twos-complement"},
        # with a round bound sums of bits would lie just between two codes
        "adc": {"bits": 5, "bound": 6.137, "polarity": "unipolar", "zero_skipping": False},
        "mapping": BITS,
    },
    "unsigned slices": {
        "dac": {"bits": 5, "slice_bits": 1, "scaling": "static", "code": "unsigned"},
        "adc": {"bits": 5, "bound": 6.0, "polarity": "unipolar"},
        "mapping": BITS,
    },
    "slices, offsets of ADCs": {
        "dac": {"bits": 5, "slice_bits": 2, "scaling": "static"},
        "faults": {"column_offset": 0.3},
    },
    "slices, SAR ADCs": {
        "dac": {"bits": 5, "slice_bits": 2, "scaling": "static"},
        "adc": {"bits": 6, "kind": "sar", "capacitor_mismatch": 0.06},
    },
    "digital offset": {
        "devices": {"model": "pcm", "pair": "digital-offset", "g_min_us": 5.0},
        "compensation": {"drift": "global"},
        "adc": {"bits": 10, "bound": 60.0},
    },
    "digital offset, slices": {
        "devices": {"model": "pcm", "pair": "digital-offset"},
        "dac": {"bits": 5, "slice_bits": 2, "scaling": "static"},
        "adc": {"bits": 10, "bound": 60.0},
    },
    "digital offset from 0": {
        "devices": {"model": "pcm", "pair": "digital-offset"},
        "dac": {"bits": 5, "scaling": "static", "code": "unsigned"},
        "adc": {"bits": 9, "bound": 60.0, "polarity": "unipolar"},
    },
    "IR drop": {"currents": {"ir_drop": 1.0, "ir_drop_g_ratio": 300.0}, "dac": {"scaling": "static"}},
    "IR drop, read again": {
        "currents": {"ir_drop": 1.0, "ir_drop_g_ratio": 300.0},
        "adc": {"bits": 7, "bound": 1.5, "bound_management": "iterative"},
    },
    "IR drop, constant read noise": {
        "currents": {"ir_drop": 1.0, "ir_drop_g_ratio": 300.0, "read_noise": 0.1, "read_noise_kind": "constant"},
        "adc": {"bits": 12},
    },
    "IR drop, slices": {
        "currents": {"ir_drop": 1.0, "ir_drop_g_ratio": 100.0},
        "dac": {"bits": 5, "slice_bits": 2, "scaling": "static"},
    },
}


def machine(circuit: dict[str, Any], noise: float = 0.0) -> Hardware:
    base = {
        "dac": {"bits": 8},
        "adc": {"bits": 8, "bound": 12.0, "bound_management": "none"},
        "compensation": {"drift": "none"},
    }
    sections = {name: base.get(name, {}) | circuit.get(name, {}) for name in {**base, **circuit}}
    sections["adc"]["noise"] = noise
    sections["compensation"] = {"copies": False, "outputs": "none"} | sections["compensation"]
    tiles = {"rows": 12, "cols": 4}
    return Hardware.model_validate({"name": "x", "tiles": tiles, "devices": None, "costs": None, **sections})


def drawn(kind: str, count: int = 0) -> Drawn:
    """A layer on some tiles; with a count, the same input so many times."""
    rng, groups = np.random.default_rng(0), 2 if kind == "grouped Conv" else 1
    shape = {"MatMul": (15,), "Conv 1": (6, 9)}.get(kind, (6, 7, 5))
    x = inputs_of(rng, (8 if kind == "MatMul" else 3, *shape), "float32")
    if count:
        x = np.repeat(x[1:2], count, axis=0)
    window = {"MatMul": (), "Conv 1": (2,)}.get(kind, (3, 2))
    weight = values(rng, (15, 6) if kind == "MatMul" else (6, 6 // groups, *window), "float32")
    attributes: dict[str, Any] = {"group": 2} if groups == 2 else {}
    node = helper.make_node(kind.split()[-1] if groups == 2 else kind.split()[0], ["x", "W"], ["y"], **attributes)
    node.name = "layer"
    return Drawn(model_of(node, x, x.ndim, {"W": weight}, 17), x, kind)


@pytest.mark.parametrize("kind", ["MatMul", "Conv", "grouped Conv", "Conv 1"])
@pytest.mark.parametrize("circuit", CIRCUITS)
def test_circuits_are_compiled(kind: str, circuit: str) -> None:
    layer, hardware = drawn(kind), machine(CIRCUITS[circuit])
    if hardware.currents.read_noise > 0:
        quiet = hardware.currents.model_copy(update={"read_noise": 0.0})
        hardware = hardware.model_copy(update={"currents": quiet})
    check(layer, hardware, 0)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_circuits_make_a_difference(circuit: str) -> None:
    """So the comparison would not pass without them."""
    layer = drawn("MatMul")
    found = [_compiled(layer, machine(one), "off") for one in (CIRCUITS[circuit], {})]
    outputs = [run(proto, {"x": layer.x}) for proto in found]
    assert np.mean(np.abs(outputs[0] - outputs[1]) > 100 * ROUNDING * np.abs(outputs[0])) > 0.3


def _compiled(layer: Drawn, hardware: Hardware, noise: Noise) -> onnx.ModelProto:
    model = load_model(layer.model)
    graph = read_graph(model, sizes=False)
    inputs = HybridExecutor(model, graph, ["layer"]).layers[0].matrix_shape[0]
    plan = plan_of(model, graph, hardware, (1.3,) * -(-inputs // hardware.tiles.rows))
    matrices = HybridExecutor(model, graph, plan.analog, plan.ranges).states(hardware, 0, 0, hardware.t_inference_s)
    return lower(model, graph, plan, matrices, noise)


MODES: tuple[Noise, ...] = ("on", "off")
PLAIN: dict[str, Any] = {"bits": None, "bound": None}
NOISY: dict[str, tuple[dict[str, Any], float]] = {
    "read noise of devices": ({"currents": {"read_noise": 0.1}, "adc": PLAIN}, 0.05),
    "read noise alone, read again": (
        {"currents": {"read_noise": 0.1}, "adc": {"bits": 10, "bound": 2.0, "bound_management": "iterative"}},
        0.0,
    ),
    "slices": ({"dac": {"bits": 5, "slice_bits": 1, "scaling": "static"}, "adc": PLAIN}, 0.2),
    "mismatch of cells": ({"adc": {"bits": 7, "cell_mismatch": 2.0}, "dac": {"scaling": "static"}}, 0.2),
    "sums from 0 in two's complement": (
        {**CIRCUITS["two's complement"], "adc": CIRCUITS["two's complement"]["adc"] | {"cell_mismatch": 1.0}},
        0.2,
    ),
    "digital offset": (CIRCUITS["digital offset"] | {"adc": PLAIN}, 0.2),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["MatMul", "Conv"])
@pytest.mark.parametrize("circuit", NOISY)
def test_noise_of_circuits_is_the_engine_s(circuit: str, kind: str) -> None:
    """Deviations of all outputs together are known to 0.3 % and better; 3 % more are told apart.

    Means are within five standard errors: one of 10^5 such tests would fail.
    """
    fields, sigma = NOISY[circuit]
    layer, hardware = drawn(kind, 20_000 if kind == "MatMul" else 3_000), machine(fields, sigma)
    compiled = _noise(layer, hardware)
    model = load_model(layer.model)
    graph = read_graph(model, sizes=False)
    inputs = HybridExecutor(model, graph, ["layer"]).layers[0].matrix_shape[0]
    plan = plan_of(model, graph, hardware, (1.3,) * -(-inputs // hardware.tiles.rows))
    (engine,) = HybridSession(model, hardware, plan, seed=0).run(None, {"x": layer.x})
    error = np.sqrt((compiled.var(0) + engine.var(0)) / len(layer.x))
    assert (np.abs(compiled.mean(0) - engine.mean(0)) < 5 * error + 1e-5).all()
    ratio = np.sqrt(compiled.var(0).sum() / engine.var(0).sum())
    assert abs(ratio - 1) < 0.015
    assert abs(1.03 * ratio - 1) > 0.015


def _noise(layer: Drawn, hardware: Hardware) -> Array:
    """Outputs of the compiled layer with deviates that are fed; drawn ones take the same way."""
    proto = _compiled(layer, hardware, "input")
    (value,) = (one for one in proto.graph.input if one.name == "layer.deviates")
    shape = [one.dim_value for one in value.type.tensor_type.shape.dim]
    still = run(_compiled(layer, hardware, "off"), {"x": layer.x})
    deviates = np.random.default_rng(7).standard_normal((shape[0], *still.shape), np.float32)
    return run(proto, {"x": layer.x, "layer.deviates": deviates})


def test_circuits_draw_noise_of_their_own() -> None:
    layer, hardware = drawn("Conv", 50), machine(CIRCUITS["slices of unlike bits"], 0.2)
    (found, still) = (run(_compiled(layer, hardware, noise), {"x": layer.x}) for noise in MODES)
    assert found.std(0).min() > 1e-3 > still.std(0).max()
