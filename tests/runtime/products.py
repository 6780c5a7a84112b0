"""Products of one matrix on tiles, by any engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.hardware import Hardware
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix
from lhc.runtime.engines.compiled.matrix import CompiledMatrix
from lhc.runtime.engines.protocol import Position, Products
from lhc.runtime.engines.registry import choose_engine
from lhc.runtime.tiles.analog_matrix import AnalogMatrix
from lhc.runtime.torch_settings import isolated

__all__ = ["ENGINES", "Chip", "Engine", "multiplier", "product", "programmed"]

Engine = Literal["auto", "fast", "aihwkit"]
ENGINES: tuple[Engine, Engine] = ("fast", "aihwkit")
"""Of machines without rare effects; elsewhere ``aihwkit`` alone, which ``auto`` takes there."""


@dataclass(frozen=True)
class Chip:
    """A matrix as the tiles of one chip hold it."""

    held: ProgrammedMatrix
    hardware: Hardware

    def programmed(self) -> ProgrammedMatrix:
        return self.held


def programmed(
    weight: npt.NDArray[np.floating],
    hardware: Hardware,
    t_s: float = 0.0,
    groups: int = 1,
    ranges: Sequence[float] | None = None,
    seed: int = 0,
    draw: int = 0,
    copies: int = 1,
) -> Chip:
    """Tiles that hold a matrix, ``(groups · outputs, inputs)``."""
    matrix = AnalogMatrix(weight, groups, hardware, "abc", ranges, copies)
    return Chip(matrix.read(seed, draw, t_s), hardware)


def multiplier(chip: Chip, engine: Engine, seed: int = 0, draw: int = 0) -> Products:
    """What computes the products of programmed tiles; seed and draw are those that they were programmed with."""
    if choose_engine(engine, chip.hardware).name == "aihwkit":
        return AihwkitMatrix([chip.held], [draw], seed, chip.hardware, chip.held.groups > 1, torch.device("cpu"))
    return CompiledMatrix([chip.held], [draw], seed, chip.hardware)


def product(
    chip: Chip,
    x: Tensor,
    group: int = 0,
    unit: int = 0,
    engine: Engine = "auto",
    seed: int = 0,
    draw: int = 0,
) -> Tensor:
    """Products of vectors ``(vectors, inputs)`` with the matrix of a group, ``(vectors, outputs)``."""
    with isolated():
        position = Position(unit * len(x), len(x))
        groups, products = chip.held.groups, multiplier(chip, engine, seed, draw)
        if groups == 1:
            return products.multiply(x, position, 0)[0]
        # A point with many channels: a group's are the vector.
        points = x.new_zeros(len(x), groups, x.shape[1])
        points[:, group] = x
        outputs = products.convolve(points.flatten(1)[..., None], _point(groups), position, 0)[0, :, :, 0]
        return outputs.view(len(x), groups, -1)[:, group]


def _point(groups: int) -> ConvGeometry:
    return ConvGeometry((1,), (1,), (1,), ((0, 0),), "NOTSET", groups)
