"""Geometry of the block grid: one row a block, one cell a layer, in the order of the file. Lengths are pixels.

Blocks may stand in several columns, and long ones wrap; of all such arrangements the one is taken whose cells come
closest to the size at which a name and a figure fit, so that about 100 layers are legible on one screen.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lhc.plan import LayerPlan, Plan
from lhc.report.wording import short

__all__ = ["Cell", "Grid", "RowLabel", "block_grid", "labels"]

Kind = Literal["analog", "digital", "never", "open"]

WIDTH, HEIGHT = 880, 470
"""Of the picture, as far as cells need not be higher."""
_CELL_WIDTH, _CELL_HEIGHT = 96, 34
"""At which a name and a figure fit."""
_WIDEST, _LOWEST, _GAP, _LABEL = 132, 15, 4, 78
_COLUMNS, _WRAP = 4, 16
_CHARACTER = 0.56
"""Width of an average character, in font sizes."""


@dataclass(frozen=True)
class Cell:
    """One layer.

    Attributes:
        index: of the layer in the plan.
        kind: its placement; ``never``: digital because no tile can take it.
        name: shortened to what fits; empty where nothing does.
        figure: its sensitivity, or why it has none.
        bar: logarithm of the sensitivity, 0 for the least and 1 for the greatest of all layers; None without one.
    """

    index: int
    kind: Kind
    x: float
    y: float
    width: float
    height: float
    name: str
    figure: str
    bar: float | None


@dataclass(frozen=True)
class RowLabel:
    """Name of a block, left of its first row."""

    x: float
    y: float
    text: str
    full: str


@dataclass(frozen=True)
class Grid:
    """The picture.

    Attributes:
        lines: 2: name above figure; 1: side by side, or the figure alone.
        font: size of text in cells.
    """

    width: float
    height: float
    cells: tuple[Cell, ...]
    rows: tuple[RowLabel, ...]
    lines: int
    font: float


def block_grid(plan: Plan) -> Grid:
    """The grid of all candidates of a plan."""
    blocks = _blocks(plan.layers)
    columns, wrap = _arrangement([len(layers) for _, layers in blocks])
    placed = _columns([math.ceil(len(layers) / wrap) for _, layers in blocks], columns)
    rows = max((sum(heights) for heights in placed), default=1)
    pitch = _pitch(rows)
    column_width = WIDTH / columns
    width = min((column_width - _LABEL) / wrap, _WIDEST) - _GAP
    lines = 2 if pitch - _GAP >= 29 else 1
    font = 10.5 if pitch - _GAP >= 17 else 9.0
    names, bars = labels(plan.layers), _bars(plan.layers)
    cells: list[Cell] = []
    texts: list[RowLabel] = []
    waiting = iter(blocks)
    for column, heights in enumerate(placed):
        left, y = column * column_width, 0.0
        for height in heights:
            block, members = next(waiting)
            text = _shortened(_block_text(block), _LABEL - 6, 10.5)
            texts.append(RowLabel(left + _LABEL - 6, y + (pitch - _GAP) / 2, text, block))
            for place, (index, layer) in enumerate(members):
                where = (left + _LABEL + place % wrap * (width + _GAP), y + place // wrap * pitch)
                name, figure = _texts(layer, names[index], width, lines, font)
                cells.append(Cell(index, _kind(layer), *where, width, pitch - _GAP, name, figure, bars[index]))
            y += height * pitch
    return Grid(WIDTH, rows * pitch, tuple(cells), tuple(texts), lines, font)


def _blocks(layers: Sequence[LayerPlan]) -> list[tuple[str, list[tuple[int, LayerPlan]]]]:
    """Layers by block, in the order in which blocks begin; layers outside of any block stay where they are."""
    found: dict[tuple[str, int], list[tuple[int, LayerPlan]]] = {}
    run = 0
    for index, layer in enumerate(layers):
        run += index > 0 and layers[index - 1].block != layer.block
        found.setdefault((layer.block, 0 if layer.block else run), []).append((index, layer))
    return [(block, members) for (block, _), members in found.items()]


def _arrangement(sizes: Sequence[int]) -> tuple[int, int]:
    """Columns of blocks, and cells in a row."""
    if not sizes:
        return 1, 1

    def fit(columns: int, wrap: int) -> tuple[float, int, int]:
        placed = _columns([math.ceil(size / wrap) for size in sizes], columns)
        height = HEIGHT / max(sum(heights) for heights in placed)
        width = (WIDTH / columns - _LABEL) / wrap
        return min(width / _CELL_WIDTH, 1) * min(height / (_CELL_HEIGHT + _GAP), 1), -columns, wrap

    choices = ((c, w) for c in range(1, _COLUMNS + 1) for w in range(1, min(max(sizes), _WRAP) + 1))
    return max(choices, key=lambda choice: fit(*choice))


def _columns(heights: Sequence[int], columns: int) -> list[list[int]]:
    """Blocks of these heights in so many columns one after the other, the highest column as low as possible."""
    limit = max(max(heights, default=0), math.ceil(sum(heights) / columns))
    while True:
        placed: list[list[int]] = [[]]
        for height in heights:
            if placed[-1] and sum(placed[-1]) + height > limit:
                placed.append([])
            placed[-1].append(height)
        if len(placed) <= columns:
            return placed
        limit += 1


def _pitch(rows: int) -> float:
    return min(max(HEIGHT / rows, _LOWEST), _CELL_HEIGHT + _GAP)


def _kind(layer: LayerPlan) -> Kind:
    if layer.reason == "eligible":
        return "open"
    if layer.placement == "digital" and layer.reason in ("no-static-weight", "unsupported", "parity"):
        return "never"
    return layer.placement


def _texts(layer: LayerPlan, name: str, width: float, lines: int, font: float) -> tuple[str, str]:
    figure = short(layer.sensitivity.mean) if layer.sensitivity is not None else ""
    if not figure and _kind(layer) == "never":
        figure = {"no-static-weight": "no weight", "unsupported": "unsupported"}.get(layer.reason, layer.reason)
    room = width - 8
    if lines == 1:
        room -= _CHARACTER * font * (len(figure) + 2)
        return (_shortened(name, room, font) if room > 5 * font else ""), (
            figure if _CHARACTER * font * len(figure) <= width - 4 else ""
        )
    return _shortened(name, room, font), _shortened(figure, room - font, font)


def _shortened(text: str, room: float, font: float) -> str:
    """The end of a text where it does not fit: what differs is usually there."""
    most = int(room / (_CHARACTER * font))
    return text if len(text) <= most else f"…{text[len(text) - most + 1 :]}" if most > 1 else ""


def _block_text(block: str) -> str:
    parts = block.split(".")
    return ".".join(parts[-2:])


def labels(layers: Sequence[LayerPlan]) -> list[str]:
    """Short names: the least end of every path that is unique within its block, the operator's own part left out.

    Args:
        layers: the candidates.
    """
    paths = [list(_parts(layer)) for layer in layers]
    names: list[str] = []
    for layer, path in zip(layers, paths, strict=True):
        others = [
            p for other, p in zip(layers, paths, strict=True) if other.block == layer.block and other is not layer
        ]
        length = next((n for n in range(1, len(path)) if all(p[-n:] != path[-n:] for p in others)), len(path))
        names.append(".".join(path[-length:]))
    return names


def _parts(layer: LayerPlan) -> Iterator[str]:
    """Parts of a path below its block, without a last part that only names the operator."""
    parts = layer.path.split(".")
    inside = parts[len(layer.block.split(".")) if layer.block else 0 :] or parts
    if len(inside) > 1 and inside[-1].partition("_")[0] == layer.op_type:
        inside = inside[:-1]
    yield from inside


def _bars(layers: Sequence[LayerPlan]) -> list[float | None]:
    """Logarithms of sensitivities between those of the least and the greatest; at most four decades are told apart."""
    means = [None if layer.sensitivity is None else layer.sensitivity.mean for layer in layers]
    known = [mean for mean in means if mean is not None and mean > 0]
    if not known:
        return [None if mean is None else 0.0 for mean in means]
    high = math.log10(max(known))
    low = max(math.log10(min(known)), high - 4)
    return [
        None if mean is None else 0.0 if mean <= 0 else max(0.0, (math.log10(mean) - low) / ((high - low) or 1))
        for mean in means
    ]
