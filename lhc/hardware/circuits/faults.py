"""Faults of chips from fabrication: the section of a hardware description, and stuck cells as a text in it.

The text of a tile is four planes of bits (positive low, positive high, negative low, negative high; bit lines by word
lines), packed, compressed by zlib and written in base64; an empty one is a tile without stuck cells.
"""

import base64
import binascii
import zlib
from functools import lru_cache
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from lhc.hardware.description.tiles_and_converters import Section

MOST_TEXT = 3 * 2**20
"""Characters of a map: a plan, and an annotated model, hold it."""


class Faults(Section):
    """Faults of tiles, drawn for every chip. A cell is one device of a weight's pair."""

    stuck_low: float = Field(default=0.0, ge=0, le=1)
    """Share of cells that stay at ``devices.g_min_us``, whatever they are programmed to; they do not drift."""
    stuck_high: float = Field(default=0.0, ge=0, le=1)
    """Share of cells that stay at g_max, likewise."""
    dead_rows: float = Field(default=0.0, ge=0, le=1)
    """Share of word lines (inputs) that drive nothing."""
    dead_columns: float = Field(default=0.0, ge=0, le=1)
    """Share of bit lines (outputs) in which no current flows."""
    column_gain: float = Field(default=0.0, ge=0, le=1)
    """Standard deviation of the gain of a bit line and its ADC, whose mean is 1."""
    column_offset: float = Field(default=0.0, ge=0)
    """Standard deviation of the offset of an ADC, which is added to its input in every read, in units of the product of
    one full-scale input and one full-scale weight; its mean is 0."""
    remap: bool = False
    """Whether chips are tested before they are programmed: weights then get the lines of a tile, spare ones too, on
    which stuck cells harm them least, and healthy cells of a weight make up for its stuck ones."""
    found: float = Field(default=1.0, ge=0, le=1)
    """``remap``: share of the stuck cells, dead lines apart, that the test of a chip finds; none that is healthy."""

    map: tuple[str, ...] | None = None
    """Stuck cells of one chip instead of drawn ones, a text for every tile (``lhc hardware --fault-map`` writes it)."""
    tile_noise: tuple[Annotated[float, Field(ge=0, le=100)], ...] | None = None
    """Factor on the deviation of programming noise of every tile, as measured."""
    tile_spread: float = Field(default=0.0, ge=0, le=1)
    """The same, drawn for every tile of a chip: the factor is exp(tile_spread N), N standard normal."""
    tiles: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Tiles of the chip that hold a layer, in the order of its own; given by overrides (``on_tiles``)."""
    ranked: bool = False
    """``tile_spread``: ``tiles`` count the tiles of every chip from its worst one on, as its test finds them."""

    @model_validator(mode="after")
    def _cells_are_stuck_at_one_end(self) -> "Faults":
        if self.stuck_low + self.stuck_high > 1:
            raise ValueError("stuck_low and stuck_high are shares of all cells: at most 1 together")
        if self.map is not None and any((*self._shares, self.found < 1)):
            raise ValueError("map is instead of drawn cells: stuck_… and dead_… are 0 beside it, and found is 1")
        if self.map is not None and sum(map(len, self.map)) > MOST_TEXT:
            raise ValueError(f"map: more than {MOST_TEXT >> 20} MiB of text")
        if self.tile_noise is not None and self.tile_spread > 0:
            raise ValueError("tile_noise is measured, and tile_spread draws it: give one of them")
        return self

    @property
    def one_chip(self) -> bool:
        """Whether every programming is one of the same chip, whose stuck cells are known."""
        return self.map is not None

    @property
    def _shares(self) -> tuple[float, ...]:
        return self.stuck_low, self.stuck_high, self.dead_rows, self.dead_columns

    @property
    def any(self) -> bool:
        """Whether cells or columns of a tile have anything wrong."""
        return self.map is not None or any((*self._shares, self.column_gain, self.column_offset))

    @property
    def could_remap(self) -> bool:
        """Whether tiles have stuck cells or dead lines, and weights lie on them as they come."""
        return not self.remap and (self.map is not None or any(self._shares))

    @property
    def differ(self) -> bool:
        """Whether it matters which tile of a chip holds a layer."""
        return self.map is not None or self.tile_noise is not None or self.tile_spread > 0


Planes = npt.NDArray[np.bool_]
MOST_TILES = 4096


def tile_text(planes: Planes) -> str:
    """The text of a tile, of the four planes, ``(4, columns, rows)``."""
    return base64.b64encode(zlib.compress(np.packbits(planes).tobytes(), 9)).decode() if planes.any() else ""


@lru_cache(maxsize=16)
def stuck_cells(text: str, columns: int, rows: int) -> Planes:
    """The planes of a tile's text, ``(4, columns, rows)``.

    Raises:
        ValueError: it is not that of a tile of so many bit lines and word lines, or has a cell stuck at both ends.
    """
    cells = 4 * columns * rows
    if not text:
        return np.zeros((4, columns, rows), np.bool_)
    try:
        packed = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), -(-cells // 8) + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise ValueError(f"the text of a tile cannot be read ({error}); lhc hardware --fault-map writes it") from error
    if len(packed) != -(-cells // 8):
        raise ValueError(f"the text of a tile is not that of {rows} rows and {columns} columns; import the map again")
    planes = np.unpackbits(np.frombuffer(packed, np.uint8), count=cells).astype(np.bool_).reshape(4, columns, rows)
    if (planes[::2] & planes[1::2]).any():
        raise ValueError("a cell is stuck at both ends")
    planes.setflags(write=False)
    return planes


@lru_cache(maxsize=MOST_TILES)
def stuck_count(text: str, columns: int, rows: int) -> int:
    """Stuck cells of a tile; errors as of `stuck_cells`."""
    return int(stuck_cells(text, columns, rows).sum())
