"""Programmed tiles that are made when a layer is reached: those of a large network are never all held at once."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from lhc.hardware import Hardware
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.programmed_layers import OnDemand, ProgrammedLayers

if TYPE_CHECKING:
    from lhc.runtime.engines.protocol import ChipsMatrix


def lazily_programmed_chip(
    executor: HybridExecutor, hardware: Hardware, seed: int, draw: int, t_s: float
) -> Mapping[str, ProgrammedMatrix]:
    """Programmed chip whose layers are programmed when they are reached; stands in for `HybridExecutor.states`."""

    def made(tile_set: str) -> ProgrammedMatrix:
        return executor.reads(hardware, seed, draw, t_s, (0,), [tile_set])[0][tile_set]

    return OnDemand({}, tuple(dict.fromkeys(layer.tile_set for layer in executor.layers)), made)


def lazy_reads(
    executor: HybridExecutor,
    hardware: Hardware,
    seed: int,
    draw: int,
    t_s: float,
    numbers: Sequence[int],
    room: int | None = None,
) -> list[ProgrammedLayers]:
    """One chip on the engine as each of some reads finds it; only the tiles that were asked for last are held.

    Args:
        room: bytes for the reads of one layer, which are programmed together as far as they fit; None: all are.
    """
    machines = {
        tile_set: (hardware.for_layer(layer.name), layer.form.window is not None)
        for tile_set, layer in executor.tile_sets().items()
    }
    last: dict[tuple[str, int], list[ChipsMatrix]] = {}

    def made(tile_set: str, index: int) -> "ChipsMatrix":
        from lhc.runtime.engines.registry import matrix_on_chips

        size = None if room is None else executor.tile_bytes(tile_set, hardware)
        together = len(numbers) if room is None or size is None else max(1, room // max(size, 1))
        first = index - index % together
        if (tile_set, first) not in last:
            last.clear()  # before others are made
            some = numbers[first : first + together]
            # A chip that is calibrated will be asked for its answers: the read of inference.
            found = executor.reads(hardware, seed, draw, t_s, some, [tile_set], soon=(0,))
            machine, convolves = machines[tile_set]
            last[tile_set, first] = [
                matrix_on_chips(executor.engine, [state[tile_set]], [draw], seed, machine, convolves) for state in found
            ]
        return last[tile_set, first][index - first]

    def read(index: int) -> ProgrammedLayers:
        products = OnDemand({}, tuple(machines), lambda tile_set: made(tile_set, index))
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
    soon: Sequence[int] = (),
) -> "dict[str, ChipsMatrix]":
    """Some tile sets on the engine, on all of some chips as a read finds them: given the same on every chip.

    Only what it multiplies by is held, not what the tiles of more than one layer hold. ``soon``: as for
    `HybridExecutor.reads`.
    """
    from lhc.runtime.engines.registry import matrix_on_chips

    found: dict[str, ChipsMatrix] = {}
    for name, layer in executor.tile_sets().items():
        if name not in tile_sets:
            continue
        machine, convolves = hardware.for_layer(layer.name), layer.form.window is not None
        states = [executor.reads(hardware, seed, draw, t_s, (number,), [name], soon)[0][name] for draw in draws]
        found[name] = matrix_on_chips(executor.engine, states, draws, seed, machine, convolves)
    return found
