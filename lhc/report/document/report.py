"""`Report`: all that is shown of a placed model, as one document. HTML and Markdown are drawn from it.

What was not measured is absent, and readers are told so. Drops are damage: larger is worse, in the metric's unit (0.01
is one point of a share in %), or relative to the baseline where the budget is. Costs are of one sample.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lhc.costs import SystemFigures
from lhc.options.shared import DropType
from lhc.plan import Plan
from lhc.plan.field_types import Amount, alike
from lhc.report.wording.outcome import of_budget, shown_kind
from lhc.results import (
    AtTime,
    Attribution,
    Evaluation,
    FeasibleRegion,
    Front,
    Infeasibility,
    Robustness,
    check_evaluation,
    check_region,
)
from lhc.support.text_escaping import json_text


class _ReportRecord(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CostItem(_ReportRecord):
    """Latency and energy of something, per sample."""

    name: str
    latency_s: Amount
    energy_j: Amount


class OperatorItem(CostItem):
    """Cost of all operators of one type that are no products."""

    count: int = Field(gt=0)


class LayerCosts(_ReportRecord):
    """Cost of a product where it is placed."""

    name: str
    parts: tuple[CostItem, ...]

    @property
    def latency_s(self) -> float:
        """Seconds."""
        return sum(part.latency_s for part in self.parts)

    @property
    def energy_j(self) -> float:
        """Joules."""
        return sum(part.energy_j for part in self.parts)


class Costs(_ReportRecord):
    """Cost of the placement on the machine, by its cost model."""

    layers: tuple[LayerCosts, ...]
    others: CostItem
    """Operators that are no products."""
    operators: tuple[OperatorItem, ...] = ()
    """Other operators by type, most time first."""
    crossings: CostItem
    """Conversions between the formats of analog and digital products."""
    total: CostItem
    all_digital: CostItem
    """Cost of the network with every product digital."""
    system: SystemFigures | None = None
    """Throughput, peak power and area; None in reports of earlier versions."""
    assumptions: tuple[str, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        for quantity in ("latency_s", "energy_j"):
            parts = [getattr(one, quantity) for one in (*self.layers, self.others, self.crossings)]
            whole = getattr(self.total, quantity)
            if not alike(whole, sum(parts)):
                raise ValueError(f"total.{quantity}: {whole:g} is not what layers, others and crossings come to")
        return self


class DrivenRows(_ReportRecord):
    """Rows of tiles that the analog layers drive for one sample; a row counts once for every product."""

    copies: int = Field(ge=0)
    """With the copies of weights that the placement has."""
    one: int = Field(ge=0)
    """With one of each."""


class Report(_ReportRecord):
    """A placed model with its decisions, costs and measurements."""

    schema_version: Literal[1] = 1
    model: str
    """Name of the model."""
    summary: str
    plan: Plan
    tiles: int = Field(ge=0)
    """In use."""
    damage: float | None = None
    """Estimated, of the placement (`lhc.passes.damage_of`); None in reports of earlier versions."""
    operators: int = Field(ge=0)
    """Number of operators of the network as its file has it, products among them, and those in bodies of others."""
    driven_rows: DrivenRows | None = None
    """None without copies, and where sizes are not known."""
    costs: Costs | None = None
    front: Front | None = None
    """Without measured points: by estimate, from the sensitivities."""
    times: tuple[AtTime, ...] = ()
    """The placement over time, ascending."""
    robustness: Robustness | None = None
    region: FeasibleRegion | None = None
    attribution: Attribution | None = None
    infeasibility: Infeasibility | None = None
    notes: tuple[str, ...] = ()
    """Notes of the commands that made it."""
    versions: dict[str, str] = {}
    """Versions of the libraries that measured, and the instruction set."""
    commands: tuple[str, ...] = ()
    """Commands that made it, in order."""
    warnings: tuple[str, ...] = ()
    """Reasons why it may not be true any more."""

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        if self.robustness is not None and not (self.robustness.scales and self.robustness.chips.drops):
            raise ValueError("robustness holds no chips or no scales of noise")
        if self.region is not None:
            check_region(self.region)
        return self

    @model_validator(mode="after")
    def _is_what_can_be_measured(self) -> Self:
        for place, found in self._evaluations():
            try:
                check_evaluation(found)
            except ValueError as error:
                raise ValueError(f"{place}.{error}") from error
        robust = self.robustness
        if robust is not None and robust.fails_at is not None and robust.fails_at < robust.margin:
            raise ValueError(f"robustness.fails_at: {robust.fails_at:g} is below the margin, {robust.margin:g}")
        return self

    def _evaluations(self) -> Iterator[tuple[str, Evaluation]]:
        """All that was measured, with where it stands in the document."""
        yield from ((f"times.{i}.evaluation", one.evaluation) for i, one in enumerate(self.times))
        for i, point in enumerate(() if self.front is None else self.front.points):
            if point.evaluation is not None:
                yield f"front.points.{i}.evaluation", point.evaluation
        if (robust := self.robustness) is not None:
            yield "robustness.chips", robust.chips
            yield from ((f"robustness.times.{i}.evaluation", one.evaluation) for i, one in enumerate(robust.times))
            yield from ((f"robustness.scales.{i}.evaluation", one.evaluation) for i, one in enumerate(robust.scales))
        if self.region is not None:
            for i, machine in enumerate(self.region.points):
                if machine.evaluation is not None:
                    yield f"region.points.{i}.evaluation", machine.evaluation
        if (lacking := self.infeasibility) is not None:
            yield "infeasibility.least", lacking.least
            if lacking.without is not None:
                yield "infeasibility.without", lacking.without
            remedies = enumerate(lacking.remedies)
            yield from ((f"infeasibility.remedies.{i}.evaluation", one.evaluation) for i, one in remedies)

    @property
    def over_time(self) -> tuple[AtTime, ...]:
        """The placement over time, where robustness was measured with its gains.

        Only those of `times` can be held against a budget where weights were trained, if against the given network.
        """
        times, kind = self._measured_times
        wanted = self.over_time_type
        return tuple(replace(point, evaluation=point.evaluation.of_kind(kind, wanted)) for point in times)

    @property
    def over_time_type(self) -> DropType:
        """Type of the drops of `over_time`: that of the budget, where it is of them."""
        times, kind = self._measured_times
        return shown_kind(times[0].evaluation, self.plan.outcome, kind) if times else kind

    @property
    def _measured_times(self) -> tuple[tuple[AtTime, ...], DropType]:
        """Points of `over_time`, and the type of their drops."""
        if self.robustness is None or self._times_are_of_budget:
            return self.times, "absolute"
        return self.robustness.times, self.robustness.drop_type

    @property
    def _times_are_of_budget(self) -> bool:
        """Whether they alone can be held against it."""
        outcome = self.plan.outcome
        own, other = (bool(t) and of_budget(t[0].evaluation, outcome) for t in (self.times, self._robust_times))
        return own and not other

    @property
    def _robust_times(self) -> tuple[AtTime, ...]:
        return () if self.robustness is None else self.robustness.times

    def __repr__(self) -> str:
        return f"<Report of {self.model} on {self.plan.hardware.name}: {self.summary}>"

    def to_json(self) -> str:
        """The document as JSON; numbers are read back exactly."""
        return json_text(self.model_dump_json(indent=1)) + "\n"

    @classmethod
    def json_schema(cls) -> str:
        """The JSON schema of the document."""
        return json.dumps(cls.model_json_schema(), indent=1, sort_keys=True)
