"""Assignment of layers to tiles, on chips whose tiles differ.

Every layer that may be analog is given tiles of its own, whatever the placement, so that placements can be compared on
one chip; layers with the same matrix share theirs. Where there are too few, layers with the most MACs a tile get them.

Noise of devices with the factor f of a tile does f² times the damage there, and damages of layers nearly add up. So the
sum over tiles is least where the layers with the least damage a tile lie on the worst tiles (rearrangement inequality);
tiles that are left over are the worst ones. Tiles of one known chip are ordered by their stuck cells, then by their
factor on the noise. Where factors are drawn, every chip is tested, and what is given is a place in its own order.
"""

from collections.abc import Iterator, Mapping

from lhc.errors import UsageError
from lhc.graph import LayerGraph, obstacle
from lhc.hardware import Hardware

Tie = tuple[str, ...]


def assign_tiles(graph: LayerGraph, hardware: Hardware, damages: Mapping[str, float] | None = None) -> Hardware:
    """The machine with tiles for the layers that may be analog; as it is where tiles do not differ.

    Args:
        damages: of each layer, predicted for tiles that are alike; without them tiles are given in the order of the
            file, once.

    Raises:
        UsageError: tiles that the user gave to layers are too few, or given twice.
    """
    if not hardware.faults.differ or (damages is None and hardware.arranged_by is not None):
        return hardware
    machine = hardware.unarranged
    needed = {tie: machine.for_layer(tie[0]).tiles_for(*shape) for tie, shape in _shapes(graph)}
    given = {tie: tiles for tie in needed if (tiles := machine.for_layer(tie[0]).faults.tiles)}
    _check(given, needed, machine)
    taken = {tile for tiles in given.values() for tile in tiles}
    free = [tile for tile in _worst_first(machine, damages is not None) if tile not in taken]
    held = _fitting(graph, {tie: count for tie, count in needed.items() if tie not in given}, len(free))
    if damages is not None:
        held = sorted(held, key=lambda tie: sum(damages[name] for name in tie if name in damages) / needed[tie])
        free = free[len(free) - sum(needed[tie] for tie in held) :]
    chosen: dict[str, tuple[int, ...]] = {}
    for tie in held:
        own, free = tuple(free[: needed[tie]]), free[needed[tie] :]
        chosen.update(dict.fromkeys(tie, own))
    return machine.with_tiles(chosen, "file" if damages is None else "sensitivity")


def _shapes(graph: LayerGraph) -> Iterator[tuple[Tie, tuple[int, int]]]:
    """Layers that share their tiles, with rows and columns of their matrix."""
    able = [layer.name for layer in graph.candidates if layer.matrix is not None and obstacle(layer) is None]
    for tie in graph.tied(able):
        matrix = graph[tie[0]].matrix
        assert matrix is not None
        yield tie, (matrix.rows, matrix.cols * matrix.groups)


def _check(given: Mapping[Tie, tuple[int, ...]], needed: Mapping[Tie, int], machine: Hardware) -> None:
    owners: dict[int, str] = {}
    for tie, tiles in given.items():
        if len(tiles) < needed[tie]:
            raise UsageError(
                f"hardware {machine.name!r}: layer {tie[0]!r} takes {needed[tie]} tiles, and on_tiles gives it"
                f" {len(tiles)}"
            )
        for tile in tiles:
            other = owners.setdefault(tile, tie[0])
            if other != tie[0] or tiles.count(tile) > 1:
                raise UsageError(f"hardware {machine.name!r}: on_tiles gives tile {tile} to {other!r} and {tie[0]!r}")


def _worst_first(machine: Hardware, known: bool) -> list[int]:
    """The tiles, as far as a chip is tested and that is used; else by number."""
    faults, tiles = machine.faults, machine.tiles
    numbers = list(range(tiles.count or 0))
    if not (known and faults.remap):
        return numbers
    stuck = machine.stuck_by_tile or (0,) * len(numbers)
    noise = faults.tile_noise or (1.0,) * len(numbers)
    return sorted(numbers, key=lambda tile: (-stuck[tile], -noise[tile]))


def _fitting(graph: LayerGraph, needed: Mapping[Tie, int], count: int) -> list[Tie]:
    """Layers for which there are tiles, in their order."""

    def macs(tie: Tie) -> float:
        return sum((work.macs or 0) if (work := graph[name].work) else 0 for name in tie) / needed[tie]

    found: set[Tie] = set()
    for tie in sorted(needed, key=lambda tie: -macs(tie)):
        if needed[tie] <= count:
            count -= needed[tie]
            found.add(tie)
    return [tie for tie in needed if tie in found]
