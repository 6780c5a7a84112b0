"""Copies of a layer's weights on tiles, over which errors of devices average out.

A layer with few rows leaves its tiles nearly empty. Its inputs are driven again into free rows that hold the same
weights, programmed separately; the currents of the copies add up in the columns. The damage of device errors falls as
1 / copies. Copies that fit the tiles a layer takes anyway cost no tile. Tiles that a placement leaves over are spent on
further copies, one step after the other: the step of all that still fit which takes most damage away for its tiles.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from lhc.errors import UsageError
from lhc.graph import Layer, LayerGraph
from lhc.hardware import Hardware
from lhc.hardware.tile_geometry import free_copies
from lhc.options.shared import CopiesOptions
from lhc.passes.base import Pass, PassResult
from lhc.plan import LayerPlan, Plan
from lhc.support.number_formatting import counted


@dataclass(frozen=True)
class CopyLevel:
    """Copies that a layer may have.

    Attributes:
        tiles: that it takes with them.
        damage: that it is predicted to do, in the unit of sensitivities.
    """

    copies: int
    tiles: int
    damage: float


@dataclass(frozen=True)
class TileSet:
    """Layers that share their tiles.

    Attributes:
        levels: copies that they may have, the fewest first, which they have anyway.
    """

    layers: tuple[str, ...]
    levels: tuple[CopyLevel, ...]

    def step(self, level: int, spare: int) -> tuple[float, int] | None:
        """Less damage for every tile, and the level that is reached, of the best step; None where none fits or helps.

        Args:
            spare: tiles that the step may take.
        """
        here, best = self.levels[level], None
        for target in range(level + 1, len(self.levels)):
            there = self.levels[target]
            if there.tiles - here.tiles > spare:
                break
            gain = (here.damage - there.damage) / (there.tiles - here.tiles)
            if gain > 0 and (best is None or gain > best[0]):
                best = gain, target
        return best


def allocated(sets: Sequence[TileSet], spare: int) -> list[int]:
    """The level of every set of layers, where so many tiles are left over; of equal steps the first set's."""
    levels = [0] * len(sets)
    waiting: list[tuple[float, int, int]] = []

    def push(number: int) -> None:
        step = sets[number].step(levels[number], spare)
        if step is not None:
            heapq.heappush(waiting, (-step[0], number, step[1]))

    for number in range(len(sets)):
        push(number)
    while waiting:
        _, number, target = heapq.heappop(waiting)
        found = sets[number].levels
        tiles = found[target].tiles - found[levels[number]].tiles
        if tiles <= spare:
            spare -= tiles
            levels[number] = target
        push(number)  # its next step, or a smaller one where this does not fit any more
    return levels


@dataclass(frozen=True)
class Copies:
    """The copies that every placement gets.

    Attributes:
        fixed: layer -> copies, wherever it is analog; one where it is missing.
        tiles: how many a placement may take with further copies; None: it gets no further ones.
        sets: all layers that may be analog, with the further copies that they may have.
    """

    fixed: Mapping[str, int] = field(default_factory=dict)
    tiles: int | None = None
    sets: tuple[TileSet, ...] = ()

    def of(self, placement: Iterable[str]) -> dict[str, int]:
        """Layer -> copies, for the layers of a placement that have more than one."""
        analog = frozenset(placement)
        found = {name: self.fixed.get(name, 1) for name in sorted(analog)}
        for number, level in self._levels(analog).items():
            one = self.sets[number]
            found |= {name: one.levels[level].copies for name in one.layers if name in analog}
        return {name: copies for name, copies in found.items() if copies > 1}

    def alone(self, groups: Iterable[Iterable[str]]) -> dict[str, int]:
        """The same of layers that are analog one group at a time: each has all tiles for itself."""
        return {name: count for group in groups for name, count in self.of(group).items()}

    def levels(self, placement: frozenset[str]) -> list[int]:
        """The level of every set of layers; the first one for those that the placement does not have."""
        found = self._levels(placement)
        return [found.get(number, 0) for number in range(len(self.sets))]

    def _levels(self, placement: frozenset[str]) -> dict[int, int]:
        """The level of every set of layers that the placement has, by its number, in ascending order."""
        here = sorted({self._numbers[name] for name in placement if name in self._numbers})
        if self.tiles is None:
            return dict.fromkeys(here, 0)
        chosen = [self.sets[number] for number in here]
        spare = self.tiles - sum(one.levels[0].tiles for one in chosen)
        return dict(zip(here, allocated(chosen, spare), strict=True))

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        """Layer -> the number of its set."""
        return {name: number for number, one in enumerate(self.sets) for name in one.layers}


@dataclass(frozen=True)
class ChooseCopies(CopiesOptions, Pass):
    """The copies that layers have whatever the placement; its field is the option of `CopiesOptions`.

    Further ones, in tiles that a placement leaves over, are `lhc.passes.decide.copies_in_spare_tiles`.
    """

    name: ClassVar[str] = "choose-copies"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified"})

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        chosen = {layer.name: self._of(layer, graph, plan) for layer in plan.layers if layer.may_be_analog}
        plan = plan.with_copies(graph, chosen)
        forced, count = plan.tiles(graph), plan.hardware.tiles.count
        if count is not None and forced > count:
            raise UsageError(
                f"--copies {self.copies}: --force-analog then needs {forced} tiles, the machine has {count}"
            )
        return PassResult(plan, self._notes([graph[layer] for layer in chosen], plan.hardware))

    def _notes(self, layers: Sequence[Layer], hardware: Hardware) -> tuple[str, ...]:
        """Why layers have no copies that their tiles have room for, where the machine wants copies."""
        found: Counter[str] = Counter()
        for layer in layers if self.copies == "auto" else ():
            machine = hardware.for_layer(layer.name)
            obstacle, matrix = machine.copies_obstacle, layer.matrix
            wanted = machine.compensation.copies and (machine.devices is not None or machine.faults.any)
            if obstacle and wanted and matrix is not None and free_copies(matrix.rows, machine.tiles.rows) > 1:
                found[obstacle] += 1
        return tuple(
            f"{counted(number, 'layer')} without copies of weights in free cells: {obstacle}"
            for obstacle, number in found.items()
        )

    def _of(self, layer: LayerPlan, graph: LayerGraph, plan: Plan) -> int:
        matrix = graph[layer.name].matrix
        if self.copies == "off" or matrix is None:
            return 1
        if self.copies == "auto":
            return plan.hardware.free_copies(layer.name, matrix.rows)
        obstacle = plan.hardware.for_layer(layer.name).copies_obstacle
        if self.copies != 1 and obstacle is not None:
            raise UsageError(
                f"--copies {self.copies}: hardware {plan.hardware.name!r} has no copies for layer {layer.name!r}:"
                f" {obstacle}; leave the option out, or change the hardware description"
            )
        return int(self.copies)
