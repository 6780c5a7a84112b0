"""Weights in cells of few bits: what each of the tiles holds that a weight is spread over.

With cells of b bits, S slices, m the greatest magnitude that a tile's full scale stands for (of a column, or of a tile)
and M = 2^(bS) - 1,

    |w| / m = n / M, rounded to a whole n = Σ_k d_k 2^(bk),    0 ≤ d_k < 2^b

Slice k holds d_k / (2^b - 1) of its full scale on the side of w's sign, and its outputs count
m (2^b - 1) 2^(bk) / M. The greatest weight has all bits set, so that every slice has it at its full scale.

In two's complement (b = 1) M = 2^(S-1) - 1, w / m = n / M with the sign of w, and slice k holds bit k of n mod 2^S;
that of k = S - 1 counts -2^k. Where all bits of a column and slice are 0, it is not read, unless ADCs read zeros
(``adc.zero_skipping``). A unipolar ADC sees bits and no signs: the slice of k = S - 1 holds ones then, and what it
gives is subtracted.
"""

import numpy as np
import numpy.typing as npt

from lhc.hardware.description.hardware import Hardware
from lhc.hardware.tile_geometry import split_sizes


def slice_factors(hardware: Hardware) -> tuple[float, ...]:
    """Share of the weights' full scale that each slice covers, the most significant first."""
    bits, slices = hardware.mapping.cell_bits, hardware.mapping.slices
    if bits is None:
        return (1.0,)
    if hardware.mapping.code == "twos-complement":
        return tuple(2**k / (2 ** (slices - 1) - 1) for k in reversed(range(slices)))
    most = 2 ** (bits * slices) - 1
    return tuple((2**bits - 1) * 2 ** (bits * k) / most for k in reversed(range(slices)))


def slice_signs(hardware: Hardware) -> tuple[int, ...]:
    """In what sign every slice holds its weights, and counts; the most significant one first."""
    slices = hardware.mapping.slices
    subtracted = hardware.adc.polarity == "unipolar" and hardware.mapping.code == "twos-complement"
    return (-1 if subtracted else 1, *(1,) * (slices - 1))


def weight_slices(matrix: npt.NDArray[np.floating], hardware: Hardware) -> list[npt.NDArray[np.floating]]:
    """The weights of every slice, ``(outputs, inputs)`` each, the most significant one first, which add up to all.

    Args:
        matrix: ``(outputs, inputs)``.
        hardware: that of the layer.
    """
    bits, slices = hardware.mapping.cell_bits, hardware.mapping.slices
    if bits is None:
        return [matrix]
    full = _full_scales(matrix, hardware)
    if hardware.mapping.code == "twos-complement":
        return _bits(matrix, full, slices)
    most = 2 ** (bits * slices) - 1
    codes = np.rint(np.abs(matrix) / np.where(full > 0, full, 1) * most).astype(np.int64)
    unit = np.sign(matrix) * full / most
    shifts = [bits * k for k in reversed(range(slices))]
    return [np.asarray((codes >> shift & 2**bits - 1) * unit * 2**shift, np.float32) for shift in shifts]


def _bits(
    matrix: npt.NDArray[np.floating], full: npt.NDArray[np.float64], count: int
) -> list[npt.NDArray[np.floating]]:
    """Two's complement: the weights that every bit stands for, the sign first."""
    unit = full / (2 ** (count - 1) - 1)
    codes = np.rint(matrix / np.where(full > 0, unit, 1)).astype(np.int64)
    worths = [-(2 ** (count - 1)), *(2**k for k in reversed(range(count - 1)))]
    return [
        np.asarray((codes >> k & 1) * unit * worth, np.float32)
        for k, worth in zip(reversed(range(count)), worths, strict=True)
    ]


def _full_scales(matrix: npt.NDArray[np.floating], hardware: Hardware) -> npt.NDArray[np.float64]:
    """Greatest magnitude in every weight's column of its tile, or in its tile, ``(outputs, inputs)``."""
    sizes = [split_sizes(size, most) for size, most in zip(matrix.shape, _most(hardware), strict=True)]
    starts = [np.cumsum([0, *parts])[:-1] for parts in sizes]
    found = np.maximum.reduceat(np.abs(matrix).astype(np.float64), starts[1], axis=1)
    if not hardware.mapping.columnwise:
        found = np.repeat(np.maximum.reduceat(found, starts[0], axis=0), sizes[0], axis=0)
    return np.repeat(found, sizes[1], axis=1)


def _most(hardware: Hardware) -> tuple[int, int]:
    """Outputs and inputs of a tile."""
    return hardware.tiles.cols, hardware.tiles.rows
