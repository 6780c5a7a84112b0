"""How often columns were written."""

from dataclasses import dataclass

__all__ = ["WidenedLayer"]


@dataclass(frozen=True)
class WidenedLayer:
    """A product that goes onto tiles.

    Attributes:
        layer: its name.
        columns: of its matrix.
        copies: of every column; 1 where the tiles have no room, or the file's operator cannot be written so.
    """

    layer: str
    columns: int
    copies: int
