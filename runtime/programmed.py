"""What a programming of the tiles fixes: given to every run of an executor, which holds what a placement fixes."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lhc.conductances import Correction, ProgrammedMatrix

if TYPE_CHECKING:
    from lhc.runtime.engines.protocol import Products
    from lhc.runtime.large_matrix import LargeMatrix
    from lhc.runtime.matrix import AnalogMatrix

__all__ = ["OnDemand", "ProgrammedChip", "ProgrammedLayers"]

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
class ProgrammedChip:
    """The tiles of all analog layers of one programming.

    Attributes:
        matrices: tile set -> programmed tiles.
    """

    matrices: "Mapping[str, AnalogMatrix | LargeMatrix]"

    def drift_to(self, t_s: float) -> None:
        """Let all devices drift to ``t_s`` seconds after the first read."""
        if not self.matrices:
            return
        from lhc.runtime.threads import isolated

        with isolated():
            for matrix in self.matrices.values():
                matrix.drift_to(t_s)

    def multiplying(self) -> "dict[str, AnalogMatrix]":
        """The matrices on aihwkit's own tiles, which the reference engine multiplies with."""
        from lhc.runtime.matrix import AnalogMatrix

        return {tile_set: m for tile_set, m in self.matrices.items() if isinstance(m, AnalogMatrix)}

    def states(self) -> Mapping[str, ProgrammedMatrix]:
        """What the tiles hold when they are asked."""
        return OnDemand({}, tuple(self.matrices), lambda tile_set: self.matrices[tile_set].programmed())


@dataclass(frozen=True)
class ProgrammedLayers:
    """What the analog layers multiply by, on one or more chips.

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
        """Those of a layer, on one chip or all."""
        chips = self.corrections if chip is None else self.corrections[chip : chip + 1]
        return [corrections.get(layer) for corrections in chips] or None
