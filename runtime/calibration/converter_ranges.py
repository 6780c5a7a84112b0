"""Calibrate static input ranges, one number per layer and row split of its tiles, and ranges of ADCs, one per layer.

A tile with a static range R clips every input to ±R and converts x / R. R is a quantile of |x| over the inputs that the
digital network drives the tile with; all-zero vectors, which are not driven, count nothing. The range of a layer's ADCs
is a quantile of the magnitudes that its tiles give to these inputs, as the DAC makes them, without noise and with
weights as they are meant; all tiles, slices of weights and reads of slices of inputs count alike. Layers that share
their tiles share their ranges: the greater of each. The range is 1 where no samples drive a tile, or nothing comes out.

Of a piece of vectors with more than `KEPT` values so many are drawn: such pieces count alike, whatever their size.

The same pass tells how great the sums in a layer's columns are, as shares of its ADCs' bound: what bound management
reads again follows from it for any number of copies (`lhc.hardware.converters.repeated_reads`).

`calibrate_signs` finds layers with unsigned inputs (none below 0 on data), which some DACs drive in another code.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import prod
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lhc.graph import LayerGraph
from lhc.hardware import Dac, Hardware
from lhc.hardware.converters import totals_of
from lhc.hardware.tile_geometry import split_sizes
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.onnx_model import OnnxModel
from lhc.programmed_matrix import Floats, ProgrammedMatrix
from lhc.runtime.engines.protocol import Digital, Position
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.onnxruntime.activation_recorder import Observed, in_groups
from lhc.runtime.onnxruntime.sessions import Array
from lhc.runtime.operators.analog_layers import AnalogLayer
from lhc.runtime.operators.im2col import padded, window_layout
from lhc.runtime.torch_settings import isolated

QUANTILES = 16
"""Of the sums of a layer that are kept."""
LEAST_SHARE = 1 / 16
"""Range of a column's ADC as a share of the widest one's: amplifiers in front of ADCs have few steps."""
KEPT = 2**15
"""Values kept of what a piece of vectors gives one row split, or one row of tiles; drawn with a fixed seed."""
MOST = 2**24
"""Values kept of all pieces together, by row split or layer."""
PIECE_VECTORS, PIECE_SAMPLES = 4096, 64
"""Aimed number of vectors in a piece, and most samples."""
GROUP_VALUES = 2**18
"""Aimed number of unfolded inputs of the groups that are seen together, for 1024 vectors."""

Ranges = tuple[float, ...]
Recorder = TypeVar("Recorder", bound="VectorRecorder")


class Reservoir:
    """Some of many rows of values: all of them at first, then a random share that is the same for early and late ones.

    Attributes:
        count: values that are held.
    """

    def __init__(self, generator: torch.Generator, most: int) -> None:
        """Hold no more than ``most`` values."""
        self.count = 0
        self._rows: list[Tensor] = []
        self._share = 1.0
        self._generator, self._most = generator, most

    def add(self, rows: Tensor) -> None:
        """Take rows ``(rows, ...)``, or their share."""
        self._rows.append(rows if self._share == 1 else self._some(rows, self._share))
        self.count += self._rows[-1].numel()
        while self.count > self._most:
            self._share /= 2
            self._rows = [self._some(held, 0.5) for held in self._rows]
            self.count = sum(held.numel() for held in self._rows)

    def _some(self, rows: Tensor, share: float) -> Tensor:
        return rows[torch.rand(len(rows), generator=self._generator) < share]

    def rows(self) -> Array:
        """The rows that are held, ``(rows, ...)``; an empty vector where none were added."""
        return torch.cat(self._rows).numpy() if self._rows else np.zeros(0, np.float32)


class _Magnitudes:
    """Some of many values, and the greatest of all."""

    def __init__(self, generator: torch.Generator) -> None:
        self._seen = Reservoir(generator, MOST)
        self._greatest = 0.0
        self._generator = generator

    def add(self, values: Tensor) -> None:
        """Remember their magnitudes."""
        values = values.abs().flatten()
        # What is drawn below hardly ever holds it.
        self._greatest = max(self._greatest, float(values.max()) if len(values) else 0.0)
        if len(values) > KEPT:
            values = values[torch.randint(len(values), (KEPT,), generator=self._generator)]
        self._seen.add(values)

    def quantiles(self, count: int) -> tuple[float, ...]:
        """So many, evenly spaced; 0 where there were none."""
        values = self._seen.rows()
        places = (np.arange(count) + 0.5) / count
        return tuple(np.quantile(values, places).tolist()) if values.size else (0.0,) * count

    def quantile(self, quantile: float) -> float:
        """Quantile of the recorded values, or the greatest of all where it is 0; 0 where all were zero."""
        found = float(np.quantile(self._seen.rows(), quantile)) if self._seen.count and quantile < 1 else 0.0
        return found or self._greatest


class VectorRecorder(ABC):
    """Stands in for the tiles of one layer and looks at what they are driven with; its products are 0.

    Vectors come in pieces of a size that depends on the shape of the layer alone, the last one filled up with zeros.
    """

    chips = 1
    completes = completes_epilogue = False

    def __init__(self, outputs: int) -> None:
        """Record a matrix of so many outputs a group."""
        self._outputs = outputs

    @abstractmethod
    def drive(self, vectors: Tensor, first_group: int) -> None:
        """Look at vectors of consecutive groups, ``(groups, inputs, vectors)``; ``first_group`` numbers the first."""

    def convolve(
        self, x: Tensor, geometry: ConvGeometry, position: Position, use: int, digital: Digital | None = None
    ) -> Tensor:
        """See `Products`."""
        out = geometry.output_sizes(tuple(x.shape[2:]))
        channels = x.shape[1] // geometry.groups
        inputs = channels * prod(geometry.kernel)
        together = max(1, GROUP_VALUES // (1024 * inputs))
        for images in _pieces(x, position, prod(out)):
            for first in range(0, geometry.groups, together):
                count = min(together, geometry.groups - first)
                image = padded(images[:, first * channels : (first + count) * channels], geometry)
                self.drive(image.as_strided(*window_layout(image, geometry)).reshape(count, inputs, -1), first)
        return x.new_zeros((1, len(x), geometry.groups * self._outputs, *out))

    def multiply(self, rows: Tensor, position: Position, use: int, digital: Digital | None = None) -> Tensor:
        """See `Products`."""
        for items in _pieces(rows, position, prod(rows.shape[1:-1])):
            self.drive(items.reshape(-1, rows.shape[-1]).T[None], 0)
        return rows.new_zeros((1, *rows.shape[:-1], self._outputs))


def _pieces(x: Tensor, position: Position, vectors: int) -> Iterator[Tensor]:
    """Cut the items of a call, which begins at the first sample, each of so many vectors, into pieces of one size."""
    items = len(x) // position.of(len(x))[0]
    samples = min(PIECE_SAMPLES, max(1, PIECE_VECTORS // max(items * vectors, 1)))
    size = items << (samples.bit_length() - 1)
    for start in range(0, len(x), size):
        piece = x[start : start + size]
        if len(piece) < size:
            piece = torch.cat([piece, piece.new_zeros((size - len(piece), *x.shape[1:]))])
        yield piece


class RangeRecorder(VectorRecorder):
    """Remembers the magnitudes of inputs."""

    def __init__(self, rows: int, outputs: int, tile_rows: int) -> None:
        """Record a matrix of ``rows`` inputs and ``outputs`` outputs a group, on tiles of ``tile_rows`` inputs."""
        super().__init__(outputs)
        self._sizes = split_sizes(rows, tile_rows)
        generator = torch.Generator().manual_seed(0)
        self._seen = [_Magnitudes(generator) for _ in self._sizes]

    def drive(self, vectors: Tensor, first_group: int) -> None:
        """Remember the magnitudes of the inputs."""
        x = vectors.transpose(0, 1).flatten(1)
        for seen, part in zip(self._seen, torch.split(x, self._sizes), strict=True):
            seen.add(part[:, (part != 0).any(dim=0)])

    def ranges(self, quantile: float) -> Ranges:
        """The quantile of each row split; 0 where it was never driven."""
        return tuple(seen.quantile(quantile) for seen in self._seen)


class AdcRecorder(VectorRecorder):
    """Remembers what the tiles give to their ADCs."""

    def __init__(self, matrix: ProgrammedMatrix, hardware: Hardware, ranges: Ranges | None) -> None:
        """Record a layer.

        Args:
            matrix: its weights on tiles, without errors.
            ranges: static input range of each row split, where the hardware has them.
        """
        super().__init__(matrix.outputs)
        self._dac = hardware.dac
        self.seen = _Magnitudes(torch.Generator().manual_seed(0))
        starts = list(dict.fromkeys(matrix.starts))
        self._rows = [
            (
                start,
                torch.from_numpy(np.concatenate([tile.weights for tile in row])).view(
                    matrix.groups, matrix.outputs, -1
                ),
                None if ranges is None else ranges[starts.index(start)],
            )
            for start, row in zip(matrix.starts, matrix.tiles, strict=True)
        ]

    def drive(self, vectors: Tensor, first_group: int) -> None:
        """Remember the magnitudes of the outputs."""
        for start, weights, input_range in self._rows:
            x = vectors[:, start : start + weights.shape[2]]
            groups = weights[first_group : first_group + len(vectors)]
            for driven in _driven(x, self._dac, input_range):
                self.see((groups @ driven).transpose(1, 2), (x != 0).any(dim=1), first_group)

    def see(self, outputs: Tensor, driven: Tensor, first_group: int) -> None:
        """Remember outputs of one row of tiles.

        Args:
            outputs: ``(groups, vectors, outputs)``.
            driven: which vectors are not all 0, ``(groups, vectors)``.
        """
        self.seen.add(outputs[driven])


class SumRecorder(AdcRecorder):
    """Recorder of the greatest sum that each vector gives, over all columns of the layer's group."""

    def see(self, outputs: Tensor, driven: Tensor, first_group: int) -> None:
        """Remember the greatest magnitude of each vector."""
        self.seen.add(outputs[driven].abs().amax(dim=1))


class ColumnRecorder(AdcRecorder):
    """Recorder of some vectors, and of the greatest magnitude, of every column by itself."""

    def __init__(self, matrix: ProgrammedMatrix, hardware: Hardware, ranges: Ranges | None) -> None:
        """Record a layer; arguments as of `AdcRecorder`."""
        super().__init__(matrix, hardware, ranges)
        self._quantile = hardware.adc.range_quantile
        self._generator = torch.Generator().manual_seed(0)
        self._columns = [Reservoir(self._generator, MOST // matrix.groups) for _ in range(matrix.groups)]
        self._greatest = torch.zeros(matrix.groups, matrix.outputs)

    def see(self, outputs: Tensor, driven: Tensor, first_group: int) -> None:
        """Remember magnitudes by column."""
        for group, (own, seen) in enumerate(zip(outputs.abs(), driven, strict=True), first_group):
            own = own[seen]
            if len(own):
                self._greatest[group] = torch.maximum(self._greatest[group], own.amax(dim=0))
            most = max(KEPT * 32 // self._outputs, 1)
            if len(own) > most:
                own = own[torch.randint(len(own), (most,), generator=self._generator)]
            self._columns[group].add(own)

    def bounds(self) -> Floats:
        """The quantile of every column, ``(groups · outputs,)``; 0 where nothing was seen."""
        greatest = self._greatest.numpy()
        if self._quantile == 1:
            return greatest.reshape(-1)
        quantiles = [
            np.quantile(seen.rows(), self._quantile, axis=0) if seen.count else 0 * greatest[0]
            for seen in self._columns
        ]
        return np.where(np.array(quantiles) > 0, quantiles, greatest).astype(np.float32).reshape(-1)


def _driven(x: Tensor, dac: Dac, input_range: float | None) -> Iterator[Tensor]:
    """DAC outputs for vectors ``(groups, inputs, vectors)``, slice by slice, in units of the full scale."""
    scale = x.new_tensor(1.0 if input_range is None else input_range)
    if dac.scaling == "abs_max":
        peaks = x.abs().amax(dim=1, keepdim=True)
        scale = torch.where(peaks > 0, peaks, 1.0)
    reach = min(1.0 if input_range is not None else float("inf"), dac.bound or float("inf"))
    inputs = (x / scale).clamp(0 if dac.code == "unsigned" else -reach, reach)
    if dac.step is None:
        yield inputs
        return
    codes = (inputs / dac.step).round()
    if dac.slice_bits is None or dac.bits is None or dac.bound is None:
        yield codes * dac.step
        return
    greatest, signs, size = 2**dac.slice_bits - 1, codes.sign(), codes.abs()
    if dac.code == "twos-complement":
        yield (codes < 0) * codes.new_tensor(dac.bound)
        signs, size = codes.new_ones(()), torch.where(codes < 0, codes + 2 ** (dac.bits - 1), codes)
    for low in dac.lows:
        digits = torch.floor(size / 2**low) % (greatest + 1)
        yield signs * digits * (dac.bound / greatest)


def calibrate_ranges(
    model: OnnxModel,
    graph: LayerGraph,
    hardware: Hardware,
    names: Sequence[str],
    blocks: Iterable[tuple[int, Mapping[str, Array]]],
) -> dict[str, Ranges]:
    """Input ranges of layers.

    Args:
        hardware: tile rows, and the quantile.
        blocks: ``(samples, feeds)``, on which the digital network is run, more than once if it is large.

    Raises:
        DataError: the model does not run on these samples.
    """

    def recorder(layer: AnalogLayer) -> RangeRecorder:
        return RangeRecorder(*layer.matrix_shape, hardware.tiles.rows)

    seen = recorded(model, graph, HybridExecutor(model, graph, names).layers, blocks, recorder)
    found = {name: one.ranges(hardware.for_layer(name).dac.range_quantile) for name, one in seen}
    shared: dict[str, Ranges] = {}
    for group in graph.tied(names):
        widest = tuple(max(values) or 1.0 for values in zip(*(found[name] for name in group), strict=True))
        shared.update(dict.fromkeys(group, widest))
    return shared


def calibrate_adcs(
    model: OnnxModel,
    graph: LayerGraph,
    hardware: Hardware,
    names: Sequence[str],
    blocks: Iterable[tuple[int, Mapping[str, Array]]],
    ranges: Mapping[str, Ranges],
) -> tuple[dict[str, float], dict[str, Ranges]]:
    """Bounds of the ADCs of layers, in units of the product of one full-scale input and one full-scale weight.

    For layers whose columns have ranges of their own also these, as shares of the bound: the greatest of them is 1,
    none is below `LEAST_SHARE`, and they are kept to three digits.

    Args:
        hardware: tiles and DACs, and the quantile.
        blocks: ``(samples, feeds)``, on which the digital network is run, more than once if it is large.
        ranges: static input ranges by layer, where the hardware has them.

    Raises:
        DataError: the model does not run on these samples.
    """

    def kind(machine: Hardware) -> type[AdcRecorder]:
        return ColumnRecorder if machine.adc.range == "column" else AdcRecorder

    by_layer: dict[str, float] = {}
    by_column: dict[str, Floats] = {}
    for name, one in _outputs(kind, model, graph, hardware, hardware.targets, 0.0, names, blocks, ranges):
        if isinstance(one, ColumnRecorder):
            by_column[name] = one.bounds()
        else:
            by_layer[name] = one.seen.quantile(hardware.for_layer(name).adc.range_quantile)
    bounds: dict[str, float] = {}
    columns: dict[str, Ranges] = {}
    for group in graph.tied(names):
        if group[0] in by_column:
            widest = np.max([by_column[name] for name in group], axis=0)
            bound = float(widest.max(initial=0.0)) or 1.0
            shares = np.ceil(1000 * np.clip(widest / bound, LEAST_SHARE, 1)) / 1000
            columns.update(dict.fromkeys(group, tuple(shares.tolist())))
        else:
            bound = max(by_layer[name] for name in group) or 1.0
        bounds.update(dict.fromkeys(group, bound))
    return bounds, columns


def calibrate_sums(
    model: OnnxModel,
    graph: LayerGraph,
    hardware: Hardware,
    names: Sequence[str],
    blocks: Iterable[tuple[int, Mapping[str, Array]]],
    ranges: Mapping[str, Ranges],
    t_s: float,
) -> dict[str, tuple[float, ...]]:
    """Quantiles of the greatest sum that an input vector brings about in a layer's columns, without copies.

    Other arguments are those of `calibrate_adcs`; sums are shares of the ADC's bound, which all these layers must have.

    Args:
        t_s: seconds after the first read: currents fall as devices drift. The sums are those of the first chip then.

    Raises:
        DataError: the model does not run on these samples.
    """
    found: dict[str, tuple[float, ...]] = {}
    for name, one in _outputs(lambda _: SumRecorder, model, graph, hardware, hardware, t_s, names, blocks, ranges):
        bound = hardware.for_layer(name).adc.bound
        assert bound is not None
        found[name] = tuple(greatest / bound for greatest in one.seen.quantiles(QUANTILES))
    return found


def _outputs(
    kind: Callable[[Hardware], type[AdcRecorder]],
    model: OnnxModel,
    graph: LayerGraph,
    hardware: Hardware,
    held: Hardware,
    t_s: float,
    names: Sequence[str],
    blocks: Iterable[tuple[int, Mapping[str, Array]]],
    ranges: Mapping[str, Ranges],
) -> Iterator[tuple[str, AdcRecorder]]:
    """Recorders of what the tiles of ``held`` give after a time, driven by the DACs of the hardware, by its layers."""
    executor = HybridExecutor(model, graph, names, ranges)

    def recorder(layer: AnalogLayer) -> AdcRecorder:
        (state,) = executor.reads(held, 0, 0, t_s, (0,), [layer.tile_set])
        machine = hardware.for_layer(layer.name)
        matrix = state[layer.tile_set]
        if machine.offset and held is not hardware:  # ideal devices hold it too
            matrix = matrix.raised(machine.offset)
        if machine.adc.sensing == "voltage" and held is not hardware:
            rows = [tuple(t.in_units_of(totals_of(t.weights, machine)) for t in row) for row in matrix.tiles]
            matrix = replace(matrix, tiles=tuple(rows))
        return kind(machine)(matrix, machine, ranges.get(layer.name))

    return recorded(model, graph, executor.layers, blocks, recorder)


def recorded(
    model: OnnxModel,
    graph: LayerGraph,
    layers: Sequence[AnalogLayer],
    blocks: Iterable[tuple[int, Mapping[str, Array]]],
    recorder: Callable[[AnalogLayer], Recorder],
) -> Iterator[tuple[str, Recorder]]:
    """Recorders that were given the vectors of their layers in the digital network, with the layers' names.

    Args:
        blocks: gone through for every group of layers (`in_groups`); none has more samples than the first.
    """
    most = max((samples for samples, _ in islice(blocks, 1)), default=1)
    for some in in_groups(layers, lambda layer: (layer.activation,), graph, most):
        recorders = {layer.name: recorder(layer) for layer in some}
        observed = Observed(model, graph, [layer.activation for layer in some])
        for samples, feeds in blocks:
            seen = observed(feeds)
            with isolated():
                for layer in some:
                    layer.run(recorders[layer.name], observed.value(layer.activation, seen), None, Position(0, samples))
            del seen
        del observed
        for layer in some:
            yield layer.name, recorders.pop(layer.name)


class _SignRecorder(VectorRecorder):
    """Remembers if any input is negative."""

    signed = False

    def drive(self, vectors: Tensor, first_group: int) -> None:
        """Remember it."""
        self.signed = self.signed or bool((vectors < 0).any())


def calibrate_signs(
    model: OnnxModel, graph: LayerGraph, names: Sequence[str], blocks: Iterable[tuple[int, Mapping[str, Array]]]
) -> dict[str, bool]:
    """Whether any input of these layers is negative, of layers that share tiles together.

    Args:
        blocks: ``(samples, feeds)``, on which the digital network is run, more than once if it is large.

    Raises:
        DataError: the model does not run on these samples.
    """

    def recorder(layer: AnalogLayer) -> _SignRecorder:
        return _SignRecorder(layer.matrix_shape[1])

    seen = recorded(model, graph, HybridExecutor(model, graph, names).layers, blocks, recorder)
    found = {name: one.signed for name, one in seen}
    return {name: any(found[other] for other in group) for group in graph.tied(names) for name in group}
