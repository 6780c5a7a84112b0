"""Section of a hardware description: what chips lack from fabrication."""

from pydantic import Field, model_validator

from lhc.hardware.sections import Section

__all__ = ["Faults"]


class Faults(Section):
    """What is wrong with tiles, drawn for every chip; docs/hardware.md. A cell is one side of a weight's pair."""

    stuck_low: float = Field(default=0.0, ge=0, le=1)
    """Share of cells that stay without conductance, whatever they are programmed to."""
    stuck_high: float = Field(default=0.0, ge=0, le=1)
    """Share of cells that stay at g_max; they do not drift either."""
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

    @model_validator(mode="after")
    def _cells_are_stuck_at_one_end(self) -> "Faults":
        if self.stuck_low + self.stuck_high > 1:
            raise ValueError("stuck_low and stuck_high are shares of all cells: at most 1 together")
        return self

    @property
    def any(self) -> bool:
        """Whether anything is wrong."""
        shares = (self.stuck_low, self.stuck_high, self.dead_rows, self.dead_columns)
        return any((*shares, self.column_gain, self.column_offset))
