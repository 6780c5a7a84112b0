"""Programmed layers of a placement, given to every run of an executor."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lhc.programmed_matrix import Correction

if TYPE_CHECKING:
    from lhc.runtime.engines.protocol import Products

T = TypeVar("T")


class OnDemand(Mapping[str, T]):
    """Values of which some are made whenever they are asked for, and held by nobody here."""

    def __init__(self, held: Mapping[str, T], others: Collection[str], make: Callable[[str], T]) -> None:
        """``others``: the names of those that ``make`` makes."""
        self._held, self.others, self._make = held, others, make

    def __getitem__(self, name: str) -> T:
        return self._held[name] if name in self._held else self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self._held or name in self.others  # nothing is made to answer that

    def __iter__(self) -> Iterator[str]:
        yield from self._held
        yield from self.others

    def __len__(self) -> int:
        return len(self._held) + len(self.others)


@dataclass(frozen=True)
class ProgrammedLayers:
    """Programmed matrices of the analog layers, on one or more chips.

    Attributes:
        chips: per chip, by tile set; for the layers that another analog layer comes before.
        together: all chips at once, for the layers that read what is the same for all chips.
        corrections: per chip, by layer; empty where the chips are not calibrated.
    """

    chips: "tuple[Mapping[str, Products], ...]"
    together: "Mapping[str, Products]"
    corrections: tuple[Mapping[str, Correction], ...] = ()

    @property
    def holds_all(self) -> bool:
        """Whether nothing is programmed when it is asked for."""
        return not any(isinstance(tiles, OnDemand) for tiles in (*self.chips, self.together))

    def corrections_of(self, layer: str, chip: int | None = None) -> list[Correction | None] | None:
        """Corrections of a layer, on one chip or on all."""
        chips = self.corrections if chip is None else self.corrections[chip : chip + 1]
        return [corrections.get(layer) for corrections in chips] or None
