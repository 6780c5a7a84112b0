"""What commands return that measure: a table in every form, short where it is shown, drawn by matplotlib."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from lhc.options.declaration.message_translation import python_words
from lhc.plan import Conformance, Outcome
from lhc.report.tables.measured_tables import (
    attribution_footer,
    attribution_table,
    evaluation_footer,
    evaluation_table,
    front_footer,
    front_table,
    robustness_footer,
    robustness_table,
)
from lhc.report.wording.outcome import budget_for, within_budget
from lhc.results import Attribution, Evaluation, Front, Robustness
from lhc.support.notebook import Tabled, plotting
from lhc.support.number_formatting import counted, level_text, metric_value, time_text
from lhc.support.tables import Table

__all__ = ["AttributionResult", "Evaluations", "FrontResult", "RobustnessResult"]

_OBJECTIVES = {
    "macs": ("MACs on tiles (% of all)", 100.0),
    "latency": ("estimated latency (ms a sample)", 1e3),
    "energy": ("estimated energy (µJ a sample)", 1e6),
    "tiles": ("tiles", 1.0),
}
"""What an axis says, and what its values are times."""


class Evaluations(tuple[Evaluation, ...], Tabled):  # noqa: SLOT001 - a tuple holds no slot
    """What `lhc.run` found, an `lhc.Evaluation` a time.

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
        """What the figures rest on, and what they say beside the verdict of the placement."""
        return python_words(evaluation_footer(self, self.outcome, self.conformance))

    def plot(self, axes: Any = None) -> Any:  # noqa: ANN401 - matplotlib is not a dependency
        """The metric over time, that of the digital network and the budget; see `lhc.SensitivityTable.plot`."""
        known = self.outcome is not None and within_budget(self[0], self.outcome) is not None
        return _over_time(self, axes, budget_for(self[0], self.outcome) if known and self.outcome else None)

    def __repr__(self) -> str:
        first = self[0]
        found = ", ".join(f"{metric_value(e.mean, e.percent)} after {time_text(e.t_s)}" for e in self)
        return f"<Evaluations: {first.metric} {found}; digital {metric_value(first.baseline, first.percent)}>"


@dataclass(frozen=True, repr=False)
class FrontResult(Front, Tabled):
    """What `lhc.pareto` found."""

    def as_table(self) -> Table:
        """One row a point that was verified."""
        return front_table(self)

    @property
    def summary(self) -> str:
        """How many points are verified, and how far off estimates were."""
        return python_words(front_footer(self))

    def plot(self, axes: Any = None) -> Any:  # noqa: ANN401
        """Verified drops with their intervals over the objective; see `lhc.SensitivityTable.plot`."""
        axes, factor = _axes(axes), 100.0 if self.percent else 1.0
        label, unit = _OBJECTIVES[self.objective]
        for point in self.verified:
            found, x = point.evaluation, unit * (point.value(self.objective) or 0.0)
            assert found is not None
            if found.drop_interval is not None:
                axes.plot((x, x), [factor * bound for bound in found.drop_interval], color="0.5")
            axes.plot([x], [factor * found.drop], "o", color="C1")
        axes.set_xlabel(label)
        axes.set_ylabel(f"mean {self.drop_word} ({'points' if self.percent else self.drop_metric})")
        return axes

    def __repr__(self) -> str:
        return f"<FrontResult: {len(self.verified)} of {counted(len(self.points), 'point')} verified, {self.objective}>"


@dataclass(frozen=True, repr=False)
class RobustnessResult(Robustness, Tabled):
    """What `lhc.robustness` found."""

    def as_table(self) -> Table:
        """Rows over time, then over noise."""
        return robustness_table(self)

    @property
    def summary(self) -> str:
        """The margin in a sentence, and the spread over chips."""
        return python_words(robustness_footer(self))

    def plot(self, axes: Any = None) -> Any:  # noqa: ANN401
        """The metric over time, that of the digital network and the budget; see `lhc.SensitivityTable.plot`."""
        unit = abs(self.chips.baseline) if self.drop_type == "relative" else 1.0
        return _over_time([at.evaluation for at in self.times], axes, unit * self.max_drop)

    def __repr__(self) -> str:
        return f"<RobustnessResult: {next(line for line in self.summary.splitlines() if line.startswith('margin'))}>"


@dataclass(frozen=True, repr=False)
class AttributionResult(Attribution, Tabled):
    """What `lhc.attribute` found."""

    def as_table(self) -> Table:
        """One row a layer."""
        return attribution_table(self)

    @property
    def summary(self) -> str:
        """What the columns mean, and what they rest on."""
        return python_words(attribution_footer(self))

    def __repr__(self) -> str:
        return f"<AttributionResult: {counted(len(self.layers), 'layer')} in {self.metric}>"


def _axes(given: Any) -> Any:  # noqa: ANN401
    return plotting().subplots()[1] if given is None else given


def _over_time(found: Sequence[Evaluation], axes: Any, budget: float | None) -> Any:  # noqa: ANN401
    """Times apart alike, since they reach from seconds to years; ``budget``: a drop in the metric's unit."""
    axes, first = _axes(axes), found[0]
    factor = 100.0 if first.percent else 1.0
    for at, one in enumerate(found):
        if one.interval is not None:
            axes.plot((at, at), [factor * bound for bound in one.interval], color="0.5")
        axes.plot([at], [factor * one.mean], "o", color="C1")
    ends = (0, max(1, len(found) - 1))
    axes.plot(ends, [factor * first.baseline] * 2, "--", color="C0", label="digital")
    if budget is not None:
        least = first.baseline + (budget if first.higher_is_better is False else -budget)
        axes.plot(ends, [factor * least] * 2, "--", color="C3", label="budget")
    axes.legend()
    axes.set_xticks(range(len(found)), [time_text(one.t_s) for one in found])
    axes.set_xlabel("time after programming")
    axes.set_ylabel(f"{first.metric}{' (%)' if first.percent else ''}")
    axes.set_title(f"mean of {counted(first.draws, 'chip')}, {level_text(first.confidence)} intervals")
    return axes
