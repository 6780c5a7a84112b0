"""What tiles hold once they are programmed: plain arrays, without any library of the emulation.

Made by the runtime from aihwkit's tiles; used by the fast engine, and by whatever else looks at programmed weights.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ProgrammedMatrix", "ProgrammedTile"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ProgrammedTile:
    """One tile at a time of inference.

    Attributes:
        weights: programmed and drifted, in units of the full scale, shape ``(outputs, inputs)``.
        scales: digital factor per output that undoes the mapping, shape ``(outputs,)``; includes a static input range.
        gain: of drift compensation, one number a tile.
        live: 1 for outputs that hold any weight, 0 for all-zero columns, shape ``(outputs,)``.
        input_range: static input range, or None.
    """

    weights: Floats
    scales: Floats
    gain: float
    live: Floats
    input_range: float | None


@dataclass(frozen=True, eq=False)
class ProgrammedMatrix:
    """The tiles of one matrix: ``tiles[i][o]`` holds row split i (inputs) and column split o (outputs).

    Attributes:
        tiles: by row split, then column split.
        groups: matrices of a grouped Conv that lie side by side in the columns.
        devices: what their random numbers follow (``WeightRef.devices``).
    """

    tiles: tuple[tuple[ProgrammedTile, ...], ...]
    groups: int
    devices: str

    @property
    def outputs(self) -> int:
        """Outputs of one group."""
        return sum(len(tile.weights) for tile in self.tiles[0]) // self.groups

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        arrays = [(tile.weights, tile.scales, tile.live) for row in self.tiles for tile in row]
        return sum(array.nbytes for tile in arrays for array in tile)

    def weights(self) -> Floats:
        """The weights that the tiles realise, ``(groups · outputs, inputs)``, scales and gains included."""
        rows = [
            np.concatenate([tile.weights * (tile.scales * tile.gain * tile.live)[:, None] for tile in row])
            for row in self.tiles
        ]
        return np.concatenate(rows, axis=1)
