"""Options of the budget: the drop that a placement may have, and the share of chips that must hold it."""

from typing import Literal

from lhc.errors import UsageError
from lhc.options.declaration.option_fields import option, options
from lhc.options.declaration.value_parsing import share_of

__all__ = ["BudgetOptions", "DropType", "YieldOptions"]

DropType = Literal["absolute", "relative"]


@options
class BudgetOptions:
    """The accuracy that the user can afford to lose."""

    PANEL = "Budget"

    max_drop: float | str | None = option(
        "Greatest mean drop that you allow (rise, of an error), in the metric's unit (0.01 or 1% is one point of"
        " accuracy); by default the budget that the placement was judged by, or a zoo model's own, else 0.01.",
        default=None,
        metavar="X",
        reads=str | None,
    )
    drop_type: DropType | None = option(
        "Whether --max-drop is absolute, or relative to the digital value; by default as annotated where the"
        " annotated budget is taken, else absolute.",
        default=None,
        metavar="T",
        rare=True,
    )
    generalize: bool = option("Decide for other samples too, not for these samples alone.", default=False)


@options
class YieldOptions:
    """Option of the yield: the share of all chips that must hold the budget."""

    PANEL = "Budget"

    yield_share: float | str | None = option(
        "This share of all chips has to hold the budget too, each by itself (0.95 or 95%), on these samples. By default"
        " none, and for a placement that is judged again the share that it was judged by.",
        default=None,
        flag="--yield",
        metavar="SHARE",
        reads=str | None,
    )

    @property
    def least_yield(self) -> float | None:
        """The share of chips as a number.

        Raises:
            UsageError: a share of no chips, or none.
        """
        if self.yield_share is None:
            return None
        share = share_of(self.yield_share, "--yield")
        if share == 0:
            raise UsageError("--yield must be above 0: leave it out where the mean over chips is all that counts")
        return share
