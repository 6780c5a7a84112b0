"""Protocol of an engine: products with one matrix as several chips hold it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from lhc.hardware import Hardware
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.programmed_matrix import Floats, ProgrammedMatrix

if TYPE_CHECKING:
    from torch import Tensor


LEAST_PEAK = np.nextafter(np.float32(2.0**-128), np.float32(1))
"""Least number whose reciprocal single precision holds. Where a vector's greatest magnitude divides it and is less, the
vector counts as all-zero; aihwkit gives 0 for it as well, but no number where one of its inputs is 0."""


@dataclass(frozen=True)
class Position:
    """Position of a call in the stream of samples of a draw, which alone fixes the noise.

    Attributes:
        first: index of the first sample.
        samples: how many samples the call holds.
    """

    first: int
    samples: int

    def of(self, items: int) -> tuple[int, int]:
        """Samples of a call that holds so many items, and the first; one sample where they do not share them out."""
        return (self.samples, self.first) if items % self.samples == 0 else (1, self.first)


class Digital(NamedTuple):
    """Digital rest of an operator: outputs become ``gain · y + offset``, then a bias is added.

    Attributes:
        numbers: gain, offset and bias of every output, ``(chips, 3, groups · outputs)`` as one line.
        corrects: whether there are gain and offset.
        biased: whether there is a bias.
        adds: whether a tensor is added then.
        addend: that tensor, the same for all chips, as one line.
        clips: whether a number below ``low`` becomes that in the end, and one above ``high`` that.
        low, high: bounds.
    """

    numbers: Floats
    corrects: bool
    biased: bool
    adds: bool = False
    addend: Floats = np.zeros(0, np.float32)
    clips: bool = False
    low: np.float32 = np.float32(-np.inf)
    high: np.float32 = np.float32(np.inf)


class Products(Protocol):
    """Products by the tiles of one or more chips, or by something that stands in for them."""

    @property
    def chips(self) -> int:
        """Number of chips."""
        ...

    @property
    def completes(self) -> bool:
        """Whether products do what is digital about an operator (`Digital`) in the same pass."""
        ...

    @property
    def completes_epilogue(self) -> bool:
        """Whether they add a tensor and clip there as well."""
        ...

    def convolve(
        self, x: "Tensor", geometry: ConvGeometry, position: Position, use: int, digital: Digital | None = None
    ) -> "Tensor":
        """Convolve images.

        Args:
            x: ``(images, groups · channels, *spatial)``, none of them 0.
            position: fixes the noise.
            use: which of the nodes that share the devices reads them: their reads have noise of their own.
            digital: what is done with the outputs; None where these products do not complete them.

        Returns:
            ``(chips, images, groups · outputs, *positions)``.
        """
        ...

    def multiply(self, rows: "Tensor", position: Position, use: int, digital: Digital | None = None) -> "Tensor":
        """Multiply the rows of matrices ``(items, ..., inputs)``; ``(chips, items, ..., outputs)``."""
        ...


class ChipsMatrix(Products, Protocol):
    """Products of an engine with a matrix as several chips hold it."""

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that products read."""
        ...

    def alone(self, chip: int) -> "ChipsMatrix":
        """The matrix on one of the chips, without another copy of its weights."""
        ...


class Engine(Protocol):
    """A way to compute the products of tiles."""

    name: str

    def unsupported(self, hardware: Hardware) -> str | None:
        """The effect of a machine that the engine lacks, in words; None where it has them all."""
        ...

    def matrix(
        self,
        chips: Sequence[ProgrammedMatrix],
        draws: Sequence[int],
        seed: int,
        hardware: Hardware,
        convolves: bool,
    ) -> ChipsMatrix:
        """Lay out a matrix.

        Args:
            chips: the matrix on every chip; split alike.
            draws: numbers of their programmings, for their noise.
            seed: of the run, for their noise.
            hardware: of the layer.
            convolves: whether it multiplies images, or rows.
        """
        ...
