"""Geometry of the block grid: one row a block, one cell a layer, in the order of the file. Lengths are pixels.

Blocks may stand in several columns, and long ones wrap; of all such arrangements the one is taken whose cells come
closest to the size at which a name and a figure fit, so that about 100 layers are legible on one screen.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lhc.graph import CANDIDATE_OPS
from lhc.plan import LayerPlan, Plan
from lhc.plan.layer_plan import NEVER_ANALOG
from lhc.support.number_formatting import share_text

Kind = Literal["analog", "digital", "never", "open"]

WIDTH, HEIGHT = 880, 470
"""Size of the picture, as far as cells need not be higher."""
_CELL_WIDTH, _CELL_HEIGHT = 96, 34
"""Size of a cell at which a name and a figure fit."""
_WIDEST, _LOWEST, _LABEL = 190, 14, 78
_LOW, _GAP, _LOW_GAP = 16, 4, 2
"""Rows lower than the first stand closer to each other than cells do otherwise, so that text of 9 pixels fits."""
_COLUMNS, _WRAP = 4, 16
_WRAPPED = 0.75
"""Worth of an arrangement in which blocks wrap: cells of one role no longer stand below each other."""
_LEAST_WITH_BAR = 22
"""Height of a cell in which a bar does not touch the text."""
_CHARACTER = 0.56
"""Width of an average character, in font sizes."""


@dataclass(frozen=True)
class Cell:
    """One layer.

    Attributes:
        index: of the layer in the plan.
        kind: `kind_of` the layer.
        name: shortened to what fits; empty where nothing does.
        figure: its sensitivity, or why it has none.
        share: of all MACs; empty where it does not fit.
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
    share: str
    bar: float | None


@dataclass(frozen=True)
class RowLabel:
    """Name of a block, left of its first row."""

    x: float
    y: float
    text: str
    full: str


@dataclass(frozen=True)
class BlockGrid:
    """The picture.

    Attributes:
        lines: 2: name above figure; 1: side by side, or the figure alone.
    """

    width: float
    height: float
    cells: tuple[Cell, ...]
    rows: tuple[RowLabel, ...]
    lines: int
    font: float

    @property
    def has_bars(self) -> bool:
        """Whether cells are high enough for their bars; the template of the page asks."""
        return any(cell.bar is not None for cell in self.cells)


def block_grid(plan: Plan) -> BlockGrid:
    """The grid of all candidates of a plan."""
    blocks = _blocks(plan.layers)
    columns, wrap = _arrangement([len(layers) for _, layers in blocks])
    placed = _columns([math.ceil(len(layers) / wrap) for _, layers in blocks], columns)
    rows = max((sum(heights) for heights in placed), default=1)
    pitch = min(max(HEIGHT / rows, _LOWEST), _CELL_HEIGHT + _GAP)
    high = pitch - (_LOW_GAP if pitch < _LOW else _GAP)
    column_width = WIDTH / columns
    width = min((column_width - _LABEL) / wrap, _WIDEST) - _GAP
    lines = 2 if high >= 29 else 1
    font = 10.5 if high >= 17 else 9.0
    names, figures = short_names(plan.layers), _figures(plan)
    bars = _bars(plan.layers) if high >= _LEAST_WITH_BAR else [None] * len(plan.layers)
    cells: list[Cell] = []
    labels: list[RowLabel] = []
    waiting = iter(blocks)
    for column, heights in enumerate(placed):
        left, y = column * column_width, 0.0
        for height in heights:
            block, members = next(waiting)
            text = _shortened(_block_text(block), _LABEL - 6, 10.5)
            labels.append(RowLabel(left + _LABEL - 6, y + high / 2, text, block))
            for place, (index, layer) in enumerate(members):
                where = (left + _LABEL + place % wrap * (width + _GAP), y + place // wrap * pitch)
                texts = _texts(names[index], *figures[index], width, lines, font)
                cells.append(Cell(index, kind_of(layer), *where, width, high, *texts, bars[index]))
            y += height * pitch
    right = max((cell.x + cell.width for cell in cells), default=0.0)
    return BlockGrid(right, rows * pitch, tuple(cells), tuple(labels), lines, font)


def _blocks(layers: Sequence[LayerPlan]) -> list[tuple[str, list[tuple[int, LayerPlan]]]]:
    """Layers by block, in the order in which blocks begin; layers outside of any block stay where they are."""
    found: dict[tuple[str, int], list[tuple[int, LayerPlan]]] = {}
    run = 0
    for index, layer in enumerate(layers):
        run += index > 0 and layers[index - 1].block != layer.block
        found.setdefault((layer.block, 0 if layer.block else run), []).append((index, layer))
    return [(block, members) for (block, _), members in found.items()]


def _arrangement(sizes: Sequence[int]) -> tuple[int, int]:
    """Columns of blocks, and cells in a row: large cells count, and that the picture ends on the first screen."""
    if not sizes:
        return 1, 1

    def fit(columns: int, wrap: int) -> tuple[float, int, int]:
        placed = _columns([math.ceil(size / wrap) for size in sizes], columns)
        height = HEIGHT / max(sum(heights) for heights in placed)
        width = (WIDTH / columns - _LABEL) / wrap
        whole = 1 if wrap >= min(max(sizes), _WRAP) else _WRAPPED
        on_screen = min(height / _LOWEST, 1)
        score = whole * on_screen * min(width / _CELL_WIDTH, 1) * min(height / (_CELL_HEIGHT + _GAP), 1)
        return score, -columns, wrap

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


def kind_of(layer: LayerPlan) -> Kind:
    """Placement of a layer; ``never``: digital because no tile can take it; ``open``: not decided."""
    if layer.reason == "eligible":
        return "open"
    if layer.placement == "digital" and layer.reason in NEVER_ANALOG:
        return "never"
    return layer.placement


def _figures(plan: Plan) -> list[tuple[str, str]]:
    """Figures of every layer: its sensitivity, or why it has none; and its share of the MACs."""
    means = [layer.sensitivity.mean for layer in plan.layers if layer.sensitivity is not None]
    numbers, all_macs = iter(fixed(means)), plan.macs or 1
    found = []
    for layer in plan.layers:
        text = "" if layer.sensitivity is None else next(numbers)
        if not text and kind_of(layer) == "never":
            text = {"no-static-weight": "no weight"}.get(layer.reason, layer.reason)
        found.append((text, f"{share_text(layer.macs / all_macs)} MACs"))
    return found


def fixed(values: Sequence[float]) -> list[str]:
    """Numbers with equally many decimals, three significant digits for the greatest; what rounds to 0 is ``<…``.

    >>> fixed([0.0348, 0.00519, 0.0000469, 0.0])
    ['0.0348', '0.0052', '<0.0001', '0.0000']
    >>> fixed([1234.5, 0.2])
    ['1234', '<1']
    """
    greatest = max((abs(value) for value in values), default=0.0)
    decimals = min(max(2 - math.floor(math.log10(greatest)), 0), 8) if greatest > 0 else 0
    least = 10.0**-decimals
    return [
        f"<{least:.{decimals}f}" if 0 < value < least / 2 else f"{round(value, decimals) + 0.0:.{decimals}f}"
        for value in values
    ]


def _texts(name: str, figure: str, share: str, width: float, lines: int, font: float) -> tuple[str, str, str]:
    """Name, figure and share as far as they fit."""

    def length(text: str) -> float:
        return _CHARACTER * font * len(text)

    room = width - 8
    if lines == 2:
        fits = length(name) + length(share) + 2 * font <= room
        return _shortened(name, room, font), _shortened(figure, room - font, font), share if fits else ""
    figure = figure if length(figure) <= width - 4 else ""
    room -= length(figure) + 2 * font
    return _shortened(name, room, font) if room > 5 * font else "", figure, ""


def _shortened(text: str, room: float, font: float) -> str:
    """The end of a text where it does not fit: what differs is usually there."""
    most = int(room / (_CHARACTER * font))
    return text if len(text) <= most else f"…{text[len(text) - most + 1 :]}" if most > 1 else ""


def _block_text(block: str) -> str:
    parts = block.split(".")
    return ".".join(parts[-2:])


def short_names(layers: Sequence[LayerPlan]) -> list[str]:
    """Short names: the least end of every path that is unique within its block, the operator's own part left out.

    Where one module holds several products, the end of the operator's name tells them apart.
    """
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for layer in layers:
        blocks.setdefault(layer.block, []).append(_inside(layer))
    bare = {block: _without_operators(paths) for block, paths in blocks.items()}
    waiting = {block: iter(paths) for block, paths in bare.items()}
    names: list[str] = []
    for layer in layers:
        path, others = next(waiting[layer.block]), bare[layer.block]
        length = next((n for n in range(1, len(path)) if sum(o[-n:] == path[-n:] for o in others) == 1), len(path))
        names.append(".".join(path[-length:]))
    alike = Counter((layer.block, name) for layer, name in zip(layers, names, strict=True))
    return [
        name if alike[layer.block, name] == 1 else layer.own_name.replace("/", ".").rpartition(".")[2]
        for layer, name in zip(layers, names, strict=True)
    ]


def _inside(layer: LayerPlan) -> tuple[str, ...]:
    """Parts of a path below its block."""
    parts = tuple(layer.path.split("."))
    return parts[len(layer.block.split(".")) if layer.block else 0 :] or parts


def _without_operators(paths: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Paths without a last part that names the operator (``MatMul``, ``Conv_1``), unless it tells two of them apart."""
    bare = [path[:-1] if len(path) > 1 and path[-1].partition("_")[0] in CANDIDATE_OPS else path for path in paths]
    return [short if bare.count(short) == 1 else path for short, path in zip(bare, paths, strict=True)]


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
