"""A placed network as digital and analog sub-models, for back ends that run each on its own machine.

A folder with one ONNX model for every digital segment and one for every analog layer, ``index.json`` (order, tensors,
tiles) and ``conductances.npz``. For the tile at (row, column) of analog layer i, arrays are named ``i/row/column/``:

    rows        which of its inputs drives each row of the tile, (rows,); with copies an input drives several
    target      mapped weights before programming, (outputs, rows), 1 is the full scale
    programmed  after programming and drift of one chip, the sum over rows of the same input, (outputs, inputs)
    scales      digital factor of each output: weight = sum of targets · scale; a static input range is in it
    compensation  gain of drift compensation of each output, digital too
    base        what every weight of ``programmed`` holds more, (); it is subtracted digitally, times the sum of the
                inputs behind the DAC and ``scales``, without ``compensation``; only with devices.pair: digital-offset
    adc_offset  what the ADC of each output adds, in units of the full scale; only where chips have such faults
    g_plus_us, g_minus_us   target as a differential pair in µS, where the hardware has devices; g_reference_us
                instead of g_minus_us, (1, rows), of a reference column; g_plus_us alone with a digital offset

For a Conv the inputs of a tile run over channels, then over the taps of the kernel.

Where the machine corrects the outputs of every chip and samples are given, ``i/correction/`` holds per output of a
layer, before its bias:

    mean, deviation   the digital network's on the calibration samples: what a chip's outputs are brought to
    gain, offset      what brings them there on the one chip whose weights are ``programmed``
"""

import json
from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

from lhc.canonical import placed_form
from lhc.errors import ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.hardware.devices.device_base import LEAST_MAGNITUDE, DeviceModel
from lhc.hardware.devices.unit_cell import PairedDevices
from lhc.hardware.tile_geometry import split_sizes
from lhc.lowering.chip_calibration import ChipCalibration
from lhc.lowering.lower import Chip
from lhc.measure.evaluation_context import Block
from lhc.onnx_io import Constants, save_model
from lhc.onnx_io.read.external_data import read_in
from lhc.onnx_io.read.shapes import inferred_graph
from lhc.onnx_model import OnnxModel, is_external
from lhc.plan import Plan
from lhc.programmed_matrix import Correction, ProgrammedMatrix, ProgrammedTile
from lhc.runtime import HybridExecutor
from lhc.runtime.digital_precision.model_in_precision import PlacedArithmetic
from lhc.runtime.onnxruntime.tensor_types import tensor_types
from lhc.runtime.segments import Segment, SegmentModels, Stage, cut_graph

if TYPE_CHECKING:
    from lhc.runtime.calibration.chip_outputs import Moments

INDEX_VERSION = 2

PROCEDURE = (
    "Go from layer to layer, in the order of the stages, with the layers before already corrected. Run the calibration"
    " samples through the chip, a part of them with each read. Take mean and deviation of every output before its bias,"
    " over samples and positions. A value has the weight 1 / (p^2 + m^2): p is the greatest magnitude of its input"
    " vector, m the mean of p in the call. Padding (attention_mask is 0) has none."
    " gain = digital deviation / deviation, kept within 1 / greatest_gain and"
    " greatest_gain; 1 where either deviation is 0, or where only the offset is corrected. offset = digital mean - gain"
    " * mean. The corrected output is gain * y + offset; the bias is added behind."
)
"""How a chip's own corrections are found, for whoever runs the parts on one."""

Arrays = dict[str, npt.NDArray[Any]]


def check_split_output(folder: Path) -> None:
    """Refuse a folder that holds anything.

    Raises:
        UsageError: it does, it is the working folder, or it cannot be made.
    """
    if folder.resolve() == Path.cwd().resolve():  # it is replaced as a whole, which this one cannot be
        raise UsageError(f"{folder}: is the working folder; choose another name")
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        raise UsageError(f"{folder}: exists and is not an empty folder; choose another name")
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"{folder}: the folder {folder.absolute().parent} does not exist")


def split(
    model: OnnxModel, graph: LayerGraph, plan: Plan, folder: Path, chip: Chip, calibration: Block | None = None
) -> dict[str, object]:
    """Write the sub-models of a placed network; nothing is left behind where that fails.

    Args:
        calibration: samples that its outputs are calibrated on; without them no corrections are written.

    Returns:
        The index.

    Raises:
        UsageError: the folder holds something, or cannot be written.
        ModelError: a layer cannot be analog, or a part is too large for one file.
    """
    check_split_output(folder)
    if any(plan.hardware.for_layer(name).adc.columns for name in plan.analog):
        raise ModelError(
            "ADCs with a range for every column (adc.range: column) have no form in the files of split; take a range"
            " for every layer"
        )
    if any(plan.hardware.for_layer(name).adc.sensing == "voltage" for name in plan.analog):
        raise ModelError("columns that are sensed as voltages (adc.sensing) have no form in the files of split")
    if plan.hardware.faults.remap and plan.hardware.faults.any:
        raise ModelError(
            "the files of split do not say which lines of a tile hold which weights, so they cannot hold weights that"
            " are mapped around faults (faults.remap). Set 'remap: false' to write the chip without that"
        )
    try:
        with TemporaryDirectory(prefix=f".{folder.name[:100]}.", dir=folder.absolute().parent) as temporary:
            made = Path(temporary) / "split"
            made.mkdir()
            index = _write(model, graph, plan, made, chip, calibration)
            made.replace(folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}; choose another place") from error
    return index


def _write(
    model: OnnxModel, graph: LayerGraph, plan: Plan, folder: Path, chip: Chip, calibration: Block | None
) -> dict[str, object]:
    nodes, placed = placed_form(model, graph, plan.analog)
    cut = cut_graph(placed, plan.analog, Constants(model.proto.graph))
    parts = _Parts(model, graph, nodes, cut)
    executor = HybridExecutor(model, graph, plan.analog, plan.ranges, plan.copies, digital=plan.digital)
    t_s = plan.hardware.t_inference_s if chip.t_s is None else chip.t_s
    programmed = executor.states(plan.hardware, chip.seed, chip.draw, t_s)
    targets = executor.states(plan.hardware.targets, chip.seed, chip.draw, t_s)  # devices that are perfect
    calibrating = None
    if calibration is not None and plan.analog:
        calibrating = ChipCalibration.of(model, graph, plan, executor, calibration, chip.seed, t_s)
    corrections = {} if calibrating is None else calibrating.corrections(chip.draw)
    arrays: Arrays = {}
    stages, number, copies = [], 0, plan.copies
    for depth, (segment, names) in enumerate(cut):
        digital = (
            None if segment is None else parts.write(segment, folder / f"digital_{depth}.onnx", executor.arithmetic)
        )
        analog = []
        for name in names:
            weight = graph[name].weight
            assert weight is not None
            entry = parts.write(parts.alone(name), folder / f"analog_{number}.onnx")
            pair = targets[weight.tile_set], programmed[weight.tile_set]
            machine = plan.hardware.for_layer(name)
            driven = _driven_rows(pair[1], copies.get(name, 1), machine)
            tiles = _tiles(str(number), *pair, driven, machine.devices, arrays)
            analog.append(
                {"name": name, "op_type": graph[name].op_type, "weight": weight.name, "tile_set": weight.tile_set}
                | entry
                | {"groups": pair[0].groups, "copies": copies.get(name, 1), "correction": None, "tiles": tiles}
            )
            if calibrating is not None and name in corrections:
                analog[-1]["correction"] = f"{number}/correction"
                arrays |= _correction(f"{number}/correction", calibrating.digital[name], corrections[name])
            number += 1
        stages.append({"digital": digital, "analog": analog})
    index: dict[str, object] = {
        "schema_version": INDEX_VERSION,
        "source": model.source,
        "chip": asdict(chip) | {"t_s": t_s},
        "hardware": plan.hardware.model_dump(mode="json"),
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "control": graph.control,
        "conductances": "conductances.npz",
        "calibration": None if calibrating is None else _calibration(calibrating),
        "stages": stages,
    }
    np.savez(folder / "conductances.npz", **arrays)  # type: ignore[arg-type]  # numpy's stubs know no keywords
    (folder / "index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return index


def _calibration(calibrating: ChipCalibration) -> dict[str, object]:
    """The entry of the index that says how the outputs of this chip were corrected, and how those of another are."""
    from lhc.runtime.calibration.chip_outputs import GREATEST_GAIN

    reads = min(calibrating.plan.hardware.compensation.reads, len(calibrating.calls))
    return {
        "samples": calibrating.block.samples,
        "data": calibrating.block.digest,
        "reads": reads,
        "t_s": calibrating.t_s,
        "greatest_gain": GREATEST_GAIN,
        "procedure": PROCEDURE,
    }


def _correction(prefix: str, digital: "Moments", correction: Correction) -> Arrays:
    moments = {"mean": digital.mean.astype(np.float32), "deviation": digital.deviation.astype(np.float32)}
    found = moments | {"gain": correction.gain, "offset": correction.offset}
    return {f"{prefix}/{name}": values for name, values in found.items()}


class _Parts:
    """Cuts sub-models out of one network."""

    def __init__(
        self, model: OnnxModel, graph: LayerGraph, nodes: Mapping[str, onnx.NodeProto], stages: list[Stage]
    ) -> None:
        self._graph = graph
        self._constants = Constants(model.proto.graph)
        self._inferred = {value.name: value for value in inferred_graph(model.proto).value_info}
        cuts = [part for segment, names in stages for part in (segment, *map(self.alone, names)) if part is not None]
        types = tensor_types(model, {tensor for part in cuts for tensor in part.inputs} - set(graph.inputs))
        self._models = SegmentModels(model, nodes, types)

    def alone(self, name: str) -> Segment:
        """One layer as a segment."""
        layer = self._graph[name]
        read = dict.fromkeys(tensor for tensor in layer.inputs if tensor and tensor not in self._constants)
        return Segment((name,), tuple(read), layer.outputs[:1])

    def write(self, segment: Segment, path: Path, arithmetic: PlacedArithmetic | None = None) -> dict[str, object]:
        """Save a part, on request in the machine's arithmetic; where it is, and its tensors."""
        proto = self._models.of(segment)
        proto = proto if arithmetic is None else arithmetic.of(proto)
        for tensor in filter(is_external, proto.graph.initializer):
            read_in(tensor)
        for values in (proto.graph.input, proto.graph.output):
            _declare(values, self._inferred)
        save_model(proto, path)
        return {"file": path.name, "inputs": list(segment.inputs), "outputs": list(segment.outputs)}


def _declare(values: MutableSequence[onnx.ValueInfoProto], known: Mapping[str, onnx.ValueInfoProto]) -> None:
    """Give inner tensors, which became inputs and outputs, the type and shape that inference finds."""
    for value in values:
        if not value.type.tensor_type.HasField("shape") and value.name in known:
            value.CopyFrom(known[value.name])


def _driven_rows(matrix: ProgrammedMatrix, copies: int, machine: Hardware) -> list[npt.NDArray[np.int64]]:
    """For every row of tiles, which input of its split drives each row: copies of a split are stacked, then cut.

    Every slice of the weights has its own.
    """
    found: list[npt.NDArray[np.int64]] = []
    for start in dict.fromkeys(matrix.starts):
        size = matrix.tiles[len(found)][0].weights.shape[1]
        cuts = np.cumsum(split_sizes(copies * size, machine.tiles.rows))[:-1]
        found += np.split(np.arange(copies * size) % size, cuts) * machine.mapping.slices
        assert matrix.starts[len(found) - 1] == start
    return found


def _tiles(
    prefix: str,
    target: ProgrammedMatrix,
    programmed: ProgrammedMatrix,
    driven: Sequence[npt.NDArray[np.int64]],
    devices: DeviceModel | None,
    arrays: Arrays,
) -> list[dict[str, object]]:
    """Entries of the index for all tiles of a layer; their arrays are added to ``arrays``."""
    entries, g_max_us = [], getattr(devices, "g_max_us", None)
    rows = zip(programmed.starts, target.tiles, programmed.tiles, strict=True)
    for row, (first_input, targets, tiles) in enumerate(rows):
        first_output = 0
        for column, (wanted, tile) in enumerate(zip(targets, tiles, strict=True)):
            outputs, inputs = wanted.weights.shape
            key = f"{prefix}/{row}/{column}"
            arrays |= {f"{key}/{name}": array for name, array in _arrays(wanted, tile, driven[row], devices).items()}
            entries.append(
                {
                    "row": row,
                    "column": column,
                    "inputs": [first_input, first_input + inputs],
                    "outputs": [first_output, first_output + outputs],
                    "scale": float(max(tile.scales, key=abs)),
                    "input_range": tile.input_range,
                    "g_max_us": g_max_us,
                    "arrays": key,
                }
            )
            first_output += outputs
    return entries


def _arrays(
    wanted: ProgrammedTile, tile: ProgrammedTile, rows: npt.NDArray[np.int64], devices: DeviceModel | None
) -> Arrays:
    target = (wanted.weights / np.maximum(np.bincount(rows, minlength=wanted.weights.shape[1]), 1))[:, rows]
    # What a unipolar ADC sees of bits that count negatively is ones; their scales are negative.
    target = np.where((tile.scales < 0)[:, None], -target, target).astype(np.float32)
    arrays: Arrays = {"rows": rows, "target": target, "programmed": tile.weights, "scales": tile.scales}
    arrays["compensation"] = tile.gain
    if tile.offset is not None:
        arrays["adc_offset"] = tile.offset
    if tile.base:
        arrays["base"] = np.array(tile.base)
    if isinstance(devices, PairedDevices) and devices.pair != "single":
        other = "g_reference_us" if devices.pair == "reference-column" else "g_minus_us"
        # Conductances do not depend on mapping.omega: the greatest weight of a tile takes the whole range.
        greatest = max(float(np.abs(target).max(initial=0.0)), LEAST_MAGNITUDE)
        for name, cells in zip(("g_plus_us", other), devices.cells(target / greatest), strict=False):
            arrays[name] = np.asarray(cells, np.float32)
    return arrays
