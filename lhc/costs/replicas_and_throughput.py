"""Throughput of a machine whose cores, links and tiles work on several samples at once.

Three schedules, by what the machine's description says of its cores:

- **one after the other** (one core, which waits for its products): a sample begins when the one before has ended.
- **cores** (several, which wait): the operators, in the order of the network, are cut into runs, one a core. A layer
  may have replicas instead: further tiles that hold its weights, each with a core, and each with a part of its vectors.
- **units** (cores that do not wait): cores share their work evenly, every layer's tiles have theirs, and so have their
  links; a layer's replicas share its vectors.

The slowest stage decides: samples follow each other after as long as its share of one takes. R replicas of a layer with
V vectors a sample take ceil(V / R) / V of its time. The least period T within a number of cores and tiles is found by
bisection: at T every layer needs at least R(T) replicas, the least number that is as fast; no other allocation takes
fewer tiles, and runs that are filled one after the other take the fewest cores. Giving the slowest stage one more
replica while tiles last (greedily) ends at the same period: whatever is faster needs each of the replicas so given.

Buffers between stages are taken as large enough, and free. Replicas are not the copies that average out errors
(`lhc.plan`): copies share every vector, replicas share out the vectors, and no tile is counted as both.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lhc.costs.models.registry import schedule_of
from lhc.costs.placement_cost import SystemCost
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.plan.field_types import Amount, Count

Schedule = Literal["one after the other", "cores", "units"]
_EXACT = 1e-12
"""Relative width at which bisection ends."""


@dataclass(frozen=True)
class Stage:
    """A stage: the share of a sample that one core, or one set of tiles, computes.

    Attributes:
        names: its layers: one, or those that share their tiles.
        parts: seconds that it takes of a sample, each with the number of vectors that they are of.
        tiles: that a further replica takes; None: there is none.
    """

    names: tuple[str, ...]
    parts: tuple[tuple[float, int], ...]
    tiles: int | None

    def seconds(self, replicas: int = 1) -> float:
        """Seconds of the slowest of so many replicas."""
        return math.fsum(time * math.ceil(vectors / replicas) / vectors for time, vectors in self.parts)

    def needed(self, period_s: float) -> int | None:
        """The least number of replicas that take no longer; None: none does."""
        low, high = 1, 1 if self.tiles is None else max(vectors for _, vectors in self.parts)
        if self.seconds(high) > period_s:
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.seconds(middle) <= period_s else (middle + 1, high)
        return low


@dataclass(frozen=True)
class Allocation:
    """Replicas of each stage, and the period that they allow.

    Attributes:
        period_s: seconds, of the slowest stage.
        slowest: names of its layers.
        replicas: of every stage.
        tiles: of all replicas but the first of each.
        cores: one a run or replica.
    """

    period_s: float
    slowest: tuple[str, ...]
    replicas: tuple[int, ...]
    tiles: int
    cores: int


@dataclass(frozen=True)
class Throughput:
    """Throughput of a pipelined network.

    Attributes:
        period_s: seconds from one to the next.
        slowest: the layers that decide it; none where the units do.
        unit: that decides it: ``cores`` or ``memory``; None where layers do.
        replicas: layers with more than one, and how many; layers with the same tiles have the same ones.
        tiles: that these take beyond the placement's own.
        cores: that work at once.
    """

    schedule: Schedule
    period_s: Amount
    slowest: tuple[str, ...]
    unit: Literal["cores", "memory"] | None
    replicas: Mapping[str, Count]
    tiles: Count
    cores: Count

    @property
    def samples_per_s(self) -> float:
        """Infinite where a sample takes no time."""
        return 1 / self.period_s if self.period_s else math.inf


def least_period(stages: Sequence[Stage], spare: int, cores: int | None = None, floor_s: float = 0.0) -> Allocation:
    """The allocation with the least period.

    Args:
        stages: in the order in which runs of them may share a core.
        spare: tiles for replicas.
        cores: at most; None: every stage and replica has its own.
        floor_s: no period is shorter.
    """
    low, high = floor_s, max(floor_s, math.fsum(stage.seconds() for stage in stages))
    best = _allocated(stages, high * (1 + _EXACT), spare, cores)
    assert best is not None  # one after the other, without replicas
    if (least := _allocated(stages, low, spare, cores)) is not None:
        return least
    while high - low > _EXACT * high:
        middle = (low + high) / 2
        found = _allocated(stages, middle, spare, cores)
        low, high, best = (middle, high, best) if found is None else (low, min(middle, found.period_s), found)
    return best


def _allocated(stages: Sequence[Stage], period_s: float, spare: int, cores: int | None) -> Allocation | None:
    """The least that keeps a period; None where that is more than there is."""
    replicas: list[int] = []
    tiles = 0
    for stage in stages:
        needed = stage.needed(period_s)
        if needed is None:
            return None
        replicas.append(needed)
        tiles += (needed - 1) * (stage.tiles or 0)
    runs = list(_runs(stages, replicas, period_s, shared=cores is not None))
    busy = sum(count for _, _, count in runs)
    if tiles > spare or (cores is not None and busy > cores):
        return None
    seconds, slowest, _ = max(runs, default=(0.0, (), 0), key=lambda run: run[0])
    return Allocation(seconds, slowest, tuple(replicas), tiles, busy)


def _runs(
    stages: Sequence[Stage], replicas: Sequence[int], period_s: float, *, shared: bool
) -> Iterator[tuple[float, tuple[str, ...], int]]:
    """Work of every core: seconds, layers, and how many cores do the same."""
    seconds = 0.0
    names: list[str] = []
    for stage, count in zip(stages, replicas, strict=True):
        own = stage.seconds(count)
        alone = count > 1 or not shared
        if names and (alone or seconds + own > period_s):
            yield seconds, tuple(names), 1
            seconds, names = 0.0, []
        if alone:
            yield own, stage.names, count
        else:
            seconds, names = seconds + own, [*names, *stage.names]
    if names:
        yield seconds, tuple(names), 1


def throughput_of(graph: LayerGraph, hardware: Hardware, cost: SystemCost, tiles: Mapping[str, int]) -> Throughput:
    """Throughput of a network that is pipelined on a machine.

    Args:
        cost: of a sample of the placement.
        tiles: analog layer -> tiles that it takes, its copies included.
    """
    assert hardware.costs is not None
    cores, waits = schedule_of(hardware.costs)
    if waits and cores == 1:
        return Throughput("one after the other", cost.latency_s, (), None, {}, 0, 1)
    spare = max(0, (hardware.tiles.count or 0) - tiles_in_use(graph, tiles))
    groups = graph.tied(tiles)
    bounds = [_Bound(math.fsum(layer.busy.get("memory", 0.0) for layer in cost.layers.values()), (), "memory")]
    if waits:
        bounds += [_Bound(_latency(cost, group), group, None) for group in groups if len(group) > 1]
        stages = _of_cores(graph, cost, tiles, groups)
    else:
        work = cost.latency_s - math.fsum(layer.busy_s for layer in cost.layers.values())
        bounds.append(_Bound(work / cores, (), "cores"))
        stages = [_of_tiles(graph, cost, group, tiles[group[0]]) for group in groups]
    bound = max(bounds, key=lambda one: one.seconds)
    found = least_period(stages, spare, cores if waits else None, bound.seconds)
    decisive = bound if bound.seconds > found.period_s else _Bound(found.period_s, found.slowest, None)
    return Throughput(
        "cores" if waits else "units",
        decisive.seconds,
        decisive.names,
        decisive.unit,
        {name: n for stage, n in zip(stages, found.replicas, strict=True) if n > 1 for name in stage.names},
        found.tiles,
        found.cores if waits else cores,
    )


@dataclass(frozen=True)
class _Bound:
    """Lower bound of the period that no replication changes."""

    seconds: float
    names: tuple[str, ...]
    unit: Literal["cores", "memory"] | None


def _of_cores(
    graph: LayerGraph, cost: SystemCost, tiles: Mapping[str, int], groups: Sequence[Sequence[str]]
) -> list[Stage]:
    """All that costs anything, in the order of the file; layers that share their tiles have no replicas."""
    alone = {group[0] for group in groups if len(group) == 1}
    order = dict.fromkeys([*(layer.name for layer in graph.layers), *cost.layers])
    stages = []
    for name in order:
        found = [part[name] for part in (cost.layers, cost.others) if name in part]
        fixed = sum(layer.parts["read-outs"].latency_s for layer in found if "read-outs" in layer.parts)
        seconds = sum(layer.latency_s for layer in found)
        crossing = cost.crossings[name].latency_s if name in cost.crossings else 0.0
        if seconds + crossing:
            vectors = _vectors(graph, name) if name in alone else 1
            parts = ((seconds - fixed, vectors), (fixed + crossing, 1))
            stages.append(Stage((name,), parts, tiles[name] if name in alone else None))
    return stages


def _of_tiles(graph: LayerGraph, cost: SystemCost, group: tuple[str, ...], tiles: int) -> Stage:
    """Layers that have the same tiles: these multiply, or their links move, whatever takes longer."""
    busy = {name: cost.layers[name].busy for name in group}
    parts = ((max(busy[n].get("tiles", 0.0), busy[n].get("links", 0.0)), _vectors(graph, n)) for n in group)
    return Stage(group, tuple(parts), tiles)


def _latency(cost: SystemCost, names: Sequence[str]) -> float:
    return math.fsum(cost.layers[name].latency_s for name in names)


def tiles_in_use(graph: LayerGraph, tiles: Mapping[str, int]) -> int:
    """Tiles of these layers; those that share their weights share their tiles."""
    return sum(tiles[group[0]] for group in graph.tied(tiles))


def _vectors(graph: LayerGraph, name: str) -> int:
    matrix = graph[name].matrix
    assert matrix is not None
    return max(1, matrix.positions * matrix.groups)
