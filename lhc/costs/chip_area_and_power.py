"""Area of a machine and the most power that it can draw, as far as its description tells them.

Area: tiles (those of the machine where their number is known, else those in use), cores, and what is there once; only
what has a figure in the description is summed, and what has none is named. The area of a tile without its converters,
all of it where theirs is not known, is that of one unit cell a weight, and grows with their number.

Peak power: the sum of what can be at work at once under the machine's schedule, each part at its active power:

    one after the other   the core at work with a link, or waiting for one tile (in parallel: for all of a layer), as
                          the greater is
    cores                 that for every core that works
    units                 every core, and all tiles in use with their links, replicas included

with the memory of digital weights where any are fetched, and ``rest_mw``. It is an upper bound: parts are taken to work
at once wherever the schedule does not forbid it. What idle parts draw is not known, and left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lhc.costs.models.registry import power_of, schedule_of
from lhc.costs.placement_cost import SystemCost
from lhc.costs.replicas_and_throughput import Throughput, throughput_of, tiles_in_use
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.plan.field_types import Amount, Count


@dataclass(frozen=True)
class Area:
    """Area of a machine, in mm².

    Attributes:
        total: of all that has a figure.
        tiles: how many of them are counted.
        tiles_mm2: of these.
        converters_mm2: of their DACs and ADCs; None: not known.
        missing: what has no figure: ``cores``, ``rest``.
    """

    total: Amount
    tiles: Count
    tiles_mm2: Amount
    converters_mm2: Amount | None
    missing: tuple[str, ...]


@dataclass(frozen=True)
class SystemFigures:
    """Throughput, peak power and area of a machine with a placement.

    Attributes:
        throughput: how samples follow each other.
        peak_w: the most power, in watts; None where the cost model tells none.
        area: None where the description gives no area of a tile.
    """

    throughput: Throughput
    peak_w: Amount | None
    area: Area | None


def system_figures(graph: LayerGraph, hardware: Hardware, cost: SystemCost, tiles: Mapping[str, int]) -> SystemFigures:
    """The figures of a placement.

    Args:
        cost: of a sample of it.
        tiles: analog layer -> tiles that it takes, its copies included.
    """
    throughput = throughput_of(graph, hardware, cost, tiles)
    in_use = tiles_in_use(graph, tiles) + throughput.tiles
    largest = max(tiles.values(), default=0)
    return SystemFigures(throughput, _peak(hardware, cost, throughput, in_use, largest), _area(hardware, in_use))


def _peak(hardware: Hardware, cost: SystemCost, throughput: Throughput, in_use: int, largest: int) -> float | None:
    assert hardware.costs is not None
    power, chip = power_of(hardware.costs, hardware), hardware.costs.chip
    if power is None:
        return None
    if throughput.schedule == "units":
        working = throughput.cores * power.core + in_use * (power.tile + power.link)
    elif in_use:
        each = largest if power.tiles_at_once else 1
        working = throughput.cores * max(power.core + power.link, power.waiting + each * power.tile)
    else:
        working = throughput.cores * power.core
    fetches = any(layer.busy.get("memory") for layer in cost.layers.values())
    rest = 0.0 if chip is None or chip.rest_mw is None else chip.rest_mw.value * 1e-3
    return working + fetches * power.memory + rest


def _area(hardware: Hardware, in_use: int) -> Area | None:
    chip = None if hardware.costs is None else hardware.costs.chip
    if chip is None or chip.tile_mm2 is None:
        return None
    assert hardware.costs is not None
    cores, _ = schedule_of(hardware.costs)
    count = hardware.tiles.count or in_use
    fixed = 0.0 if chip.converters_mm2 is None else chip.converters_mm2.value
    cells = hardware.most_cells / (hardware.tiles.rows * hardware.tiles.cols)
    tiles = count * (fixed + cells * (chip.tile_mm2.value - fixed))
    core = 0.0 if chip.core_mm2 is None else cores * chip.core_mm2.value
    rest = 0.0 if chip.rest_mm2 is None else chip.rest_mm2.value
    missing = [name for name, figure in (("cores", chip.core_mm2), ("rest", chip.rest_mm2)) if figure is None]
    converters = None if chip.converters_mm2 is None else count * chip.converters_mm2.value
    return Area(tiles + core + rest, count, tiles, converters, tuple(missing))
