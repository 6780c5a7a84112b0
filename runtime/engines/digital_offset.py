"""What is subtracted from products whose devices hold an offset: it times the sum of the inputs behind the DAC."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lhc.conductances import ProgrammedMatrix, ProgrammedTile
from lhc.hardware import Adc, Hardware
from lhc.runtime.engines.protocol import Digital, Products

__all__ = ["DigitalOffset"]


@dataclass(frozen=True, eq=False)
class DigitalOffset:
    """What is subtracted from products whose devices hold an offset: it times the sum of the inputs behind the DAC.

    Attributes:
        sums: of the inputs of every row of tiles, as products without noise and ADC.
        worth: of a sum in every output, ``(chips, groups, outputs, rows of tiles)``.
    """

    sums: Products
    worth: Tensor

    @classmethod
    def of(
        cls,
        chips: Sequence[ProgrammedMatrix],
        hardware: Hardware,
        exact: Callable[[ProgrammedMatrix, Hardware], Products],
    ) -> "DigitalOffset":
        """Of a matrix on some chips; ``exact`` makes what multiplies with one on a machine without noise and ADC."""
        first, rows = chips[0], len(chips[0].tiles)
        tiles = []
        for number, (tile, *_) in enumerate(first.tiles):
            one = np.zeros((first.groups, rows, tile.weights.shape[1]), np.float32)
            one[:, number] = 1
            flat, count = one.reshape(first.groups * rows, -1), first.groups * rows
            tiles.append((ProgrammedTile(flat, np.ones(count, np.float32), np.ones(count), tile.input_range),))
        adc = Adc(bits=None, bound=None, noise=0.0, bound_management="none")
        machine = hardware.model_copy(update={"adc": adc, "devices": None, "dac": hardware.dac.driven_at_once})
        matrix = ProgrammedMatrix(tuple(tiles), first.starts, first.groups, first.devices)
        worth = [[np.concatenate([tile.base * tile.scales for tile in row]) for row in chip.tiles] for chip in chips]
        shaped = np.array(worth, np.float32).reshape(len(chips), rows, first.groups, -1).transpose(0, 2, 3, 1)
        return cls(exact(matrix, machine), torch.from_numpy(shaped.copy()))

    def alone(self, chip: int) -> "DigitalOffset":
        """That of one of the chips."""
        return replace(self, worth=self.worth[chip : chip + 1])

    def subtract(self, found: Tensor, sums: Tensor, digital: Digital | None = None) -> None:
        """Take it from outputs, ``(chips, items, groups · outputs, positions)``, perhaps corrected already.

        Args:
            sums: ``(items, groups · rows of tiles, positions)``.
        """
        chips, groups, outputs, rows = self.worth.shape
        worth = self.worth
        if digital is not None and digital.corrects:
            gains = torch.from_numpy(digital.numbers).view(chips, 3, groups, outputs)[:, 0]
            worth = worth * gains[..., None]
        total = torch.einsum("cgor,igrp->cigop", worth, sums.view(len(sums), groups, rows, -1))
        found -= total.reshape(found.shape)
