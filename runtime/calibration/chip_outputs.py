"""Calibrate the outputs of a chip: digital gain and offset of every column, from samples without labels.

After programming and drift, some samples run through the chip. Each column's outputs y are corrected to
``gain · y + offset``, so that over these samples (and positions) they have the mean, and with `affine` the deviation,
that the digital network's outputs have: Joshi et al., Nat. Commun. 11, 2473 (2020), AdaBS, which updates the
statistics of batch normalisation, here for any product. Layer follows layer: a layer is given what the corrected
layers before it put out, so one pass over the samples corrects all of them. The numbers ride on the digital scale and
bias that a column has.

Read noise is not corrected: it is new at inference. The calls are spread over some reads, each with read noise drawn
anew, so that the noise of a single read does not pass for an error of the devices.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_model import OnnxModel
from lhc.programmed_matrix import Correction
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.lazy_programming import alone_on_chips, lazy_reads
from lhc.runtime.onnxruntime.activation_recorder import Observed, in_groups
from lhc.runtime.onnxruntime.batched_calls import Call, padding_masks
from lhc.runtime.onnxruntime.sessions import Array, give_back_pool
from lhc.runtime.operators.analog_layers import AnalogLayer

if TYPE_CHECKING:
    from lhc.runtime.engines.protocol import ChipsMatrix

GREATEST_GAIN = 2.0
"""Of a column's deviation, and the inverse of the least: what lies beyond is no error of gain."""
_WIDE_VALUES = 2**22
"""Values that are held in float64 at once."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of a layer's outputs before the bias, over samples and positions, weighted by `_weights`.

    Attributes:
        mean: per output, ``(groups · outputs,)``.
        deviation: likewise.
    """

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]


class _Sums:
    """Running weighted sums of the outputs of one layer."""

    def __init__(self, layer: AnalogLayer) -> None:
        self.layer = layer
        self._total = np.zeros((layer.groups, 1))
        self._shift: npt.NDArray[np.float64] | None = None
        self._first = self._second = np.zeros((1, 1))

    def add(self, output: Array, weights: npt.NDArray[np.float64]) -> None:
        """Take more: an output before its bias, and the weight of its values, ``(groups, values)``."""
        outputs = self.layer.by_output(output)
        values = outputs.reshape(len(weights), -1, *outputs.shape[1:])
        step = max(1, _WIDE_VALUES // weights.size)
        sums = [self._of(values, slice(n, n + step), weights) for n in range(0, values.shape[1], step)]
        shift, first, second = (np.concatenate(parts, axis=1) for parts in zip(*sums, strict=True))
        self._shift = shift
        self._total = self._total + weights.sum(axis=1, keepdims=True)
        self._first = self._first + first
        self._second = self._second + second

    def _of(self, values: Array, part: slice, weights: npt.NDArray[np.float64]) -> tuple[Floats, Floats, Floats]:
        """Shift of some outputs, and sums of the shifted values and of their squares."""
        some = values[:, part]  # which lies apart: all of them as float64, or put together, are large
        wide = some.astype(np.float64, order="C").reshape(*some.shape[:2], weights.shape[1])
        # A mean of the first values keeps the squares small against their differences.
        shift = wide.mean(axis=2) if self._shift is None else self._shift[:, part]
        wide -= shift[:, :, None]
        first = (wide @ weights[:, :, None])[:, :, 0]
        return shift, first, (np.square(wide, out=wide) @ weights[:, :, None])[:, :, 0]

    def moments(self) -> Moments:
        """Moments of everything that was added."""
        assert self._shift is not None
        total = np.where(self._total > 0, self._total, 1.0)
        mean, square = self._first / total, self._second / total
        deviation = np.sqrt(np.maximum(square - np.square(mean), 0.0))
        return Moments((self._shift + mean).ravel(), deviation.ravel())


def _weights(layer: AnalogLayer, activation: Array, feeds: Mapping[str, Array]) -> npt.NDArray[np.float64]:
    """How much every value of a layer's output counts, ``(groups, values)``.

    Errors of converters and of devices grow with a vector's magnitude p, so values count as 1 / (p² + m²), m the mean
    magnitude in this call: least squares in units of the error, where small vectors count no more than usual ones.
    Otherwise the few tokens of huge activations decide for all. Padding counts nothing, where one mask alone may say
    what it is.
    """
    peaks = layer.peaks(activation).astype(np.float64)
    square = np.square(peaks) + np.square(peaks.mean())
    weights: npt.NDArray[np.float64] = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)
    masks = padding_masks(feeds, weights.shape[1])
    if len(masks) == 1:
        weights *= next(iter(masks.values())).reshape(1, -1)
    return weights


def correction(chip: Moments, digital: Moments, scales: bool) -> Correction:
    """Gain and offset that give a chip's outputs the moments of the digital network.

    Args:
        chip: of its outputs.
        digital: of the digital network's.
        scales: match deviations too; only means otherwise.
    """
    gain = np.ones_like(chip.mean)
    if scales:
        varies = (chip.deviation > 0) & (digital.deviation > 0)
        np.divide(digital.deviation, chip.deviation, out=gain, where=varies)
        gain = np.clip(gain, 1 / GREATEST_GAIN, GREATEST_GAIN)
    offset = digital.mean - gain * chip.mean
    return Correction(gain.astype(np.float32), offset.astype(np.float32))


@dataclass(frozen=True, eq=False)
class _Correcting:
    """A layer's `Correcting`; ``what`` is corrected, given the digital network's moments."""

    what: str
    digital: Moments
    sums: _Sums

    def add(self, feeds: Mapping[str, Array], activation: Array, output: Array) -> None:
        if self.what != "none":
            self.sums.add(output, _weights(self.sums.layer, activation, feeds))

    def found(self) -> Correction | None:
        return None if self.what == "none" else correction(self.sums.moments(), self.digital, self.what == "affine")


def calibrated(
    executor: HybridExecutor,
    digital: Mapping[str, Moments],
    hardware: Hardware,
    seed: int,
    draw: int,
    t_s: float,
    calls: Sequence[Call],
    reads: Sequence[int] | None = None,
    prefixes: Callable[[Call], Mapping[str, Array]] | None = None,
    room: int | None = None,
) -> dict[str, Correction]:
    """Corrections of one chip, by layer.

    Args:
        digital: see `digital_moments`; of these calls.
        hardware: tiles, converters, devices, and what is corrected.
        t_s: when it is calibrated, in seconds after the first read.
        calls: samples; they take turns with the reads.
        reads: numbers of the reads; those of the hardware's calibration by default, none of which is inference's.
        prefixes: as for `HybridExecutor.calibrate`.
        room: as for `lazy_reads`.

    Raises:
        DataError: the network does not run on these samples.
    """
    numbers = _numbers(hardware, calls) if reads is None else reads
    chips = lazy_reads(executor, hardware, seed, draw, t_s, numbers, room)

    def corrects(layer: AnalogLayer) -> _Correcting:
        return _Correcting(hardware.for_layer(layer.name).compensation.outputs, digital[layer.name], _Sums(layer))

    return executor.calibrate(chips, calls, corrects, prefixes)


def _numbers(hardware: Hardware, calls: Sequence[Call]) -> range:
    """Numbers of the reads that take part in a calibration."""
    return range(1, min(hardware.compensation.reads, len(calls)) + 1)


def calibrated_alone(
    executor: HybridExecutor,
    model: OnnxModel,
    graph: LayerGraph,
    hardware: Hardware,
    seed: int,
    draws: Sequence[int],
    t_s: float,
    calls: Sequence[Call],
) -> list[dict[str, Correction]]:
    """Corrections of every layer as if it alone were analog, of each chip: those of `calibrated` with one layer placed.

    A layer alone is given what the digital network gives it, so that no layer waits for another: every call runs
    through the digital network once for a group of layers (`in_groups`) and for all chips, and then through every layer
    on every chip. Where the reads of all chips are too many to be kept, chips come in groups too, so that each is
    programmed once.

    Args:
        executor: the layers, placed together.
        hardware: tiles, converters, devices, and what is corrected.
        draws: numbers of the programmings.
        t_s: when they are calibrated, in seconds after the first read.
        calls: samples; they take turns with the reads.

    Raises:
        DataError: the network does not run on these samples.
    """
    correct = {layer.name: hardware.for_layer(layer.name).compensation.outputs for layer in executor.layers}
    layers = [layer for layer in executor.layers if correct[layer.name] != "none"]
    numbers = _numbers(hardware, calls)
    found: list[dict[str, Correction]] = [{} for _ in draws]
    for some in in_groups(layers, _tensors, graph, _most_samples(calls)):
        observed = Observed(model, graph, [tensor for layer in some for tensor in _tensors(layer)])
        sets = {layer.tile_set for layer in some}
        kept = executor.chips_kept(sets, hardware, len(numbers) + 1)
        step = kept or len(draws)
        for first in range(0, len(draws), step):
            group = draws[first : first + step]
            digital = {layer.name: _Sums(layer) for layer in some}
            chips = [{layer.name: _Sums(layer) for layer in some} for _ in group]
            for read, number in enumerate(numbers):
                soon = (0, *numbers[read + 1 :]) if kept else ()
                together = alone_on_chips(executor, hardware, seed, group, t_s, number, sets, soon)
                for call in calls[read :: len(numbers)]:
                    _add_alone(executor, observed, some, together, call, digital, chips)
                del together  # those of the next read are not made beside them
            for corrections, sums in zip(found[first : first + step], chips, strict=True):
                for name, total in sums.items():
                    corrections[name] = correction(total.moments(), digital[name].moments(), correct[name] == "affine")
        del observed
        give_back_pool()
    return found


def _add_alone(
    executor: HybridExecutor,
    observed: Observed,
    layers: Sequence[AnalogLayer],
    together: "Mapping[str, ChipsMatrix]",
    call: Call,
    digital: Mapping[str, _Sums],
    chips: Sequence[Mapping[str, _Sums]],
) -> None:
    """Take what layers put out on one call, each given what the digital network gives it."""
    feeds, position = call
    seen = observed(feeds)
    for layer in layers:
        weights = _weights(layer, observed.value(layer.activation, seen), feeds)
        digital[layer.name].add(_products(layer, observed, seen), weights)
        outputs = executor.run_layer(layer, seen, together, position, bias=False)
        for sums, output in zip(chips, outputs, strict=True):
            sums[layer.name].add(output, weights)


def _products(layer: AnalogLayer, observed: Observed, seen: Mapping[str, Array]) -> Array:
    """A layer's output before its bias."""
    return layer.before_bias(seen[layer.output], *(observed.value(name, seen) for name in layer.digital_inputs))


def digital_moments(
    model: OnnxModel, graph: LayerGraph, layers: Sequence[AnalogLayer], calls: Sequence[Call]
) -> dict[str, Moments]:
    """Moments of the digital network's outputs before bias.

    Args:
        layers: whose outputs.

    Raises:
        DataError: the network does not run on these samples.
    """
    found: dict[str, Moments] = {}
    for some in in_groups(layers, _tensors, graph, _most_samples(calls)):
        observed = Observed(model, graph, [tensor for layer in some for tensor in _tensors(layer)])
        sums = {layer.name: _Sums(layer) for layer in some}
        for feeds, _ in calls:
            seen = observed(feeds)
            for layer in some:
                weights = _weights(layer, observed.value(layer.activation, seen), feeds)
                sums[layer.name].add(_products(layer, observed, seen), weights)
            del seen
        found.update({name: total.moments() for name, total in sums.items()})
        del observed  # a session holds the network's weights: none is to be beside the next one, or the chips
        give_back_pool()
    return found


def _most_samples(calls: Sequence[Call]) -> int:
    return max((position.samples for _, position in calls), default=1)


def _tensors(layer: AnalogLayer) -> tuple[str, ...]:
    """Names of the tensors that moments are computed from."""
    return layer.activation, layer.output, *layer.digital_inputs
