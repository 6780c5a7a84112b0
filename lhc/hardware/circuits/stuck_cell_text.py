"""Stuck cells of a tile as a text in a description.

Four planes of bits (positive low, positive high, negative low, negative high; bit lines by word lines), packed,
compressed by zlib and written in base64; an empty text is a tile without stuck cells.
"""

import base64
import binascii
import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_TILES", "stuck_cells", "stuck_count", "tile_text"]

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
