"""Time and energy, as values that add up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["NOTHING", "Cost", "LayerCost", "Unit", "total"]

Unit = Literal["tiles", "links", "memory"]
"""What can be at work beside the cores: a layer's own tiles, the links of these, the memory of digital weights."""


@dataclass(frozen=True)
class Cost:
    """Latency and energy of one sample."""

    latency_s: float = 0.0
    energy_j: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.latency_s + other.latency_s, self.energy_j + other.energy_j)

    def times(self, factor: float) -> "Cost":
        """So many of them."""
        return Cost(factor * self.latency_s, factor * self.energy_j)


NOTHING = Cost()


def total(costs: Iterable[Cost]) -> Cost:
    """Their sum."""
    return sum(costs, NOTHING)


def added_up(costs: Mapping[str, "LayerCost"], rows: Mapping[str, str]) -> dict[str, "LayerCost"]:
    """Costs of layers by the rows that people read; ``rows``: by the names of layers, its own where it has none."""
    parts: dict[str, dict[str, Cost]] = {}
    busy: dict[str, dict[Unit, float]] = {}
    for name, layer in costs.items():
        row = rows.get(name, name)
        of_row, of_units = parts.setdefault(row, {}), busy.setdefault(row, {})
        for part, cost in layer.parts.items():
            of_row[part] = of_row.get(part, NOTHING) + cost
        for unit, seconds in layer.busy.items():
            of_units[unit] = of_units.get(unit, 0.0) + seconds
    return {row: LayerCost(found, busy[row]) for row, found in parts.items()}


@dataclass(frozen=True)
class LayerCost:
    """Latency and energy of one operator for one sample.

    Attributes:
        parts: what it is made of, by name.
        busy: seconds of the latency that are work of a unit beside the cores; all others are a core's.
    """

    parts: Mapping[str, Cost]
    busy: Mapping[Unit, float] = field(default_factory=dict)

    @property
    def total(self) -> Cost:
        """All parts."""
        return total(self.parts.values())

    @property
    def latency_s(self) -> float:
        """Seconds."""
        return self.total.latency_s

    @property
    def busy_s(self) -> float:
        """Seconds of it that are no work of a core."""
        return sum(self.busy.values())

    @property
    def energy_j(self) -> float:
        """Joules."""
        return self.total.energy_j
