"""Faults of a chip's tiles, and what a controller that has tested the chip makes of them.

A weight r of a tile stands on a pair of cells that hold p and n above g_min, in units of g_max - g_min, and is p - n:
max(r, 0) and max(-r, 0) of a one-sided pair (as aihwkit's model has it when it drifts), (1 + r) / 2 and (1 - r) / 2 of
a two-sided one. A stuck cell holds its own conductance instead, 0 or 1, at all times.

Remapping permutes the word lines and the bit lines of a tile, and uses those that the matrix leaves free. A pair whose
cells can hold p in [p0, p1] and n in [n0, n1] (both [0, 1] where it is healthy, a point where a cell is stuck) realises
a weight w with the error e(w) = w - clip(w, p0 - n1, p1 - n0). Lines are assigned so that the sum of e², each times
the squared scale of its column, is least: bit lines for given word lines, then word lines for these, and so on, by the
Hungarian method (Xia et al., IEEE JETCAS 2018, "Stuck-at fault tolerance in RRAM computing systems", use pairs and
permutations so). Then cells are programmed to what makes w, given their stuck partner, and copies of a weight in the
tile share what is missing of their sum (as averages over healthy layers: Nat. Commun. 16, 2025, layer ensembles).

A stuck cell does not drift as its partner does, so that at the time of inference its whole conductance weighs 1 / d as
much, d being the share that a device typically keeps until then: of s it makes (s + a) / d - a with a = g_min / (g_max
- g_min). All of the above counts it so. What is drawn to be dead carries no current on either side.

Where N pairs hold a weight (``pairs_per_weight``), every cell of each is stuck by itself, and the weight is the mean of
what the pairs hold: they are further word lines that are driven alike, as copies are, in arrays of N · inputs, one pair
of all weights after the other. A weight reaches from the mean of p0 - n1 to that of p1 - n0; the lines are chosen for
the kinds of weights that are most frequent on the tile, and healthy pairs make up for stuck ones as copies do.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.hardware.circuits.faults import stuck_cells
from lhc.hardware.devices.device_base import LEAST_MAGNITUDE
from lhc.hardware.devices.unit_cell import PairedDevices
from lhc.programmed_matrix import Floats
from lhc.seeds import device_entropy

Integers = npt.NDArray[np.int64]
_ROUNDS = 3
"""Of assigning bit lines and word lines in turns; more gain next to nothing."""
_KINDS = 48
"""Of weights that lines are chosen for, by what they can reach; one pair has fewer."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines of a tile that a matrix lies on.

    Attributes:
        rows: word line of each input.
        columns: bit line of each output.
    """

    rows: Integers
    columns: Integers


@dataclass(frozen=True, eq=False)
class TileFaults:
    """Faults of a tile, or of the part of it that a matrix lies on.

    Attributes:
        positive, negative: conductance above g_min that the cell of a pair is stuck at, in units of g_max - g_min, NaN
            where it is healthy, ``(outputs, pairs · inputs)``.
        gain: of the bit lines, ``(outputs,)``.
        offset: of their ADCs, in units of full-scale input x full-scale weight, ``(outputs,)``; None where there is
            none.
        pairs: of a weight.
        least: g_min in units of g_max - g_min.
        two_sided: both cells of a pair are programmed, from the middle.
    """

    positive: Floats
    negative: Floats
    gain: Floats
    offset: Floats | None = None
    pairs: int = 1
    least: float = 0.0
    two_sided: bool = False

    def on(self, chosen: Lines) -> "TileFaults":
        """Faults of the lines that a matrix lies on."""
        first = self.positive.shape[1] // self.pairs * np.arange(self.pairs)
        cells = np.ix_(chosen.columns, (first[:, None] + chosen.rows).ravel())
        offset = None if self.offset is None else self.offset[chosen.columns]
        positive, negative = self.positive[cells], self.negative[cells]
        return replace(self, positive=positive, negative=negative, gain=self.gain[chosen.columns], offset=offset)

    def held(self, weights: Floats, full: float) -> Floats:
        """One-sided weights of a tile with faults, from those of healthy cells, ``(outputs, inputs)``.

        Args:
            weights: in units of the full scale, as the result is.
            full: the weight that g_max of one cell and g_min of its partner stand for.
        """
        return self.joined(np.maximum(weights, 0), np.maximum(-weights, 0), full)

    def joined(self, positive: Floats, negative: Floats, full: float) -> Floats:
        """Weights from what healthy cells hold above g_min, ``(outputs, pairs · inputs)``; the mean of pairs."""
        sides = ((self.positive, positive), (self.negative, negative))
        p, n = (np.where(np.isnan(stuck), own, stuck * np.float32(full)) for stuck, own in sides)
        return np.asarray(self.gain[:, None] * self.mean(p - n), np.float32)

    def mean(self, values: Floats) -> Floats:
        """Over the pairs of a weight, ``(outputs, inputs)``."""
        if self.pairs == 1:
            return values
        return np.asarray(values.reshape(len(values), self.pairs, -1).mean(1), np.float32)

    def later(self, lasting: float) -> tuple[Floats, Floats]:
        """Weights of stuck cells of both sides beside drifted healthy ones; NaN where cells are healthy."""
        positive, negative = ((side + self.least) / lasting - self.least for side in (self.positive, self.negative))
        return positive, negative

    def reach(self, lasting: float) -> tuple[Floats, Floats]:
        """Least and greatest weight of every pair, in units of g_max, once healthy devices have drifted."""
        least, most = ([np.where(np.isnan(stuck), end, stuck) for stuck in self.later(lasting)] for end in (0, 1))
        return np.asarray(least[0] - most[1], np.float32), np.asarray(most[0] - least[1], np.float32)


@dataclass(frozen=True, eq=False)
class ChipTile:
    """A tile of a chip, for the weights that it is to hold.

    Attributes:
        target: what its devices are to be programmed to, in units of the full scale, ``(outputs, pairs · inputs)``.
        full: see `TileFaults.held`.
    """

    lines: Lines
    target: Floats
    faults: TileFaults
    full: float

    def held(self, weights: Floats) -> Floats:
        """Weights with faults, from those of healthy cells, ``(outputs, inputs)``."""
        return self.faults.held(weights, self.full)

    def joined(self, positive: Floats, negative: Floats) -> Floats:
        """Weights with faults, from both sides of healthy cells (`TileFaults`)."""
        return self.faults.joined(positive, negative, self.full)


def on_chip(
    hardware: Hardware,
    entropy: np.random.SeedSequence,
    mapped: Floats,
    scales: Floats,
    inputs: Integers,
    number: int = 0,
) -> ChipTile:
    """Test a tile of a chip and choose its lines and what it is programmed to, as the hardware has it.

    Args:
        mapped: weights in units of the full scale, ``(outputs, inputs)``.
        scales: what one unit of an output is worth, ``(outputs,)``.
        inputs: what drives each row; rows that are driven alike hold copies of a weight.
        number: of the tile in its layer.
    """
    (chip, seen), remap = drawn(hardware, entropy, number), hardware.faults.remap
    full = max(float(np.abs(mapped).max(initial=0.0)), LEAST_MAGNITUDE)
    lasting = 1.0 if hardware.devices is None else hardware.devices.lasting(hardware.t_inference_s)
    weights = mapped / np.float32(full)
    chosen = lines(seen, weights, scales, lasting, remap)
    target = np.tile(mapped, (1, chip.pairs))
    if remap:
        each = np.tile(weights, (1, chip.pairs))
        target = targets(seen.on(chosen), each, np.tile(inputs, chip.pairs), lasting) * np.float32(full)
    return ChipTile(chosen, target, chip.on(chosen), full)


def _own_tile(hardware: Hardware, number: int) -> int:
    """The tile of a chip that holds a tile of a layer.

    Raises:
        UsageError: none was given to it.
    """
    tiles = hardware.faults.tiles
    if number < len(tiles):
        return tiles[number]
    raise UsageError(
        f"hardware {hardware.name!r}: its tiles differ, and a layer that takes more than {number} of them was given"
        f" {len(tiles) or 'none'}; a placement by lhc partition gives them; --copies takes no further ones"
    )


def noise_factor(hardware: Hardware, number: int, seed: int, draw: int) -> float:
    """Factor on the deviation of programming noise of a layer's tile, on one chip."""
    faults = hardware.faults
    if faults.tile_noise is None and faults.tile_spread == 0:
        return 1.0
    tile = _own_tile(hardware, number)
    if faults.tile_noise is not None:
        return faults.tile_noise[tile]
    drawn = np.random.default_rng(device_entropy(seed, "0", draw, "faults"))
    factors = np.exp(faults.tile_spread * drawn.standard_normal(hardware.tiles.count))
    return float(np.sort(factors)[::-1][tile] if faults.ranked and faults.remap else factors[tile])


def drawn(hardware: Hardware, entropy: np.random.SeedSequence, number: int = 0) -> tuple[TileFaults, TileFaults]:
    """The faults of a whole tile of one chip: all of them, and those that a test finds; those of a map are all found.

    Args:
        number: of the tile in its layer.
    """
    faults, shape = hardware.faults, (hardware.tiles.cols, hardware.tiles.rows)
    generator, pairs = np.random.default_rng(entropy), hardware.pairs_per_weight
    chance = generator.random((2 * pairs, *shape), np.float32)
    dead = (generator.random(shape[0]) < faults.dead_columns)[:, None] | (generator.random(shape[1]) < faults.dead_rows)
    stuck = np.where(chance < faults.stuck_low, 0.0, np.where(chance >= 1 - faults.stuck_high, 1.0, np.nan))
    stuck[:, dead] = 0.0
    positive, negative = _by_side(stuck)
    if faults.map is not None:
        cells = stuck_cells(faults.map[_own_tile(hardware, number)], shape[0], pairs * shape[1])
        positive, negative = np.where(cells[1::2], 1.0, np.where(cells[::2], 0.0, np.nan)).astype(np.float32)
    gain = 1 + faults.column_gain * generator.standard_normal(shape[0])
    offset = None
    if faults.column_offset > 0:
        offset = (faults.column_offset * generator.standard_normal(shape[0])).astype(np.float32)
    devices, least, two_sided = hardware.devices, 0.0, False
    if isinstance(devices, PairedDevices):
        least, two_sided = devices.g_min_us / devices.span_us, devices.pair == "two-sided"
    chip = TileFaults(positive, negative, np.maximum(gain, 0).astype(np.float32), offset, pairs, least, two_sided)
    if faults.found == 1:
        return chip, chip
    known = dead | (generator.random(stuck.shape, np.float32) < faults.found)
    positive, negative = _by_side(np.where(known, stuck, np.nan))
    return chip, replace(chip, positive=positive, negative=negative)


def _by_side(stuck: npt.NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Cells of both sides, ``(bit lines, pairs · word lines)``, from ``(2 · pairs, bit lines, word lines)``."""
    positive, negative = (np.concatenate(list(stuck[side::2].astype(np.float32)), axis=1) for side in range(2))
    return positive, negative


def lines(chip: TileFaults, weights: Floats, scales: Floats, lasting: float, remap: bool) -> Lines:
    """The lines of a tile that a matrix lies on: the first ones, or those on which it suffers least.

    Args:
        chip: faults of the tile, as far as they are known.
        weights: ``(outputs, inputs)``, in units of g_max.
        scales: what one unit of an output is worth, ``(outputs,)``.
        lasting: share of its conductance that a device keeps until the time of inference.
    """
    chosen = Lines(np.arange(weights.shape[1]), np.arange(weights.shape[0]))
    if not remap:
        return chosen
    least, most = chip.reach(lasting)
    if chip.pairs > 1:
        least, most = (np.round(chip.mean(ends), 4) for ends in (least, most))
    kinds, counts = np.unique(np.stack([least.ravel(), most.ravel()], 1), axis=0, return_counts=True)
    kinds = kinds[np.sort(np.argsort(-counts, kind="stable")[:_KINDS])]
    harmful = [(low, high) for low, high in kinds if low > -1 or high < 1]
    where = [((least == low) & (most == high)).astype(np.float32) for low, high in harmful]
    errors = [((weights - np.clip(weights, low, high)) * scales[:, None]) ** 2 for low, high in harmful]
    pairs = list(zip(errors, where, strict=True))
    for _ in range(_ROUNDS if pairs else 0):
        cost = sum(e @ cells[:, chosen.rows].T for e, cells in pairs)
        chosen = Lines(chosen.rows, scipy.optimize.linear_sum_assignment(cost)[1])
        cost = sum(e.T @ cells[chosen.columns] for e, cells in pairs)
        chosen = Lines(scipy.optimize.linear_sum_assignment(cost)[1], chosen.columns)
    return chosen


def targets(faults: TileFaults, weights: Floats, inputs: Integers, lasting: float) -> Floats:
    """Programming targets where the controller knows which cells are stuck, ``(outputs, inputs)``.

    Args:
        faults: of the lines that the matrix lies on, as far as they are known.
        weights: as of `lines`.
        inputs: what drives each row; rows that are driven alike hold copies of a weight.
        lasting: as of `lines`.
    """
    least, most = faults.reach(lasting)
    wanted = np.clip(weights, least, most)
    copies = np.bincount(inputs)
    for _ in range(int(copies.max(initial=1)) - 1):
        missing = np.zeros((len(weights), len(copies)), np.float32)
        np.add.at(missing.T, inputs, (weights - wanted).T)
        spread = missing[:, inputs]
        room = np.where(spread > 0, most > wanted, least < wanted)
        able = np.zeros_like(missing)
        np.add.at(able.T, inputs, room.T.astype(np.float32))
        wanted = np.clip(wanted + np.where(room, spread / np.maximum(able[:, inputs], 1), 0), least, most)
    stuck = [np.nan_to_num(side, nan=0.0) for side in faults.later(lasting)]
    rest = wanted - stuck[0] + stuck[1]  # for the healthy cell beside a stuck one, as the weight that asks it of that
    if faults.two_sided:
        beside = 1.0 * ~np.isnan(faults.positive) - ~np.isnan(faults.negative)
        rest = np.where(beside != 0, 2 * rest + beside, rest)
    return np.asarray(np.clip(rest, -1, 1), np.float32)
