"""Agreement: predicted sensitivities of some layers beside those that were measured to check them."""

from pydantic import Field

from lhc.plan.field_types import Name
from lhc.plan.layer_plan import PlanRecord

__all__ = ["Agreement"]


class Agreement(PlanRecord):
    """Predicted against measured sensitivities of the same layers."""

    layers: dict[Name, tuple[float, float]]
    """Name -> (predicted, measured) damage."""
    correlation: float | None = Field(ge=-1, le=1)
    """Of the ranks (Spearman); None where it is undefined."""
    ratio: float | None = Field(gt=0)
    """Geometric mean of predicted over measured damage; None where none was seen."""
    good: bool
    """Both are close enough to one for the prediction to be used."""

    @property
    def figures(self) -> str:
        """How close both are."""
        correlation = "undefined" if self.correlation is None else f"{self.correlation:.2f}"
        ratio = "undefined" if self.ratio is None else f"{self.ratio:.2f}"
        return f"rank correlation {correlation}, predicted over measured {ratio} (geometric mean)"

    def __str__(self) -> str:
        return f"{len(self.layers)} layers were measured to check the predicted damage: {self.figures}"
