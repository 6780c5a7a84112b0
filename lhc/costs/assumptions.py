"""What a machine's costs rest on that no source gives: numbers and simplifications, for reports."""

from collections.abc import Iterator
from dataclasses import dataclass

from lhc.hardware import Assumed, Hardware
from lhc.hardware.sections import Section

__all__ = ["Assumption", "assumptions"]

_EVERYWHERE = (
    ("order", "latency and energy are of one sample alone, whose layers run one after the other; nothing overlaps"),
    ("throughput", "buffers between cores, links and tiles are as large as it takes, and cost nothing"),
    ("weights", "analog weights stay on their tiles; programming them is not counted"),
    ("other operators that multiply", "LSTM, Attention and the like cost their MACs; what is not known costs nothing"),
    ("static power", "unused tiles and idle memories draw nothing"),
)


@dataclass(frozen=True)
class Assumption:
    """One thing that is not known.

    Attributes:
        name: path of the field in the hardware description, or what a simplification is about.
        value: of the field, with its unit; empty for simplifications of the model, which cannot be changed.
        text: why it is taken so.
    """

    name: str
    value: str
    text: str

    def __str__(self) -> str:
        return f"{self.name} = {self.value}: {self.text}" if self.value else f"{self.name}: {self.text}"


def assumptions(hardware: Hardware) -> tuple[Assumption, ...]:
    """All assumptions behind the costs of a machine; none where it has no costs."""
    costs = hardware.costs
    if costs is None:
        return ()
    simplified = (Assumption(name, "", text) for name, text in (*_EVERYWHERE, *costs.simplifications))
    return (*_numbers(costs, "costs"), *simplified)


def _numbers(section: Section, path: str) -> Iterator[Assumption]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _numbers(value, f"{path}.{name}")
        for mark in field.metadata:
            if isinstance(mark, Assumed):
                reason = mark.reason if value == field.default else "as the hardware description has it"
                yield Assumption(f"{path}.{name}", f"{value} {mark.unit}".strip(), reason)
