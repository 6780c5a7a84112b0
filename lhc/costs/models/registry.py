"""Registry of cost models: the formulas of each section of a hardware description."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Protocol

from lhc.costs.digital_operators import Handling
from lhc.costs.number_formats import NumberFormat, NumberFormats
from lhc.costs.units import Cost, LayerCost
from lhc.errors import ConfigError, ModelError
from lhc.graph import Layer, LayerGraph, MatrixShape, Work
from lhc.hardware import CostSection, Hardware


class Formulas(Protocol):
    """A machine's formulas, for one sample."""

    def analog(self, layer: Layer, matrix: MatrixShape, copies: int, sums: Sequence[float] | None) -> LayerCost:
        """An operator whose products with a constant matrix run on tiles, groups and positions included.

        Args:
            copies: times that tiles hold it; the same inputs drive all of them.
            sums: how great sums in its columns are, where that was measured
                (`lhc.hardware.converters.repeated_reads`).
        """
        ...

    def digital(self, layer: Layer, work: Work, numbers: NumberFormat) -> LayerCost:
        """An operator that multiplies, on the digital core; ``numbers``: format of its operands."""
        ...

    def other(self, layer: Layer, handling: Handling) -> LayerCost | None:
        """An operator that is no product; None: these cost nothing on this machine."""
        ...

    @property
    def crossing(self) -> Cost:
        """Conversion of one element between the formats of analog and digital products."""
        ...


@dataclass(frozen=True)
class Power:
    """Watts that parts of a machine draw while they work.

    Attributes:
        core: each of its digital cores.
        tile: each of its tiles, while it multiplies.
        waiting: each core that waits for tiles.
        link: of a tile, while it moves inputs or outputs.
        memory: that of digital weights, while some are fetched.
        tiles_at_once: whether all tiles of a product multiply at once, or one after the other.
    """

    core: float
    tile: float
    waiting: float = 0.0
    link: float = 0.0
    memory: float = 0.0
    tiles_at_once: bool = False


@singledispatch
def power_of(costs: CostSection, hardware: Hardware) -> Power | None:
    """Power of a machine's parts while they work; None where its cost model does not say."""
    return None


@singledispatch
def schedule_of(costs: CostSection) -> tuple[int, bool]:
    """Cores that work at once, and whether one waits for the product that it has started."""
    return 1, True


@singledispatch
def formulas(costs: CostSection, hardware: Hardware, graph: LayerGraph, numbers: NumberFormats) -> Formulas:
    """The formulas of a cost model.

    A model registers its own with `formulas.register`, beside its section (see `lhc.hardware.description.costs`).

    Args:
        costs: the section of the hardware description; its class decides.
        numbers: function for the number format of an operator that multiplies, where it is digital.

    Raises:
        ConfigError: nothing is registered for the section.
        ModelError: the size of a product is needed and not known.
    """
    raise ConfigError(f"cost model {costs.model!r} has no formulas: {type(costs).__name__} registers none")


def work_of(layer: Layer) -> Work:
    """Products of an operator; unknown products cost nothing.

    Raises:
        ModelError: the size of a candidate is not known.
    """
    if layer.is_candidate and layer.matrix is None and layer.counted is None:
        raise ModelError(
            f"layer {layer.name!r}: its size is not known, so neither are its costs; give the input shapes"
        )
    return layer.work or Work()
