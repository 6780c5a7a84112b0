"""Noise of a chip on a weight matrix, drawn anew for every training step.

`lhc.runtime.tiles` programs, drifts and reads the weights, so that training meets exactly the errors that an evaluation
meets: non-zero means, the dependence on conductance, and the gain of drift compensation, which is measured through a
noisy ADC and therefore a few per cent too small. The product itself stays an ordinary one.

With s the scale of a column (its greatest magnitude on the tile) and w = W / s, a tile realises g·w̃ for w, g being its
gain. Training uses W + s·e with the error e = g·w̃ - w held constant: the gradient reaches W straight through, and s,
through which a column with one great weight is punished for the noise it brings on all others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.hardware import Hardware
from lhc.hardware.circuits.faults import Faults
from lhc.hardware.devices.weight_slices import slice_factors, weight_slices
from lhc.hardware.tile_geometry import split_sizes
from lhc.options.training import WeightNoise
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime.tiles.analog_matrix import AnalogMatrix
from lhc.runtime.torch_settings import making_on_cpu


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
        """The matrix itself: it is programmed already."""
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
    matrix: Tensor, hardware: Hardware, t_s: float, kind: WeightNoise, copies: int = 1
) -> DrawnMatrix | KeyedMatrix:
    """Matrix of a chip from `draw_matrix`; made later where a key is enough."""
    if kind == "devices" and hardware.devices is not None:
        return KeyedMatrix(hardware, t_s, copies, int(torch.randint(2**31, (), device="cpu")))
    return draw_matrix(matrix, hardware, t_s, kind, copies)


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


def draw_matrix(matrix: Tensor, hardware: Hardware, t_s: float, kind: WeightNoise, copies: int = 1) -> DrawnMatrix:
    """Draw a chip's errors, which torch's global generator chooses.

    Copies of the weights are drawn one by one; what counts is the mean of their errors. Of slices it is their sum, with
    what rounding leaves out; their gains, which output noise grows by, are added as squares.

    Args:
        matrix: ``(outputs, inputs)``.
        hardware: geometry, mapping, converters and training noise.
    """
    if kind == "devices":
        if hardware.devices is not None:
            return KeyedMatrix(hardware, t_s, copies, int(torch.randint(2**31, (), device="cpu"))).made(matrix)
        scales = column_scales(matrix.detach(), hardware)
        rounded = sum(torch.from_numpy(part) for part in weight_slices(matrix.detach().cpu().numpy(), hardware))
        unit = by_input(torch.where(scales > 0, scales, 1.0), matrix.shape[1], hardware)
        errors = (torch.as_tensor(rounded).to(matrix) - matrix.detach()) / unit
        return DrawnMatrix(errors, errors, torch.ones_like(scales))
    if copies > 1:
        drawn = [draw_matrix(matrix, hardware, t_s, kind) for _ in range(copies)]
        parts = zip(*((one.errors, one.calibrated, one.gains) for one in drawn), strict=True)
        return DrawnMatrix(*(torch.stack(part).mean(0) for part in parts))
    if hardware.mapping.cell_bits is not None:
        return _draw_slices(matrix.detach(), hardware, t_s, kind)
    matrix = matrix.detach().contiguous()  # random numbers are drawn in the order of memory
    scales = column_scales(matrix, hardware)
    errors = torch.zeros_like(matrix)
    for index, inputs in _slices(split_sizes(matrix.shape[1], hardware.tiles.rows)):
        for _, outputs in _slices(split_sizes(len(matrix), hardware.tiles.cols)):
            scale = scales[outputs, index : index + 1]
            weights = torch.where(scale > 0, matrix[outputs, inputs] / scale, 0.0)
            errors[outputs, inputs] = _preset_error(weights, hardware)
    return DrawnMatrix(errors, errors, torch.ones_like(scales))


def _of_key(chip: KeyedMatrix, matrix: Tensor, calibrated: bool) -> DrawnMatrix:
    """Program, drift and read the matrix on the CPU, as for an evaluation."""
    hardware = chip.hardware
    more = hardware.compensation.reads if calibrated and hardware.corrects_outputs else 0
    with making_on_cpu():
        healthy = hardware.model_copy(update={"faults": Faults()})  # training knows of no faults
        tiles = AnalogMatrix(matrix.cpu().numpy(), 1, healthy, "0", copies=chip.copies)
        reads = tiles.reads(chip.key, 0, chip.t_s, range(1 + more))
    gains = _gains(reads[0], hardware)
    scales = column_scales(matrix, hardware)
    unit = by_input(torch.where(scales > 0, scales, 1.0), matrix.shape[1], hardware)
    errors = [(torch.from_numpy(reads.pop(0).weights()).to(matrix) - matrix) / unit for _ in range(1 + more)]
    mean = torch.stack(errors[1:] or errors).mean(0)
    return DrawnMatrix(errors[0], mean, torch.from_numpy(gains).to(scales))


def _gains(read: ProgrammedMatrix, hardware: Hardware) -> npt.NDArray[np.float64]:
    """Gains of drift compensation, ``(outputs, row splits)``: mean of copies, root of the squares of slices."""
    of_rows = [np.concatenate([tile.gain for tile in row]) for row in read.tiles]
    factors = slice_factors(hardware)
    splits = []
    for split in dict.fromkeys(read.starts):
        rows = [gain for gain, start in zip(of_rows, read.starts, strict=True) if start == split]
        by_slice = np.reshape(rows, (len(factors), -1, len(rows[0]))).mean(axis=1)
        splits.append(np.sqrt(np.square(by_slice * np.array(factors)[:, None]).sum(axis=0)))
    return np.stack(splits, axis=1)


def _draw_slices(matrix: Tensor, hardware: Hardware, t_s: float, kind: WeightNoise) -> DrawnMatrix:
    whole = hardware.with_whole_weights()
    parts = [torch.from_numpy(part).to(matrix) for part in weight_slices(matrix.cpu().numpy(), hardware)]
    scales = column_scales(matrix, hardware)
    unit = by_input(torch.where(scales > 0, scales, 1.0), matrix.shape[1], hardware)
    errors, gains = (sum(parts, -matrix)) / unit, torch.zeros_like(scales)
    for part, factor in zip(parts, slice_factors(hardware), strict=True):
        drawn = draw_matrix(part, whole, t_s, kind)
        errors, gains = errors + factor * drawn.errors, gains + (factor * drawn.gains).square()
    return DrawnMatrix(errors, errors, gains.sqrt())


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
