"""Time and energy, as values that add up, and the gain of a placement over the all-digital network, in words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lhc.support.number_formatting import ratio

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
        """Cost times a factor."""
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


class TimeAndEnergy(Protocol):
    """Costs of an operator or of a placement."""

    @property
    def latency_s(self) -> float: ...
    @property
    def energy_j(self) -> float: ...


def spent(cost: TimeAndEnergy, objective: str) -> float:
    """What an objective goes by: seconds for latency, else joules."""
    return cost.latency_s if objective == "latency" else cost.energy_j


_TIMES = 1.1
"""Ratio below which a difference is told in percent."""


def gains(placed: Cost, digital: Cost) -> str:
    """Energy and latency beside all digital; what is the same comes last.

    >>> gains(Cost(2e-3, 1e-6), Cost(4.8e-3, 3.1e-6))
    'energy 3.1 times less, latency 2.4 times less than all digital'
    >>> gains(Cost(1.0, 2.0), Cost(1.0, 1.9)), gains(Cost(1.0, 2.0), Cost(2.0, 2.0))
    ('energy 5 % more than all digital, latency the same', 'latency 2.0 times less than all digital, energy the same')
    >>> gains(Cost(1.0, 2.0), Cost(1.0, 2.0))
    'energy and latency the same as all digital'
    """
    found = {
        "energy": compared(digital.energy_j, placed.energy_j, "less", "more", ""),
        "latency": compared(digital.latency_s, placed.latency_s, "less", "more", ""),
    }
    other = [f"{name} {difference}" for name, difference in found.items() if difference]
    if not other:
        return "energy and latency the same as all digital"
    same = [f", {name} the same" for name, difference in found.items() if not difference]
    return f"{', '.join(other)} than all digital{''.join(same)}"


def compared(before: float, after: float, better: str, worse: str, same: str) -> str:
    """Difference of one amount from another, in words: ``4.4 times less``.

    >>> compared(3.1, 1, "less", "more", "the same"), compared(1, 1.04, "less", "more", "the same")
    ('3.1 times less', '4 % more')
    >>> compared(0, 2, "less", "more", "the same"), compared(0, 0, "less", "more", "the same")
    ('more', 'the same')
    """
    if min(before, after) <= 0:  # no ratio says by how much
        return same if before == after else better if before > after else worse
    word, times = (better, before / after) if before > after else (worse, after / before)
    if times >= _TIMES:
        return f"{ratio(times)} times {word}"
    percent = round(100 * abs(after / before - 1))
    return f"{percent} % {word}" if percent else same
