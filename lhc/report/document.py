"""`Report`: all that is shown of a placed model, as one document. HTML and Markdown are drawn from it.

What was not measured is absent, and readers are told so. Drops are damage: larger is worse, in the metric's unit (0.01
is one point of a share in %), or relative to the baseline where the budget is. Costs are of one sample.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lhc.errors import ConfigError
from lhc.plan import Plan

__all__ = [
    "REPORT_SCHEMA",
    "AtTime",
    "Attribution",
    "CostItem",
    "Costs",
    "Front",
    "FrontPoint",
    "LayerAttribution",
    "LayerCosts",
    "Measured",
    "NoiseLevel",
    "OverTime",
    "Report",
    "Robustness",
    "read_report",
]

REPORT_SCHEMA = 1
_LIMIT = 64 * 2**20
"""Largest document that is read, in bytes."""

Interval = tuple[float, float]
Objective = Literal["macs", "latency", "energy"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Measured(_Record):
    """How a section was measured."""

    metric: str
    percent: bool
    """The metric is a share, shown in %."""
    baseline: float
    """The digital network's value on the same samples."""
    samples: int = Field(ge=1)
    draws: int = Field(ge=1)
    """Chips, one programming each."""
    seed: int
    confidence: float
    """Two-sided level of the intervals, which are over chips."""


class AtTime(_Record):
    """The placement at one time after programming."""

    t_s: float = Field(ge=0)
    """Seconds after the first read."""
    value: float
    """Mean of the metric over chips."""
    interval: Interval | None
    drop: float
    drop_interval: Interval | None = None
    gain: float | None = None
    """Greatest gain of the drift compensation over tiles, which amplifies the noise of outputs as well."""


class OverTime(_Record):
    """The placement over time."""

    how: Measured
    points: tuple[AtTime, ...] = Field(min_length=1)


class FrontPoint(_Record):
    """One placement of the trade-off."""

    analog: int = Field(ge=0)
    """Number of analog layers."""
    analog_macs: float = Field(ge=0, le=1)
    """Analog share of the MACs of all products."""
    latency_s: float | None = None
    energy_j: float | None = None
    estimate: float | None = None
    """Damage by adding up sensitivities, in their unit."""
    drop: float | None = None
    """Mean over chips, where the placement was judged on data."""
    interval: Interval | None = None
    verified: bool = False
    """Judged on samples and chips that the search had not seen."""
    chosen: bool = False
    """It is the placement that the model carries."""


class Front(_Record):
    """The trade-off between accuracy and an objective."""

    objective: Objective
    percent: bool
    """Drops are shares."""
    metric: str
    points: tuple[FrontPoint, ...]


class NoiseLevel(_Record):
    """The placement with all noise scaled."""

    scale: float = Field(ge=0)
    """1: as the hardware describes it."""
    drop: float
    interval: Interval | None
    within_budget: bool


class Robustness(_Record):
    """How much more noise the placement stands."""

    margin: float | None
    """Greatest measured scale up to which the budget is held; None: not even at the least one."""
    levels: tuple[NoiseLevel, ...]


class LayerAttribution(_Record):
    """Where the damage of one layer comes from."""

    name: str
    total: float
    """Damage with every effect on."""
    parts: dict[str, float]
    """Effect -> damage that goes away when it alone is switched off."""


class Attribution(_Record):
    """Where damage comes from, found by switching one effect off at a time; parts need not add up to the total."""

    metric: str
    layers: tuple[LayerAttribution, ...]


class CostItem(_Record):
    """Latency and energy of something, per sample."""

    name: str
    latency_s: float
    energy_j: float


class LayerCosts(_Record):
    """What a product costs where it is placed."""

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


class Costs(_Record):
    """What the placement costs on the machine, by its cost model."""

    layers: tuple[LayerCosts, ...]
    others: CostItem
    """Operators that are no products."""
    crossings: CostItem
    """Conversions between the formats of analog and digital products."""
    total: CostItem
    all_digital: CostItem
    """The same network with every product digital."""
    assumptions: tuple[str, ...]


class Report(_Record):
    """All that is shown of a placed model."""

    schema_version: Literal[1] = 1
    model: str
    """How the model is called."""
    summary: str
    plan: Plan
    tiles: int = Field(ge=0)
    """In use."""
    operators: int = Field(ge=0)
    """Of the network, products among them."""
    costs: Costs | None = None
    front: Front | None = None
    times: OverTime | None = None
    robustness: Robustness | None = None
    attribution: Attribution | None = None
    notes: tuple[str, ...] = ()
    """What the commands that made it had to say."""
    versions: dict[str, str] = {}
    """Of the libraries that measured, and the instruction set."""
    commands: tuple[str, ...] = ()
    """What made it, in order."""
    warnings: tuple[str, ...] = ()
    """Why it may not be true any more."""

    def to_json(self) -> str:
        """The document as JSON; numbers are read back exactly."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def json_schema(cls) -> str:
        """The JSON schema of the document."""
        return json.dumps(cls.model_json_schema(), indent=1, sort_keys=True)


def read_report(path: Path) -> Report:
    """A report that was written as JSON.

    Raises:
        ConfigError: it cannot be read, is larger than 64 MiB, or no report of this schema.
    """
    try:
        if path.stat().st_size > _LIMIT:
            raise ConfigError(f"{path}: larger than {_LIMIT >> 20} MiB, which no report is")
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: not a report of schema {REPORT_SCHEMA}: {where}: {first['msg']}") from error
