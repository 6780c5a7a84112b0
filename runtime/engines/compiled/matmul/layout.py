"""The memory in which the kernel of rows multiplies a block of them."""

from typing import NamedTuple

import numpy as np

from lhc.conductances import Floats
from lhc.runtime.engines.compiled.kernels.tile import PackedTiles
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES
from lhc.runtime.engines.counter_rng import Words

__all__ = ["BLOCK", "MatmulMemory", "matmul_memory"]

BLOCK = 4 * LANES
"""Rows that meet a tile together: its weights come from far away once for all of them."""


class MatmulMemory(NamedTuple):
    """Memory of a block of `BLOCK` rows.

    Attributes:
        pitch: of codes.
        width: of products.
        codes: ``(BLOCK, pitch)``.
        again: the same for a repeated read.
        z: products of a segment, ``(BLOCK, width)``.
        z_again: the same for a repeated read.
        scales: of rows, ``(BLOCK,)``.
        line: of inputs, ``(LANES,)``.
        keys: of noise, ``(2, BLOCK)``.
        samples: of rows, in two words, ``(2, BLOCK)``.
    """

    pitch: int
    width: int
    codes: Floats
    again: Floats
    z: Floats
    z_again: Floats
    scales: Floats
    line: Floats
    keys: Words
    samples: Words


def matmul_memory(tiles: PackedTiles) -> MatmulMemory:
    """For one call."""
    pitch, width = (-(-int(np.diff(sizes).max()) // LANES) * LANES for sizes in (tiles.inputs, tiles.segments))
    # Rows of codes that are a power of two apart would share few lines of the cache.
    pitch += 16
    # The last rows of a block may be none: they are multiplied, and left out.
    codes, again = np.zeros(BLOCK * pitch, np.float32), np.zeros(BLOCK * pitch, np.float32)
    return MatmulMemory(
        pitch,
        width,
        codes,
        again,
        np.empty(BLOCK * width, np.float32),
        np.empty(BLOCK * width, np.float32),
        np.empty(BLOCK, np.float32),
        np.empty(LANES, np.float32),
        np.empty(2 * BLOCK, np.uint32),
        np.empty(2 * BLOCK, np.uint32),
    )
