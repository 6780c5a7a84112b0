"""Stuck cells of one chip, as a test found them: a CSV in, a text for every tile of the description out.

Columns ``tile``, ``row``, ``column`` (from 0; a row is a word line, an input), ``side`` (``positive`` or ``negative``,
of the weight's pair) and ``stuck`` (``low``: at g_min; ``high``: at g_max); a line for every cell that is stuck. Where
several pairs hold a weight, ``pair`` (from 0) tells which: in planes and texts, cells of a pair lie on further word
lines behind those of the pair before.
"""

import csv
from pathlib import Path

import numpy as np

from lhc.errors import DataError
from lhc.hardware.circuits.faults import MOST_TILES, tile_text
from lhc.hardware.description.hardware import Hardware

_COLUMNS = ("tile", "row", "column", "side", "stuck")
_PLANES = {("positive", "low"): 0, ("positive", "high"): 1, ("negative", "low"): 2, ("negative", "high"): 3}


def with_fault_map(base: Hardware, path: Path) -> tuple[Hardware, str]:
    """A machine that is the one chip of a map, and what was found, in a sentence.

    Args:
        base: all else; where it does not say how many tiles it has, the map's last one is the chip's last.

    Raises:
        DataError: the table cannot be read, or does not fit the tiles.
        ConfigError: the machine's cells are none that faults are known for.
    """
    rows, cols, pairs = base.tiles.rows, base.tiles.cols, base.pairs_per_weight
    stuck = _read(path, (base.tiles.count or MOST_TILES, rows, cols, pairs))
    count = base.tiles.count or max(stuck, default=0) + 1
    texts = []
    for tile in range(count):
        planes = np.zeros((4, cols, pairs * rows), np.bool_)
        for plane, column, row in stuck.get(tile, ()):
            planes[plane, column, row] = True
        texts.append(tile_text(planes))
    faults = base.faults.model_dump() | {"map": tuple(texts), "remap": True, "found": 1.0}
    faults |= dict.fromkeys(("stuck_low", "stuck_high", "dead_rows", "dead_columns"), 0.0)
    changed = {
        "name": f"{base.name}-{path.stem}",
        "description": f"{base.name}, the chip of one map of stuck cells",
        "source": base.source_beside(f"stuck cells: {path.name}"),
        "tiles": base.tiles.model_dump() | {"count": count},
        "faults": faults,
    }
    cells = sum(map(len, stuck.values()))
    share = cells / (2 * rows * cols * pairs * count)
    found = f"{cells} stuck cells, {100 * share:.3g} % of the cells of {count} tiles of {rows}x{cols}"
    return base.with_fields(changed), found


def _read(path: Path, shape: tuple[int, int, int, int]) -> dict[int, set[tuple[int, int, int]]]:
    """Stuck cells by tile: plane, bit line, word line (of further pairs behind those of the first).

    Args:
        shape: tiles, word lines, bit lines and pairs of a weight.
    """
    columns = (*_COLUMNS, "pair") if shape[3] > 1 else _COLUMNS
    found: dict[int, set[tuple[int, int, int]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            if set(table.fieldnames or ()) != set(columns):
                raise DataError(f"{path}: the columns of a map of stuck cells are {', '.join(columns)}")
            for line in table:
                tile, *cell = _cell(line, shape, f"{path}, line {table.line_num}")
                cells = found.setdefault(tile, set())
                plane, column, row = cell
                if cells & {(plane, column, row), (plane ^ 1, column, row)}:
                    raise DataError(f"{path}, line {table.line_num}: that cell is in an earlier line already")
                cells.add((plane, column, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}") from error
    return found


def _cell(
    line: "dict[str | None, str | None]", shape: tuple[int, int, int, int], where: str
) -> tuple[int, int, int, int]:
    """Tile, plane, bit line and word line of a line."""
    numbers = []
    for name, size in zip((*_COLUMNS[:3], "pair"), shape, strict=True):
        text = line.get(name, "0" if name == "pair" else None) or ""
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < size):
            raise DataError(f"{where}: {name} {text!r}: a number from 0 to {size - 1} is wanted")
        numbers.append(int(text))
    plane = _PLANES.get((line.get("side") or "", line.get("stuck") or ""))
    if plane is None or None in line:
        given = f"side {line.get('side')!r}, stuck {line.get('stuck')!r}"
        raise DataError(
            f"{where}: {given}: side must be positive or negative, stuck must be low or high, and nothing follows them"
        )
    tile, row, column, pair = numbers
    return tile, plane, column, pair * shape[1] + row
