"""Compiled networks against the emulation that they were made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from lhc.hardware import Hardware
from lhc.lowering import CompiledModel
from lhc.lowering.chip_calibration import ChipCalibration
from lhc.pipeline.inputs.placement_source import NetworkPlacement
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime import HybridExecutor
from lhc.runtime.engines.protocol import Position
from lhc.runtime.programmed_layers import ProgrammedLayers

Array = npt.NDArray[Any]


def quiet(hardware: Hardware) -> Hardware:
    """Without noise of products. Devices are programmed and read out on the noisy machine."""
    currents = hardware.currents.model_copy(update={"read_noise": 0.0})
    return hardware.model_copy(update={"adc": hardware.adc.model_copy(update={"noise": 0.0}), "currents": currents})


@dataclass(frozen=True)
class Agreement:
    """How a compiled network compares, noise off.

    Attributes:
        moved: layer -> share of its outputs that differ by more than float rounding, on the same input.
        layer_error: greatest difference of a layer's output, relative to its greatest.
        flips: samples whose prediction (greatest of the last axis of the first output) differs.
        own_flips: those of the emulation against itself, its last bits changed in every layer.
        samples: predictions compared.
        outputs: of the compiled network.
        expected: of the emulation.
    """

    moved: Mapping[str, float]
    layer_error: float
    flips: int
    own_flips: int
    samples: int
    outputs: list[Array]
    expected: list[Array]


def run_plain(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def compare(placed: NetworkPlacement, compiled: CompiledModel, feeds: Mapping[str, Array]) -> Agreement:
    """Every analog layer on the input that it has in the compiled network, then the whole network."""
    plan = placed.plan
    executor = HybridExecutor(placed.model, placed.graph, plan.analog, plan.ranges, plan.copies)
    chip = compiled.chip
    assert chip.t_s is not None
    states = executor.states(plan.hardware, chip.seed, chip.draw, chip.t_s)
    block, corrections = placed.calibration, {}
    if block is not None:
        of_chips = ChipCalibration.of(placed.model, placed.graph, plan, executor, block, chip.seed, chip.t_s)
        corrections = of_chips.corrections(chip.draw)
    programmed = replace(
        executor.on_chips([states], quiet(plan.hardware), chip.seed, [chip.draw]), corrections=(corrections,)
    )
    inner = [t for layer in executor.layers for t in (layer.activation, *layer.digital_inputs, layer.output)]
    tensors = run_plain(_with_outputs(compiled.proto, inner), feeds) | dict(feeds)
    start = Position(0, len(next(iter(feeds.values()))))
    moved, layer_error = {}, 0.0
    for layer in executor.layers:
        (wanted,) = executor.run_layer(
            layer, tensors, _products(programmed), start, programmed.corrections_of(layer.name)
        )
        error = np.abs(tensors[layer.output].astype(np.float64) - wanted)
        greatest = float(np.abs(wanted).max()) or 1.0
        moved[layer.name] = float((error > 1e-5 * greatest).mean())
        layer_error = max(layer_error, float(error.max()) / greatest)
    expected = next(executor.finish(executor.prefix(dict(feeds)), programmed, start))
    outputs = [tensors[name] for name in placed.graph.outputs]
    moved_bits = replace(
        executor.on_chips([_last_bits_moved(states)], quiet(plan.hardware), chip.seed, [chip.draw]),
        corrections=(corrections,),
    )
    again = next(executor.finish(executor.prefix(dict(feeds)), moved_bits, start))
    flips, own = (each.argmax(-1) != expected[0].argmax(-1) for each in (outputs[0], again[0]))
    return Agreement(moved, layer_error, int(flips.sum()), int(own.sum()), flips.size, outputs, expected)


def _last_bits_moved(states: Mapping[str, ProgrammedMatrix]) -> dict[str, ProgrammedMatrix]:
    """The same tiles with digital scales that differ in their last bits.

    Summing n products in another order moves a float32 sum by about sqrt(n) / 2 of its last bits: 8 with 256 rows.
    """
    rng = np.random.default_rng(0)

    def moved(scales: Array) -> Array:
        factors = 1 + 8 * 2.0**-24 * rng.standard_normal(scales.shape)
        return (scales * factors).astype(np.float32)

    return {
        name: replace(
            matrix, tiles=tuple(tuple(replace(t, scales=moved(t.scales)) for t in row) for row in matrix.tiles)
        )
        for name, matrix in states.items()
    }


def _products(programmed: ProgrammedLayers) -> dict[str, Any]:
    return {**programmed.together, **programmed.chips[0]}


def _with_outputs(proto: onnx.ModelProto, tensors: list[str]) -> onnx.ModelProto:
    """More outputs; those that are inputs or stored are left out."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    known = {v.name for v in (*copy.graph.input, *copy.graph.output)} | {t.name for t in copy.graph.initializer}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(tensors) if name not in known)
    return copy


@pytest.fixture
def agreement() -> Callable[[NetworkPlacement, CompiledModel, Mapping[str, Array]], Agreement]:
    return compare
