"""Assumptions behind a machine's costs for which lhc has no source."""

from collections.abc import Iterator
from dataclasses import dataclass

from lhc.hardware import Assumed, DigitalCores, Hardware, Known
from lhc.hardware.description.costs import Figures
from lhc.hardware.description.tiles_and_converters import Section

_EVERYWHERE = (
    ("order", "latency and energy are of one sample alone, whose layers run one after the other; nothing overlaps"),
    ("throughput", "buffers between cores, links and tiles are as large as it takes, and cost nothing"),
    ("weights", "analog weights stay on their tiles; programming them is not counted"),
    ("other operators that multiply", "LSTM, Attention and the like cost their MACs; what is not known costs nothing"),
    ("static power", "unused tiles and idle memories draw nothing"),
)
_UNSOURCED = "as the hardware description has it"


@dataclass(frozen=True)
class Assumption:
    """One thing that is not known, or that the description brings.

    Attributes:
        name: path of the field in the hardware description, or what a simplification is about.
        value: of the field, with its unit; empty for simplifications of the model, which cannot be changed.
        text: why it is taken so, or the source that the description gives.
        sourced: whether it is such a source.
    """

    name: str
    value: str
    text: str
    sourced: bool = False

    def __str__(self) -> str:
        if self.sourced:
            return f"{self.name} = {self.value} (source: {self.text})"
        return f"{self.name} = {self.value}: {self.text}" if self.value else f"{self.name}: {self.text}"


def assumptions(hardware: Hardware) -> tuple[Assumption, ...]:
    """All assumptions behind the costs of a machine; none where it has no costs."""
    costs = hardware.costs
    if costs is None:
        return ()
    told = (*_EVERYWHERE, ("digital precision", _precision(hardware.digital)), *costs.simplifications)
    simplified = (Assumption(name, "", text) for name, text in told)
    cycles = () if hardware.digital.precision == "int8" else _numbers(hardware.digital.cycles, "digital.cycles")
    return (*_numbers(costs, "costs"), *cycles, *simplified)


def _precision(digital: DigitalCores) -> str:
    """Number formats that digital products are priced in."""
    others = "other operators cost the same in every format"
    if digital.precision == "as-file":
        return f"digital products are priced in the file's format, in which they compute; {others}"
    high = f", those in {digital.high_precision} as such" if digital.high_precision is not None else ""
    return f"digital products are priced in {digital.precision}, in which they are emulated{high}; {others}"


def _numbers(section: Section, path: str) -> Iterator[Assumption]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _numbers(value, f"{path}.{name}")
        mark = next((one for one in field.metadata if isinstance(one, Known | Assumed)), None)
        own = section.sources.get(name) if isinstance(section, Figures) else None
        if mark is None or (own is None and isinstance(mark, Known) and value == field.default):
            continue
        reason = mark.reason if isinstance(mark, Assumed) and value == field.default else _UNSOURCED
        yield Assumption(f"{path}.{name}", f"{value} {mark.unit}".strip(), own or reason, own is not None)
