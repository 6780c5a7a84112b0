"""Programmed tiles that are made when a layer is reached: those of a large network are never all held at once."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from lhc.conductances import ProgrammedMatrix
from lhc.hardware import Hardware
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.programmed import ProgrammedLayers

if TYPE_CHECKING:
    from lhc.runtime.fast import FastMatrix

__all__ = ["alone_on_chips", "chip_on_demand", "reads_on_demand"]

T = TypeVar("T")


class _OnDemand(Mapping[str, T]):
    """Values that are made whenever one is asked for."""

    def __init__(self, names: Sequence[str], make: Callable[[str], T]) -> None:
        self._names, self._make = names, make

    def __getitem__(self, name: str) -> T:
        return self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # nothing is made to answer that

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def chip_on_demand(
    executor: HybridExecutor, hardware: Hardware, seed: int, draw: int, t_s: float
) -> Mapping[str, ProgrammedMatrix]:
    """What `HybridExecutor.states` gives."""

    def made(tile_set: str) -> ProgrammedMatrix:
        return executor.reads(hardware, seed, draw, t_s, (0,), [tile_set])[0][tile_set]

    return _OnDemand([layer.tile_set for layer in executor.layers], made)


def reads_on_demand(
    executor: HybridExecutor, hardware: Hardware, seed: int, draw: int, t_s: float, numbers: Sequence[int]
) -> list[ProgrammedLayers]:
    """One chip on the fast engine as each of some reads finds it; only the tiles that were asked for last are held."""
    machines = {tile_set: hardware.for_layer(layer.name) for tile_set, layer in executor.tile_sets().items()}

    @lru_cache(maxsize=1)
    def made(tile_set: str) -> "list[FastMatrix]":
        from lhc.runtime.fast import FastMatrix

        found = executor.reads(hardware, seed, draw, t_s, numbers, [tile_set])
        return [FastMatrix([state[tile_set]], [draw], seed, machines[tile_set]) for state in found]

    def read(index: int) -> ProgrammedLayers:
        products = _OnDemand(list(machines), lambda tile_set: made(tile_set)[index])
        return ProgrammedLayers((products,), products)

    return [read(index) for index in range(len(numbers))]


def alone_on_chips(
    executor: HybridExecutor,
    hardware: Hardware,
    seed: int,
    draws: Sequence[int],
    t_s: float,
    number: int,
    tile_sets: Collection[str],
) -> "dict[str, FastMatrix]":
    """Some tile sets on the fast engine, on all of some chips as a read finds them: given the same on every chip.

    Only what it multiplies by is held, not what the tiles of more than one layer hold.
    """
    from lhc.runtime.fast import FastMatrix

    found: dict[str, FastMatrix] = {}
    for name, layer in executor.tile_sets().items():
        if name not in tile_sets:
            continue
        machine = hardware.for_layer(layer.name)
        states = [executor.reads(hardware, seed, draw, t_s, (number,), [name])[0][name] for draw in draws]
        found[name] = FastMatrix(states, draws, seed, machine).lay_out(layer.form.window is not None)
    return found
