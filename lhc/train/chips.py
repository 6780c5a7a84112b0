"""What a chip does to a weight matrix, drawn anew for every training step.

aihwkit's device model programs, drifts and reads the scaled weights, tile by tile, so that training meets exactly the
errors that an evaluation meets: non-zero means, the dependence on conductance, and the gain of drift compensation,
which is measured through a noisy ADC and therefore a few per cent too small. The product itself stays an ordinary one.
Where evaluations compute its formulas by compiled loops, so does training on the CPU, whatever the matrix's size.

With s the scale of a column (its greatest magnitude on the tile) and w = W / s, a tile realises g·w̃ for w, g being its
gain. Training uses W + s·e with the error e = g·w̃ - w held constant: the gradient reaches W straight through, and s,
through which a column with one great weight is punished for the noise it brings on all others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lhc.hardware import Hardware
from lhc.hardware.device_model import LEAST_READOUT
from lhc.hardware.geometry import split_sizes
from lhc.hardware.sections import DriftCompensation
from lhc.hardware.weight_slices import slice_factors, weight_slices
from lhc.options.training import WeightNoise
from lhc.runtime.large_matrix import LargeMatrix, computed

__all__ = ["DrawnMatrix", "KeyedMatrix", "by_input", "chip_of", "column_scales", "draw_matrix"]


@dataclass(frozen=True, eq=False)
class DrawnMatrix:
    """One matrix on one chip.

    Attributes:
        errors: of the realised weights in units of their column's scale, ``(outputs, inputs)``.
        calibrated: the same at the reads of a calibration, their mean; read noise is new at every read.
        gains: of drift compensation, per output and row split, ``(outputs, row splits)``.
    """

    errors: Tensor
    calibrated: Tensor
    gains: Tensor

    def made(self, matrix: Tensor) -> "DrawnMatrix":
        """It is."""
        return self


@dataclass(frozen=True, eq=False)
class KeyedMatrix:
    """One matrix on one chip that is made whenever it is asked for, and held by nobody here.

    Attributes:
        key: of all its devices.
    """

    hardware: Hardware
    t_s: float
    copies: int
    key: int

    def made(self, matrix: Tensor, calibrated: bool = True) -> DrawnMatrix:
        """The chip.

        Args:
            matrix: ``(outputs, inputs)``, as it was when the key was drawn.
            calibrated: read it for a calibration too.
        """
        return _of_key(self, matrix.detach(), calibrated)


def chip_of(
    matrix: Tensor, hardware: Hardware, t_s: float, kind: WeightNoise, model: object | None, copies: int = 1
) -> DrawnMatrix | KeyedMatrix:
    """What `draw_matrix` draws; made later where a key is enough for that."""
    if kind == "devices" and model is not None and _compiled(matrix, hardware):
        return KeyedMatrix(hardware, t_s, copies, int(torch.randint(2**31, ())))
    return draw_matrix(matrix, hardware, t_s, kind, model, copies)


def column_scales(matrix: Tensor, hardware: Hardware) -> Tensor:
    """Scale of every output on every row split of its tiles, ``(outputs, row splits)``; differentiable.

    Args:
        matrix: ``(outputs, inputs)``.
    """
    rows = split_sizes(matrix.shape[1], hardware.tiles.rows)
    parts = torch.split(matrix, rows, dim=1)
    # Not of magnitudes, which would be kept for the gradient.
    greatest = torch.stack([torch.maximum(part.amax(1), -part.amin(1)) for part in parts], dim=1)
    if not hardware.mapping.columnwise:
        parts = torch.split(greatest, split_sizes(len(matrix), hardware.tiles.cols))
        greatest = torch.cat([part.amax(0, keepdim=True).expand(len(part), -1) for part in parts])
    return hardware.mapping.scales(greatest)


def by_input(columns: Tensor, inputs: int, hardware: Hardware) -> Tensor:
    """``(outputs, row splits)`` to ``(outputs, inputs)``."""
    rows = split_sizes(inputs, hardware.tiles.rows)
    return torch.cat([columns[:, n : n + 1].expand(-1, size) for n, size in enumerate(rows)], dim=1)


def draw_matrix(
    matrix: Tensor, hardware: Hardware, t_s: float, kind: WeightNoise, model: object | None, copies: int = 1
) -> DrawnMatrix:
    """Draw a chip's errors from torch's global generator.

    Copies of the weights are drawn one by one; what counts is the mean of their errors. Of slices it is their sum, with
    what rounding leaves out; their gains, which output noise grows by, are added as squares.

    Args:
        matrix: ``(outputs, inputs)``.
        hardware: geometry, mapping, converters and training noise.
        model: aihwkit's model of the devices; None where they are perfect.
    """
    if kind == "devices" and model is not None and _compiled(matrix, hardware):
        return KeyedMatrix(hardware, t_s, copies, int(torch.randint(2**31, ()))).made(matrix)
    if copies > 1:
        drawn = [draw_matrix(matrix, hardware, t_s, kind, model) for _ in range(copies)]
        parts = zip(*((one.errors, one.calibrated, one.gains) for one in drawn), strict=True)
        return DrawnMatrix(*(torch.stack(part).mean(0) for part in parts))
    if hardware.mapping.cell_bits is not None:
        return _draw_slices(matrix.detach(), hardware, t_s, kind, model)
    matrix = matrix.detach().contiguous()  # random numbers are drawn in the order of memory
    scales = column_scales(matrix, hardware)
    errors, gains = torch.zeros_like(matrix), torch.ones_like(scales)
    calibrated = torch.zeros_like(matrix)
    for index, inputs in _slices(split_sizes(matrix.shape[1], hardware.tiles.rows)):
        for _, outputs in _slices(split_sizes(len(matrix), hardware.tiles.cols)):
            scale = scales[outputs, index : index + 1]
            weights = torch.where(scale > 0, matrix[outputs, inputs] / scale, 0.0)
            if kind == "preset":
                errors[outputs, inputs] = calibrated[outputs, inputs] = _preset_error(weights, hardware)
            elif model is not None:
                (realised, gain), reads = _programmed(weights, hardware, t_s, model)
                errors[outputs, inputs] = realised * gain - weights
                calibrated[outputs, inputs] = torch.stack([w * g - weights for w, g in reads]).mean(0)
                gains[outputs, index] = gain.flatten()
    return DrawnMatrix(errors, calibrated, gains)


def _compiled(matrix: Tensor, hardware: Hardware) -> bool:
    """Whether the loops that program large matrices for evaluations can draw the chip."""
    return matrix.device.type == "cpu" and computed(hardware) and not hardware.faults.any


def _of_key(chip: KeyedMatrix, matrix: Tensor, calibrated: bool) -> DrawnMatrix:
    hardware = chip.hardware
    tiles = LargeMatrix(matrix.numpy(), 1, hardware, "0", copies=chip.copies)
    tiles.program(chip.key, 0)
    more = hardware.compensation.reads if calibrated and hardware.corrects_outputs else 0
    reads = tiles.reads(chip.t_s, range(1 + more))
    scales = column_scales(matrix, hardware)
    unit = by_input(torch.where(scales > 0, scales, 1.0), matrix.shape[1], hardware)
    first = reads[0]
    gains = [np.concatenate([tile.gain for tile in row]) for row in first.tiles]
    splits = [
        np.mean([gain for gain, start in zip(gains, first.starts, strict=True) if start == split], axis=0)
        for split in dict.fromkeys(first.starts)
    ]
    errors = [(torch.from_numpy(reads.pop(0).weights()) - matrix) / unit for _ in range(1 + more)]
    mean = torch.stack(errors[1:] or errors).mean(0)
    return DrawnMatrix(errors[0], mean, torch.from_numpy(np.stack(splits, axis=1)).to(scales))


def _draw_slices(
    matrix: Tensor, hardware: Hardware, t_s: float, kind: WeightNoise, model: object | None
) -> DrawnMatrix:
    whole = hardware.with_whole_weights()
    parts = [torch.from_numpy(part).to(matrix) for part in weight_slices(matrix.cpu().numpy(), hardware)]
    scales = column_scales(matrix, hardware)
    unit = by_input(torch.where(scales > 0, scales, 1.0), matrix.shape[1], hardware)
    errors, gains = (sum(parts, -matrix)) / unit, torch.zeros_like(scales)
    calibrated = errors
    for part, factor in zip(parts, slice_factors(hardware), strict=True):
        drawn = draw_matrix(part, whole, t_s, kind, model)
        errors, gains = errors + factor * drawn.errors, gains + (factor * drawn.gains).square()
        calibrated = calibrated + factor * drawn.calibrated
    return DrawnMatrix(errors, calibrated, gains.sqrt())


def _slices(sizes: Sequence[int]) -> Iterator[tuple[int, slice]]:
    start = 0
    for index, size in enumerate(sizes):
        yield index, slice(start, start + size)
        start += size


def _preset_error(weights: Tensor, hardware: Hardware) -> Tensor:
    """Normal noise relative to each weight, or to the tile's full scale (aihwkit: MULT_NORMAL, ADD_NORMAL)."""
    training = hardware.training
    noise = training.weight_noise * torch.randn_like(weights)
    return noise * weights if training.weight_noise_type == "multiplicative" else noise * weights.abs().max()


_Read = tuple[Tensor, Tensor]
"""A tile's weights at the time of inference, and the gain that compensates their drift."""


def _programmed(weights: Tensor, hardware: Hardware, t_s: float, model: object) -> tuple[_Read, list[_Read]]:
    """One programming of a tile: the read of inference, and those of a calibration where there is one."""
    if not weights.any():
        return (weights, weights.new_ones(())), [(weights, weights.new_ones(()))]
    programmed, drift = model.apply_programming_noise(weights)  # type: ignore[attr-defined]  # aihwkit is untyped
    live = (weights != 0).any(dim=1, keepdim=True)
    kind = hardware.compensation.drift
    baseline = _mean(weights * live, kind) if kind == "global-exact" else None
    if kind in ("global", "per-column"):
        baseline = _readout(programmed, live, hardware)

    def read() -> _Read:
        drifted = model.apply_drift_noise(programmed, drift, t_s)  # type: ignore[attr-defined]
        gain = weights.new_ones(()) if baseline is None else baseline / _readout(drifted, live, hardware)
        if hardware.offset:  # subtracted behind the gain of drift compensation
            drifted = drifted - hardware.offset * weights.abs().max() / gain
        return drifted * live, gain

    first = read()
    return first, [read() for _ in range(hardware.compensation.reads)] if hardware.corrects_outputs else [first]


def _readout(weights: Tensor, live: Tensor, hardware: Hardware) -> Tensor:
    """Mean magnitude when one input after the other is driven at full scale, seen through noise and ADC."""
    adc = hardware.adc
    seen = weights
    if adc.noise > 0:
        seen = seen + adc.noise * torch.randn_like(seen)
    if adc.step is not None:
        seen = torch.round(seen / adc.step) * adc.step
    return _mean(seen * live, hardware.compensation.drift)


def _mean(seen: Tensor, kind: DriftCompensation) -> Tensor:
    """Mean magnitude of a tile's read-out, or of every column's ``(outputs, 1)``."""
    magnitudes = seen.abs()
    mean = magnitudes.mean(dim=1, keepdim=True) if kind == "per-column" else magnitudes.mean()
    return mean.clamp(min=LEAST_READOUT)
