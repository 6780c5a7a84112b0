"""Results of the commands that measure: as a table in every form, as one line, and drawn by matplotlib."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from lhc.options.declaration.python_signature import python_words
from lhc.plan import Conformance, Outcome
from lhc.report.tables.measured_tables import (
    attribution_footer,
    attribution_table,
    evaluation_footer,
    evaluation_table,
    front_footer,
    front_table,
    region_footer,
    region_table,
    robustness_footer,
    robustness_table,
)
from lhc.results import Attribution, Evaluation, FeasibleRegion, Front, Robustness
from lhc.support.notebook import Tabled, axes_or_new
from lhc.support.number_formatting import counted, metric_value, time_text
from lhc.support.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Evaluations(tuple[Evaluation, ...], Tabled):  # noqa: SLOT001 - a tuple holds no slot
    """Result of `lhc.run`, an `lhc.Evaluation` a time.

    Attributes:
        outcome: how the placement that was run was judged when it was placed; None where another one is run.
        conformance: of the emulation with its definition; None where nothing was checked.
    """

    outcome: Outcome | None
    conformance: Conformance | None

    def __new__(
        cls, found: Iterable[Evaluation], outcome: Outcome | None = None, conformance: Conformance | None = None
    ) -> Self:
        made = super().__new__(cls, found)
        made.outcome, made.conformance = outcome, conformance
        return made

    def as_table(self) -> Table:
        """One row a time."""
        return evaluation_table(self, self.outcome)

    @property
    def summary(self) -> str:
        """Basis of the figures, and how they compare with the verdict of the placement."""
        return python_words(evaluation_footer(self, self.outcome, self.conformance))

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """The metric over time, that of the digital network and the budget; see `lhc.SensitivityTable.plot`."""
        from lhc.report.charts.report_charts import time_chart, worst_allowed

        return time_chart(self, worst_allowed(self, self.outcome)).on(axes)

    def __repr__(self) -> str:
        first = self[0]
        found = ", ".join(f"{metric_value(e.mean, e.percent)} after {time_text(e.t_s)}" for e in self)
        return f"<Evaluations: {first.metric} {found}; digital {metric_value(first.baseline, first.percent)}>"


@dataclass(frozen=True, repr=False)
class FrontResult(Front, Tabled):
    """Result of `lhc.pareto`."""

    def as_table(self) -> Table:
        """One row a point that was verified."""
        return front_table(self)

    @property
    def summary(self) -> str:
        """Number of verified points, and error of the estimates."""
        return python_words(front_footer(self))

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Drops of all points with their intervals over the objective; see `lhc.SensitivityTable.plot`."""
        from lhc.report.charts.report_charts import chart_of_front

        chart = chart_of_front(self)
        return axes_or_new(axes) if chart is None else chart.on(axes)

    def __repr__(self) -> str:
        return f"<FrontResult: {len(self.verified)} of {counted(len(self.points), 'point')} verified, {self.objective}>"


@dataclass(frozen=True, repr=False)
class RobustnessResult(Robustness, Tabled):
    """Result of `lhc.robustness`."""

    def as_table(self) -> Table:
        """Rows over time, then over noise."""
        return robustness_table(self)

    @property
    def summary(self) -> str:
        """The margin in a sentence, and the spread over chips."""
        return python_words(robustness_footer(self))

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """The metric over time, that of the digital network and the budget; see `lhc.SensitivityTable.plot`."""
        from lhc.report.charts.report_charts import time_chart

        first = self.times[0].evaluation
        budget = self.max_drop * (abs(self.chips.baseline) if self.drop_type == "relative" else 1)
        worst = first.baseline + (budget if first.higher_is_better is False else -budget)
        return time_chart([at.evaluation for at in self.times], worst).on(axes)

    def __repr__(self) -> str:
        return f"<RobustnessResult: {next(line for line in self.summary.splitlines() if line.startswith('margin'))}>"


@dataclass(frozen=True, repr=False)
class RegionResult(FeasibleRegion, Tabled):
    """Result of `lhc.feasible_region`."""

    def as_table(self) -> Table:
        """One row a machine that was measured."""
        return region_table(self)

    @property
    def summary(self) -> str:
        """The boundary in sentences, and what it rests on."""
        return python_words(region_footer(self))

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """The region over both fields, or drops over the only one; see `lhc.SensitivityTable.plot`."""
        from lhc.report.charts.report_charts import region_chart

        return region_chart(self).on(axes)

    def __repr__(self) -> str:
        names = " and ".join(field.path for field in self.fields)
        return f"<RegionResult: {names}, {counted(len(self.points), 'machine')} measured>"


@dataclass(frozen=True, repr=False)
class AttributionResult(Attribution, Tabled):
    """Result of `lhc.attribute`."""

    def as_table(self) -> Table:
        """One row a layer."""
        return attribution_table(self)

    @property
    def summary(self) -> str:
        """Meaning and basis of the columns."""
        return python_words(attribution_footer(self))

    def __repr__(self) -> str:
        return f"<AttributionResult: {counted(len(self.layers), 'layer')} in {self.metric}>"
