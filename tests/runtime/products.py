"""Products of one matrix on tiles, by any engine."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.hardware import Hardware
from lhc.onnx_io.product import ConvGeometry
from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix
from lhc.runtime.engines.compiled.matrix import CompiledMatrix
from lhc.runtime.engines.protocol import Products
from lhc.runtime.matrix import AnalogMatrix
from lhc.runtime.stream import Position, Unit
from lhc.runtime.threads import isolated

__all__ = ["ENGINES", "FAST_AND_REFERENCE", "Engine", "multiplier", "product", "programmed"]

Engine = Literal["fast", "reference", "aihwkit"]
FAST_AND_REFERENCE: tuple[Engine, Engine] = ("fast", "reference")
ENGINES: tuple[Engine, ...] = (*FAST_AND_REFERENCE, "aihwkit")
"""Those that are equal to float rounding."""


def programmed(
    weight: npt.NDArray[np.floating],
    hardware: Hardware,
    t_s: float | None = None,
    groups: int = 1,
    ranges: Sequence[float] | None = None,
    seed: int = 0,
    draw: int = 0,
    copies: int = 1,
) -> AnalogMatrix:
    """Tiles that hold a matrix, ``(groups · outputs, inputs)``; not drifted where ``t_s`` is None."""
    matrix = AnalogMatrix(weight, groups, hardware, "abc", ranges, copies)
    with isolated():
        matrix.program(seed, draw)
        if t_s is not None:
            matrix.drift_to(t_s)
    return matrix


def multiplier(matrix: AnalogMatrix, engine: Engine, seed: int = 0, draw: int = 0) -> Products:
    """What computes the products of programmed tiles; seed and draw are those that they were programmed with."""
    if engine == "reference":
        return matrix
    if engine == "aihwkit":
        convolves = matrix.groups > 1
        return AihwkitMatrix([matrix.programmed()], [draw], seed, matrix.hardware, convolves, torch.device("cpu"))
    return CompiledMatrix([matrix.programmed()], [draw], seed, matrix.hardware)


def product(
    matrix: AnalogMatrix,
    x: Tensor,
    group: int = 0,
    unit: int = 0,
    engine: Engine = "fast",
    seed: int = 0,
    draw: int = 0,
) -> Tensor:
    """Products of vectors ``(vectors, inputs)`` with the matrix of a group, ``(vectors, outputs)``."""
    with isolated():
        if engine == "reference":
            return matrix.products(x.T[None], group, Unit(unit, range(len(x))))[0].T.contiguous()
        position = Position(unit * len(x), len(x))
        products = multiplier(matrix, engine, seed, draw)
        if matrix.groups == 1:
            return products.multiply(x, position, 0)[0]
        # A point with many channels: a group's are the vector.
        points = x.new_zeros(len(x), matrix.groups, x.shape[1])
        points[:, group] = x
        outputs = products.convolve(points.flatten(1)[..., None], _point(matrix.groups), position, 0)[0, :, :, 0]
        return outputs.view(len(x), matrix.groups, -1)[:, group]


def _point(groups: int) -> ConvGeometry:
    return ConvGeometry((1,), (1,), (1,), ((0, 0),), "NOTSET", groups)
