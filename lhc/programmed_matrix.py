"""Programmed matrices as plain arrays: tiles, conductances as weights, digital corrections.

Made by the runtime from aihwkit's tiles; used by the fast engine, and by whatever else looks at programmed weights.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ProgrammedTile:
    """One tile at a time of inference.

    Attributes:
        weights: programmed and drifted, in units of the full scale, shape ``(outputs, inputs)``; the sum of the copies
            that the tile holds.
        scales: digital factor per output that undoes the mapping, shape ``(outputs,)``; includes a static input range
            and the number of copies. 0 for outputs without any weight, which a tile does not read.
        gain: of drift compensation, per output, shape ``(outputs,)``, in float64.
        input_range: static input range, or None.
        offset: what is added to every output before the ADC, in units of the full scale, ``(outputs,)``; None where
            nothing is.
        levels: what every capacitor of an ADC adds to its level, in codes, ``(bits - 1, outputs)``; None where steps
            are all alike.
        driven: rows of the tile that each input drives, which hold copies, ``(inputs,)``; None: one each.
        unit: what one unit of every output before the ADC is, in units of the full scale, ``(outputs,)``; None: 1.
        base: what every weight holds more than it stands for, in units of the full scale; it is subtracted digitally,
            times the sum of the inputs.
    """

    weights: Floats
    scales: Floats
    gain: npt.NDArray[np.float64]
    input_range: float | None
    offset: Floats | None = None
    levels: Floats | None = None
    driven: Floats | None = None
    unit: Floats | None = None
    base: float = 0.0

    def realised(self) -> Floats:
        """The weights that it stands for, scales and gain of drift compensation included, ``(outputs, inputs)``."""
        scales = self.scales if self.input_range is None else self.scales / np.float32(self.input_range)
        weights = self.weights * (scales * self.gain)[:, None]
        return np.asarray(weights - self.base * scales[:, None] if self.base else weights)

    def in_units_of(self, shares: Floats | None) -> "ProgrammedTile":
        """The same tile, one unit of each output being that share of what it was, ``(outputs,)``; None: all of it."""
        if shares is None:
            return self
        return replace(
            self,
            weights=self.weights / shares[:, None],
            scales=self.scales * shares,
            offset=None if self.offset is None else self.offset / shares,
            unit=shares if self.unit is None else self.unit * shares,
        )


@dataclass(frozen=True, eq=False)
class Correction:
    """Digital correction of one chip's outputs of one operator: ``gain · y + offset``.

    Attributes:
        gain: factor per output, ``(groups · outputs,)``.
        offset: summand per output, ``(groups · outputs,)``, in units of the operator's output before its bias.
    """

    gain: Floats
    offset: Floats


@dataclass(frozen=True, eq=False)
class ProgrammedMatrix:
    """The tiles of one matrix: ``tiles[i][o]`` holds a row of tiles i and column split o (outputs).

    Attributes:
        tiles: by row of tiles, then column split. Rows of tiles that hold copies of the same weights follow each other.
        starts: number of the first input of each row of tiles.
        groups: matrices of a grouped Conv that lie side by side in the columns.
        devices: what their random numbers follow (``WeightRef.devices``).
        read: number of the read whose noise the weights hold; 0 for inference.
    """

    tiles: tuple[tuple[ProgrammedTile, ...], ...]
    starts: tuple[int, ...]
    groups: int
    devices: str
    read: int = 0

    def with_gain(self, gain: Floats) -> "ProgrammedMatrix":
        """The matrix with a digital factor per output, ``(groups · outputs,)``, in the scales."""
        rows = []
        for row in self.tiles:
            parts = np.split(gain, np.cumsum([len(tile.scales) for tile in row])[:-1])
            rows.append(tuple(replace(t, scales=t.scales * part) for t, part in zip(row, parts, strict=True)))
        return replace(self, tiles=tuple(rows))

    def with_adc_ranges(self, shares: Floats) -> "ProgrammedMatrix":
        """The matrix in a unit of every output in which its ADC has the range of the tile's.

        Args:
            shares: of the tile's range, ``(groups · outputs,)``.
        """
        rows = []
        for row in self.tiles:
            parts = np.split(shares, np.cumsum([len(tile.scales) for tile in row])[:-1])
            rows.append(tuple(tile.in_units_of(part) for tile, part in zip(row, parts, strict=True)))
        return replace(self, tiles=tuple(rows))

    def raised(self, offset: float) -> "ProgrammedMatrix":
        """The matrix with an offset on every weight, in units of the greatest one of its tile."""
        bases = [[offset * float(np.abs(t.weights).max(initial=0.0)) for t in row] for row in self.tiles]
        return replace(
            self,
            tiles=tuple(
                tuple(
                    replace(t, weights=t.weights + np.float32(base), base=base) for t, base in zip(*both, strict=True)
                )
                for both in zip(self.tiles, bases, strict=True)
            ),
        )

    @property
    def outputs(self) -> int:
        """Outputs of one group."""
        return sum(len(tile.weights) for tile in self.tiles[0]) // self.groups

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(tile.weights.nbytes + tile.scales.nbytes for row in self.tiles for tile in row)

    def weights(self) -> Floats:
        """The weights that the tiles realise, ``(groups · outputs, inputs)``, scales and gains included."""
        inputs = max(start + row[0].weights.shape[1] for start, row in zip(self.starts, self.tiles, strict=True))
        total = np.zeros((sum(len(tile.weights) for tile in self.tiles[0]), inputs), np.float32)
        for start, row in zip(self.starts, self.tiles, strict=True):
            part = np.concatenate([tile.realised() for tile in row])
            total[:, start : start + part.shape[1]] += part
        return total
