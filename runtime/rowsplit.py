"""What both ways of the fast engine share: numbers of the converters, tiles of one row split on all chips, noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lhc.conductances import Floats, ProgrammedTile
from lhc.hardware import Hardware
from lhc.hardware.converters import Converters
from lhc.runtime.kernels import ROUNDS, add_noise, round_codes
from lhc.runtime.normals import NoiseStream
from lhc.runtime.stream import Unit
from lhc.runtime.vectors import INFINITE

__all__ = ["Noise", "RowConverters", "RowSplit"]


@dataclass(frozen=True)
class RowConverters:
    """`Converters` as compiled loops take them; a step is 1 where nothing is quantised.

    Attributes:
        input_step, output_step: in units of the full scale.
        input_clip, output_clip: greatest magnitudes in codes, infinite where nothing clips.
        output_limit: greatest magnitude in codes that does not count as saturated.
        input_shift, output_shift: what rounds codes, 0 where nothing is quantised.
        noise: standard deviation of the output noise, in output codes.
        scales_vectors: every vector is divided by its greatest magnitude.
        reductions: of the inputs, by round of bound management.
    """

    input_step: float
    input_clip: np.float32
    input_shift: np.float32
    output_step: float
    output_clip: float
    output_limit: float
    output_shift: np.float32
    noise: float
    scales_vectors: bool
    reductions: tuple[float, ...]

    @property
    def fixed_range(self) -> bool:
        """Whether inputs have the same codes in every vector, and no vector is read again."""
        return not self.scales_vectors and len(self.reductions) == 1

    @classmethod
    def of(cls, hardware: Hardware) -> "RowConverters":
        io, clip = Converters.of(hardware), hardware.dac.clip
        input_step, output_step = io.dac_step or 1.0, io.adc_step or 1.0
        return cls(
            input_step=input_step,
            input_clip=INFINITE if clip is None else np.float32(clip / input_step),
            input_shift=np.float32(0) if io.dac_step is None else ROUNDS,
            output_step=output_step,
            output_clip=float(INFINITE) if io.adc_limit is None else io.adc_limit,
            output_limit=float(INFINITE) if io.adc_saturated is None else io.adc_saturated,
            output_shift=np.float32(0) if io.adc_step is None else ROUNDS,
            noise=io.noise_sigma / output_step,
            scales_vectors=io.scaling == "vector",
            reductions=io.reductions,
        )


@dataclass(frozen=True)
class Noise:
    """Output noise of the products of one unit.

    Attributes:
        streams: a chip's.
        levels: in ADC codes, of which every deviate is one; None without noise.
        unit: where it stands.
        first_group: of those that are driven.
    """

    streams: Sequence[NoiseStream]
    levels: Floats | None
    unit: Unit
    first_group: int = 0

    def read(self, z: Floats, split: "RowSplit", first: int = 0, round_: int = 0) -> int:
        """Add noise to products in place and round them to ADC codes.

        Args:
            z: products, ``(lines, chips · outputs of a group, vectors)``.
            split: number and converters of the tiles.
            first: number of the first line; a line is a sample, or a part of the vectors, and a group.
            round_: of bound management.

        Returns:
            How many codes saturate.
        """
        io, lines = split.io, z.reshape(len(z), -1)
        shift, limit = io.output_shift, np.float32(io.output_limit)
        if self.levels is None:
            return round_codes(lines, shift, limit)
        # Bits: 12 for the use, 36 unit, 12 row split, 20 group, 4 round.
        place = (self.unit.use << 36) + self.unit.number
        address = (((place << 12) + split.number << 20) + self.first_group << 4) + round_
        values, beyond = lines.shape[1] // split.chips, 0
        for chip, stream in enumerate(self.streams):
            some = (chip * values, (chip + 1) * values)
            beyond += add_noise(lines, stream.key(address), self.levels, first, *some, shift, limit)
        return beyond


class RowSplit:
    """The tiles that share their inputs, of all chips side by side."""

    def __init__(
        self,
        tiles: Sequence[tuple[ProgrammedTile, ...]],
        groups: int,
        start: int,
        number: int,
        io: RowConverters,
        device: str,
    ) -> None:
        """Join the tiles.

        Args:
            tiles: per chip, by column split.
            groups: of the matrix.
            start: first input.
            number: of the row split.
            io: converters.
            device: torch device that holds the weights.
        """
        self.io = io
        self.number = number
        self.device = device
        self.chips = len(tiles)
        self.start, self.stop = start, start + tiles[0][0].weights.shape[1]
        self.range = tiles[0][0].input_range

        def joined(of_tile: Callable[[ProgrammedTile], Floats]) -> Floats:
            """``(groups, chips · outputs of a group, ...)``."""
            chips = np.stack([np.concatenate([of_tile(tile) for tile in row]) for row in tiles])
            grouped = chips.reshape(self.chips, groups, -1, *chips.shape[2:]).swapaxes(0, 1)
            return np.ascontiguousarray(grouped).reshape(groups, -1, *chips.shape[2:])

        step = np.float32(io.input_step / io.output_step)
        self.weights = torch.from_numpy(joined(lambda tile: tile.weights * step)).to(device)
        self.scales = joined(lambda tile: tile.scales * (tile.gain * io.output_step).astype(np.float32))
        # Of the ADCs, in output codes; None where there are none.
        self.offsets = None if tiles[0][0].offset is None else joined(lambda tile: _offset(tile, io.output_step))
        columns = np.concatenate([np.full(len(tile.weights), n) for n, tile in enumerate(tiles[0])])
        self.tile_of = columns.reshape(groups, -1)

    def input_codes(self, reduction: float) -> tuple[np.float32, np.float32]:
        """Where the DAC's range is the same for all vectors: the factor from inputs to codes, and the greatest code."""
        step, limit = np.float32(reduction * self.io.input_step), self.io.input_clip
        if self.range is not None:
            full_scale = np.float32(1) / step
            limit = min(limit, np.rint(full_scale) if self.io.input_shift else full_scale)
            step *= np.float32(self.range)
        return np.float32(1) / step, limit


def _offset(tile: ProgrammedTile, step: float) -> Floats:
    """Of a tile's ADCs, in output codes."""
    assert tile.offset is not None  # as on the other tiles of its machine
    return tile.offset / np.float32(step)
