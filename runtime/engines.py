"""What multiplies on some chips, by the engine that is wanted."""

from collections.abc import Sequence

from lhc.conductances import ProgrammedMatrix
from lhc.hardware import Hardware
from lhc.options.values import Engine
from lhc.runtime.fast import FastMatrix
from lhc.runtime.torch_device import torch_device
from lhc.runtime.torch_matrix import TorchMatrix

__all__ = ["ChipsMatrix", "matrix_on_chips"]

ChipsMatrix = FastMatrix | TorchMatrix
"""Products with a matrix as several chips hold it."""


def matrix_on_chips(
    engine: Engine,
    chips: Sequence[ProgrammedMatrix],
    draws: Sequence[int],
    seed: int,
    hardware: Hardware,
    convolves: bool,
) -> ChipsMatrix:
    """Lay out a matrix for an engine.

    Args:
        chips: the matrix on every chip; split alike.
        draws: numbers of their programmings, for their noise.
        convolves: whether it multiplies images, or rows.

    Raises:
        UsageError: the engine cannot stand for the hardware.
    """
    if engine == "torch":
        return TorchMatrix(chips, draws, seed, hardware, convolves, torch_device())
    return FastMatrix(chips, draws, seed, hardware, engine == "fast16").lay_out(convolves)
