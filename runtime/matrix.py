"""One weight matrix on aihwkit's tiles: mapping, programming, drift, and products by aihwkit's own tile forward.

A matrix larger than a tile is split as aihwkit splits it: inputs over tiles whose partial sums are added, outputs
over tiles whose outputs are joined. The groups of a grouped Conv lie side by side in the columns of the same tiles
and are driven one at a time.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from aihwkit.simulator.tiles.array import TileModuleArray
from torch import Tensor

from lhc.conductances import ProgrammedMatrix, ProgrammedTile
from lhc.errors import ModelError
from lhc.hardware import Hardware
from lhc.runtime.stream import Unit
from lhc.runtime.tile import PerVectorTile
from lhc.runtime.unfold import ConvGeometry
from lhc.runtime.vectors import Vectors
from lhc.seeds import device_seed

__all__ = ["AnalogMatrix"]


_COPIES = 6
"""Of the weights in a tile: as mapped, programmed and drifted, and the devices' drift coefficients."""


class AnalogMatrix:
    """Tiles of one chip that hold one matrix; its products are the `reference` engine."""

    chips = 1

    def __init__(
        self,
        weight: np.ndarray,
        groups: int,
        hardware: Hardware,
        devices: str,
        ranges: Sequence[float] | None = None,
    ) -> None:
        """Map a matrix onto tiles; nothing is programmed yet.

        Args:
            weight: ``(groups · outputs, inputs)``.
            groups: matrices that lie one below the other in ``weight``.
            hardware: geometry, converters, devices.
            devices: names the devices, for their seeds.
            ranges: static input range of each row split, for hardware that has them.
        """
        self.hardware = hardware
        self.devices = devices
        self.groups = groups
        self._stream = (0, devices, 0)
        self.outputs = len(weight) // groups
        self.nbytes = _COPIES * 4 * weight.size
        config = hardware.to_rpu_config()
        config.simulator_tile_class = PerVectorTile
        self._array = TileModuleArray(len(weight), weight.shape[1], config, bias=False)
        # torch draws random numbers in the order of memory: it must not show how the file stores the matrix.
        self._array.set_weights(torch.tensor(np.ascontiguousarray(weight, np.float32)))
        self._array.eval()
        if ranges is not None and hardware.needs_calibration:
            for value, row in zip(ranges, self._array.array, strict=True):
                for tile in row:
                    tile.set_input_range(value)
        for tile in self._tiles():
            tile.tile.mark_zero_columns()

    def _tiles(self) -> Iterator[Any]:
        return (tile for row in self._array.array for tile in row)

    def program(self, seed: int, draw: int) -> None:
        """Program all devices anew and measure the baseline of drift compensation; no drift yet.

        Raises:
            ModelError: the noise model is not defined for these weights.
        """
        self._stream = (seed, self.devices, draw)
        if self.hardware.devices is None:
            return
        for index, tile in enumerate(self._tiles()):
            torch.default_generator.manual_seed(device_seed(*self._stream, "program", index))
            tile.program_weights()
            if not torch.isfinite(tile.tile.weight).all():
                raise ModelError(
                    f"devices {self.hardware.devices.model!r} cannot be programmed with a tile whose weights are all"
                    " equal: aihwkit's model divides by their range"
                )
            # aihwkit keeps the gain of an earlier drift; freshly programmed tiles have none.
            tile.alpha = torch.ones_like(tile.alpha)

    def drift_to(self, t_s: float) -> None:
        """Let the programmed devices drift to ``t_s`` seconds after the first read and draw read noise."""
        if self.hardware.devices is None:
            return
        for index, tile in enumerate(self._tiles()):
            milliseconds = round(t_s * 1000)
            torch.default_generator.manual_seed(device_seed(*self._stream, "drift", index, milliseconds))
            tile.drift_weights(t_s)

    def convolution(self, geometry: ConvGeometry) -> None:
        """See `Products`: products are made of windows."""

    def products(self, vectors: Vectors, first_group: int, unit: Unit) -> Tensor:
        """See `Products`; one chip."""
        parts = enumerate(vectors.rows())
        results = [self._product(x.T.contiguous(), first_group + index, unit).T for index, x in parts]
        return torch.stack(results)[None]

    def _product(self, x: Tensor, group: int, unit: Unit) -> Tensor:
        noisy = self.hardware.adc.noise > 0
        for index, tile in enumerate(self._tiles()):
            tile.tile.reseed = partial(self._seed_noise, unit, group, index) if noisy else None
        try:
            output: Tensor = self._array(x) if self.groups == 1 else self._group_product(x, group)
            return output
        finally:
            for tile in self._tiles():
                tile.tile.reseed = None

    def _seed_noise(self, unit: Unit, group: int, tile: int, round_: int) -> None:
        key = (unit.number, group, tile, round_, unit.use)
        torch.default_generator.manual_seed(device_seed(*self._stream, "noise", *key))

    def programmed(self) -> ProgrammedMatrix:
        """What the tiles hold now, as plain arrays."""
        tiles = tuple(tuple(_state(tile) for tile in row) for row in self._array.array)
        return ProgrammedMatrix(tiles, self.groups, self.devices)

    def _group_product(self, x: Tensor, group: int) -> Tensor:
        """Drive the columns of one group only; its columns may lie on two or more tiles."""
        first, last = group * self.outputs, (group + 1) * self.outputs
        total: Tensor | None = None
        for part, row in zip(torch.split(x, self._array.in_sizes, dim=1), self._array.array, strict=True):
            pieces, start = [], 0
            for size, tile in zip(self._array.out_sizes, row, strict=True):
                columns = slice(max(first - start, 0), min(last - start, size))
                if columns.start < columns.stop:
                    pieces.append(_driven(tile, part, columns))
                start += size
            summand = torch.cat(pieces, dim=1)
            total = summand if total is None else total + summand
        assert total is not None
        return total


def _state(tile: Any) -> ProgrammedTile:
    weights = tile.tile.weight.detach()
    scales = tile.get_mapping_scales().detach()
    scales = scales.expand(len(weights)) if scales.numel() == 1 else scales
    input_range = None if tile.input_range is None else float(tile.input_range.detach())
    if input_range is not None:
        scales = input_range * scales
    live = tile.tile.live
    compensated = tile.rpu_config.drift_compensation is not None
    return ProgrammedTile(
        weights=weights.numpy().copy(),
        scales=scales.numpy().copy(),
        gain=float(tile.alpha) if compensated else 1.0,
        live=np.ones(len(weights), np.float32) if live is None else live.numpy().copy(),
        input_range=input_range,
    )


def _driven(tile: Any, x: Tensor, columns: slice) -> Tensor:
    """A tile's products with some of its columns, in aihwkit's order of scaling."""
    tile.tile.columns = columns
    try:
        output: Tensor = tile.tile.forward(tile.pre_forward(x, 1, True), is_test=True)
    finally:
        tile.tile.columns = slice(None)
    mapping, learned = (
        scales if scales is None or scales.numel() == 1 else scales[columns]
        for scales in (tile.get_mapping_scales(), tile.get_learned_out_scales())
    )
    if mapping is not None:
        output = output * (mapping if tile.input_range is None else tile.input_range * mapping)
    if tile.rpu_config.drift_compensation is not None:
        output = output * tile.alpha
    return output if learned is None else output * learned
