"""The pictures of a report as one SVG that stands alone: the layers by block, and the charts beside them.

All words that explain a picture are in it: model, machine, verdict, what the colours and the numbers are, and the
title, axes, units and budget line of every chart.
"""

from dataclasses import dataclass
from typing import Any

from lhc.report.charts.axes import Chart, RangeChart
from lhc.report.charts.block_grid import BlockGrid

__all__ = ["Picture", "Placed", "laid_out"]

_GAP = 26.0
_CAPTION = 22.0
_MARGIN = 16.0
_HEAD = 54.0
_LETTER = 6.7
"""Width of a letter of a caption, at most on average."""


@dataclass(frozen=True)
class Placed:
    """A picture at a place of the sheet; ``kind``: grid, ranges or chart."""

    kind: str
    id: str
    name: str
    note: str
    description: str
    drawn: BlockGrid | Chart | RangeChart
    x: float
    y: float
    width: float
    height: float


Picture = tuple[str, str, str, str, str, Any]
"""Kind, id, name, note, description, and what is drawn."""


def laid_out(pictures: list[Picture]) -> tuple[list[Placed], float, float]:
    """Pictures below each other; width and height of the sheet."""
    placed: list[Placed] = []
    y, width = _HEAD, 0.0
    for kind, id, name, note, description, drawn in pictures:
        y += _CAPTION
        placed.append(Placed(kind, id, name, note, description, drawn, _MARGIN, y, drawn.width, drawn.height))
        y += drawn.height + _GAP
        width = max(width, drawn.width, _LETTER * len(f"{name} {note}"))
    return placed, width + 2 * _MARGIN, y
