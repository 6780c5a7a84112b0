"""How many copies of a layer's weights tiles hold: errors of devices average out over them.

A layer with few rows leaves its tiles nearly empty. Its inputs are driven again into free rows that hold the same
weights, programmed separately; the currents of the copies add up in the columns. The damage of device errors falls as
1 / copies. Copies that fit the tiles a layer takes anyway cost no tile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.hardware.geometry import free_copies

__all__ = ["Copies", "free"]


@dataclass(frozen=True)
class Copies:
    """The copies that every placement gets.

    Attributes:
        fixed: layer -> copies, wherever it is analog; one where it is missing.
    """

    fixed: Mapping[str, int] = field(default_factory=dict)

    def of(self, placement: Iterable[str]) -> dict[str, int]:
        """Layer -> copies, for the layers of a placement that have more than one."""
        return {name: self.fixed[name] for name in sorted(placement) if self.fixed.get(name, 1) > 1}


def free(graph: LayerGraph, hardware: Hardware) -> Copies:
    """The copies that take no more tiles than the layers take anyway, where the machine allows copies.

    Where a saturating vector is not read again (no bound management), the sum of copies could saturate the ADC: there
    are none then.
    """
    found = {}
    for layer in graph.candidates:
        machine = hardware.for_layer(layer.name)
        saturates = machine.adc.bound is not None and machine.adc.bound_management == "none"
        if layer.matrix is None or not machine.compensation.copies or saturates or machine.devices is None:
            continue
        found[layer.name] = free_copies(layer.matrix.rows, machine.tiles.rows)
    return Copies(found)
