"""Options of layers whose worst columns are digital."""

from typing import Literal

from lhc.options.declaration.option_fields import option, options
from lhc.options.declaration.value_parsing import share_of

__all__ = ["ColumnsBy", "ColumnsOptions"]

ColumnsBy = Literal["macs", "weights"]


@options
class ColumnsOptions:
    """Which columns of layers are digital although the rest is on tiles."""

    PANEL = "Goal"

    digital_columns: float | str = option(
        "Compute the worst columns of layers digitally, at most this share of the MACs (0.05 or 5%); auto: the search"
        " decides for every layer whether its worst fifth is digital.",
        default="0%",
        metavar="SHARE",
        reads=str,
    )
    columns_by: ColumnsBy = option(
        "Whether --digital-columns is a share of the macs to compute, or of the weights to store.",
        default="macs",
        metavar="C",
        rare=True,
    )

    def __post_init__(self) -> None:
        _ = self.columns_share

    @property
    def columns_share(self) -> float | None:
        """The share as a number; None: the search tells."""
        return None if self.digital_columns == "auto" else share_of(self.digital_columns, "--digital-columns")
