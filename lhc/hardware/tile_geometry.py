"""Geometry of a matrix on tiles: how many tiles it takes, row splits, and the copies that fit."""

import math

from lhc.support.number_bounds import MOST_COPIES


def split_sizes(size: int, most: int) -> list[int]:
    """Parts of one dimension of a matrix on tiles: nearly equal, the first ones one larger; none of nothing."""
    parts, base, extra = _parts(size, most)
    return [base + (index < extra) for index in range(parts)]


def _parts(size: int, most: int) -> tuple[int, int, int]:
    """How many parts, the size of a smaller one, and how many are one larger; a file may tell of 2^40 rows."""
    parts = -(-size // most)
    return (parts, *divmod(size, parts)) if parts else (0, 0, 0)


def tile_rows(inputs: int, rows: int, copies: int = 1) -> int:
    """Rows of tiles that hold a number of copies of a matrix.

    Every row split is stacked ``copies`` times, and the stack is split over as few tiles as hold it.
    """
    parts, base, extra = _parts(inputs, rows)
    return extra * -(-copies * (base + 1) // rows) + (parts - extra) * -(-copies * base // rows)


def tiles_for(inputs: int, outputs: int, tile: tuple[int, int], copies: int = 1, slices: int = 1) -> int:
    """Tiles that hold a number of copies of a matrix, split as aihwkit splits it.

    Args:
        inputs: rows of the matrix.
        outputs: its columns, of all groups of a grouped product.
        tile: rows and columns of a tile.
        copies: of the matrix, stacked along rows.
        slices: tiles among which the bits of a weight are spread.
    """
    rows, columns = tile
    return slices * tile_rows(inputs, rows, copies) * math.ceil(outputs / columns)


def held_rows(inputs: int, rows: int, copies: int = 1) -> int:
    """Weights that products with one output take, at most: those of every row of tiles, in which copies are one sum."""
    _, base, extra = _parts(inputs, rows)
    return tile_rows(inputs, rows, copies) * (base + (extra > 0))


def copies_on(inputs: int, rows: int, taken: int) -> int:
    """Most copies of a matrix on ``taken`` rows of tiles for each of its row splits, up to `MOST_COPIES`.

    A matrix without inputs has one.
    """
    if inputs == 0:
        return 1
    _, base, extra = _parts(inputs, rows)
    return min(MOST_COPIES, taken * rows // (base + (extra > 0)))


def free_copies(inputs: int, rows: int) -> int:
    """Most copies of a matrix that take no more tiles than one does."""
    return copies_on(inputs, rows, 1)
