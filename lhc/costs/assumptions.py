"""What a machine's costs rest on that no source gives: numbers and simplifications, for reports."""

from collections.abc import Iterator
from dataclasses import dataclass

from lhc.hardware import AlpineCosts, Assumed, Hardware
from lhc.hardware.sections import Section

__all__ = ["Assumption", "assumptions"]

_EVERYWHERE = (
    ("order", "layers run one after the other, one sample at a time; nothing overlaps"),
    ("weights", "analog weights stay on their tiles; programming them is not counted"),
    ("other operators that multiply", "LSTM, Attention and the like cost their MACs; what is not known costs nothing"),
    ("static power", "unused tiles and idle memories draw nothing"),
)
_ALPINE = (
    ("digital precision", "digital products run in int8: a byte per weight and activation"),
    ("unfolding", "every input of every analog product is gathered anew; neighbouring products share nothing"),
    ("inputs", "the tiles of one row of tiles receive an input together; every tile delivers its own outputs"),
    ("groups", "the groups of a convolution are driven one at a time"),
    (
        "other operators",
        "shapes, casts, views and what merges into a product cost nothing; others what they read or write",
    ),
    ("crossings", "operators between products work on either format; conversion is put where the fewest elements pass"),
    ("converters", "product_ns and product_pj_per_cell hold for the converters' resolution, whatever it is"),
)
_DIANA = (
    ("digital precision", "digital layers run in int8; analog ones on 7-bit inputs, ternary weights and 6-bit outputs"),
    ("shape", "outputs are square where their number is a square, else one line; a matrix is a 1x1 convolution"),
    ("groups", "the published model has no grouped analog layers: their groups are driven one at a time"),
    ("other operators", "operators that are no products, and crossings, cost nothing"),
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
    structure = _EVERYWHERE + (_ALPINE if isinstance(costs, AlpineCosts) else _DIANA)
    return (*_numbers(costs, "costs"), *(Assumption(name, "", text) for name, text in structure))


def _numbers(section: Section, path: str) -> Iterator[Assumption]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _numbers(value, f"{path}.{name}")
        for mark in field.metadata:
            if isinstance(mark, Assumed):
                reason = mark.reason if value == field.default else "as the hardware description has it"
                yield Assumption(f"{path}.{name}", f"{value} {mark.unit}".strip(), reason)
