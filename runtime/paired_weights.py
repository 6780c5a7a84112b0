"""Weights as the engine ``fast16`` multiplies them: rounded to 16 bits, those of two inputs in a word.

A weight is a whole number of steps. One step serves all tiles of a matrix on a chip: it is a 32,767th of the greatest
weight, or more where sums of products would not be sure to fit 32 bits. Devices are programmed to about a hundredth of
the full scale, which is 300 times as coarse.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lhc.conductances import Floats, ProgrammedTile
from lhc.errors import UsageError
from lhc.hardware import Hardware

__all__ = ["check_pairs", "put_pairs", "steps_of"]

_MOST_BITS = 8
"""Of a DAC."""
_GREATEST_CODE = 2**_MOST_BITS - 1
"""Of a DAC without signs."""
_GREATEST_WEIGHT = 2**15 - 1
_GREATEST_SUM = 2**31 - 1


def check_pairs(hardware: Hardware) -> None:
    """Refuse a layer's hardware on which products of 16-bit integers are not what tiles compute.

    Raises:
        UsageError: inputs are no codes of at most 8 bits, or products depend on single currents.
    """
    why = None
    if hardware.dac.step is None:
        why = "its DAC quantises nothing, so that inputs are no integers"
    elif (hardware.dac.bits or 0) > _MOST_BITS:
        why = f"its DAC has {hardware.dac.bits} bits, and sums are sure to fit with at most {_MOST_BITS}"
    elif hardware.currents.any:
        why = "its read noise or its wires make products depend on single currents"
    if why is not None:
        raise UsageError(f"engine fast16, hardware {hardware.name!r}: {why}; choose the engine fast")


def steps_of(tiles: Sequence[ProgrammedTile]) -> float:
    """Steps that one unit of the weights has, for tiles of one chip.

    The sum of an output is at most the sum of its weights' magnitudes, each rounded up by half a step, times the
    greatest code.
    """
    steps = np.inf
    for tile in tiles:
        magnitudes = np.abs(tile.weights)
        greatest, most = float(magnitudes.max(initial=0)), float(magnitudes.sum(1, dtype=np.float64).max(initial=0))
        if greatest > 0:
            room = _GREATEST_SUM / _GREATEST_CODE - magnitudes.shape[1] / 2
            steps = min(steps, _GREATEST_WEIGHT / greatest, room / most)
    return float(steps) if np.isfinite(steps) else 1.0


def put_pairs(part: Floats, steps: float, lanes: int, target: npt.NDArray[np.uint32]) -> None:
    """Weights ``(outputs, inputs)`` as words ``(blocks, pairs, lanes)``; what a block or a pair has more stays 0."""
    outputs, inputs = part.shape
    blocks = target.reshape(-1, (inputs + 1) // 2, lanes)
    whole = np.zeros((len(blocks) * lanes, 2 * blocks.shape[1]), "<i2")
    whole[:outputs, :inputs] = np.rint(part.astype(np.float64) * steps)
    words = whole.view("<u4").reshape(len(blocks), lanes, -1)
    blocks[:] = words.swapaxes(1, 2)
