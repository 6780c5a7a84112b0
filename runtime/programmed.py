"""What a programming of the tiles fixes: given to every run of an executor, which holds what a placement fixes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lhc.conductances import Correction, ProgrammedMatrix

if TYPE_CHECKING:
    from lhc.runtime.large_matrix import LargeMatrix
    from lhc.runtime.matrix import AnalogMatrix
    from lhc.runtime.unit_products import Products

__all__ = ["ProgrammedChip", "ProgrammedLayers"]


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

    def states(self) -> dict[str, ProgrammedMatrix]:
        """What the tiles hold now."""
        return {tile_set: matrix.programmed() for tile_set, matrix in self.matrices.items()}


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

    def corrections_of(self, layer: str, chip: int | None = None) -> list[Correction | None] | None:
        """Those of a layer, on one chip or all."""
        chips = self.corrections if chip is None else self.corrections[chip : chip + 1]
        return [corrections.get(layer) for corrections in chips] or None
