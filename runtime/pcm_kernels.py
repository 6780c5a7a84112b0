"""Loops over the devices of a tile, compiled by numba: aihwkit's phase-change model in one pass over the weights.

A weight w of a tile whose greatest magnitude is a stands on two devices, of conductance x = max(±w / a, 0) in units of
g_max. In these units (aihwkit 1.1 and 1.2, ``PCMLikeNoiseModel``; Nandakumar et al., ICECS 2019):

- programming: ``x_p = max(0, x + sigma(x) n)`` for both devices, sigma a polynomial; what the tile holds then is
  ``r = x_p⁺ - x_p⁻``;
- drift: aihwkit takes r apart again, so that only one device conducts, of ``y = |r| / max |r|`` and with the exponent
  ``nu = |mu(x) + s(x) n|`` that this device was given for its target x; it falls by ``(t / t_0)^-nu``;
- read noise: times ``1 + q(y) √ln((t + t_read) / 2 t_read) n``, never below 0.

sigma, mu, s and q are looked up in tables of `STEPS` intervals, between which values are interpolated: within 0.1 % of
the formulas but next to a corner of theirs. Deviates n are those of `lhc.runtime.engines.compiled.counter_rng`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from lhc.runtime.engines.compiled.counter_rng import draw_levels
from lhc.runtime.engines.compiled.jit import compiled
from lhc.runtime.engines.compiled.pointers import number, put, span
from lhc.runtime.engines.compiled.simd import larger, lesser
from lhc.runtime.engines.counter_rng import Words

__all__ = ["STEPS", "drift", "program"]

STEPS = 4096
"""Intervals of a table over conductances from 0 to g_max; it has ``STEPS + 2`` entries."""

Floats = npt.NDArray[np.float32]

_ONE, _ZERO = np.float32(1), np.float32(0)
_PART = np.float32(1 / 64)
_HALF, _THIRD = np.float32(1 / 2), np.float32(1 / 3)


def program(
    target: Floats, factor: np.float32, key: Words, levels: Floats, tables: Floats, held: Floats, nu: Floats
) -> float:
    """Program a tile.

    Args:
        target: weights, ``(outputs, inputs)``.
        factor: 1 over their greatest magnitude.
        key: of the random words, ``(2,)``.
        levels: of the standard normal distribution.
        tables: sigma, mu and s, ``(3, STEPS + 2)``.
        held: the result, r of the module, ``(outputs, inputs)``.
        nu: the result, nu of the device that conducts, ``(outputs, inputs)``.

    Returns:
        The greatest magnitude in ``held``.
    """
    count = target.shape[1]
    memory = np.empty(2 * count, np.uint32), np.empty(3 * count, np.float32)
    return _program(target, factor, key, levels, tables, held, nu, *memory)


@compiled()
def _program(
    target: Floats,
    factor: np.float32,
    key: Words,
    levels: Floats,
    tables: Floats,
    held: Floats,
    nu: Floats,
    words: Words,
    noise: Floats,
) -> float:
    lines, count = target.shape
    keys, deviates, drawn, table, noise_ = span(key), span(levels), span(words), span(tables), span(noise)
    wanted, result, exponents = span(target), span(held), span(nu)
    steps, pitch, greatest = np.float32(STEPS), np.int64(STEPS + 2), _ZERO
    for line in range(lines):
        draw_levels(keys, line, np.int64(0), deviates, drawn, count, noise_, 3 * count)
        first, most = line * count, _ZERO
        for n in range(count):
            w = number(wanted, first + n) * factor
            x = abs(w)
            place = x * steps
            k = np.int64(np.int32(place))
            part = place - np.float32(k)
            sigma = _between(table, k, part)
            one = larger(_ZERO, x + sigma * number(noise_, n))
            other = larger(_ZERO, number(table, 0) * number(noise_, count + n))
            r = one - other
            # The device that conducts was programmed to x, or, where the other one won, to nothing.
            mean = _between(table, pitch + k, part) if r > _ZERO else number(table, pitch)
            spread = _between(table, 2 * pitch + k, part) if r > _ZERO else number(table, 2 * pitch)
            put(exponents, first + n, abs(mean + spread * number(noise_, 2 * count + n)))
            most = larger(most, abs(r))
            put(result, first + n, r if w >= _ZERO else -r)
        greatest = larger(greatest, most)
    return float(greatest)


@compiled(inner=True, within=True)
def _between(table: Any, k: int | np.int64, part: np.float32) -> Any:
    """A table's value between two entries."""
    low = number(table, k)
    return low + (number(table, k + 1) - low) * part


def drift(
    held: Floats,
    nu: Floats,
    greatest: np.float32,
    time: np.float32,
    key: Words,
    levels: Floats,
    table: Floats,
    result: Floats,
) -> None:
    """What a tile holds later, as a read finds it.

    Args:
        held: see `program`.
        nu: see `program`.
        greatest: what `program` returned.
        time: ``ln(t / t_0)``.
        key: of the random words, ``(2,)``.
        levels: of the standard normal distribution.
        table: ``q √ln(…)``, ``(STEPS + 2,)``.
        result: in the units of ``held``, ``(outputs, inputs)``.
    """
    count = held.shape[1]
    memory = np.empty(2 * -(-count // 4), np.uint32), np.empty(count, np.float32)
    _drift(held, nu, greatest, time, key, levels, table, result, *memory)


@compiled()
def _drift(
    held: Floats,
    nu: Floats,
    greatest: np.float32,
    time: np.float32,
    key: Words,
    levels: Floats,
    table: Floats,
    result: Floats,
    words: Words,
    noise: Floats,
) -> None:
    lines, count = held.shape
    keys, deviates, drawn, values, noise_ = span(key), span(levels), span(words), span(table), span(noise)
    programmed, exponents, target = span(held), span(nu), span(result)
    per_step = np.float32(STEPS) / greatest if greatest > _ZERO else _ZERO
    for line in range(lines):
        draw_levels(keys, line, np.int64(0), deviates, drawn, (count + 3) // 4, noise_, count)
        first = line * count
        for n in range(count):
            r = number(programmed, first + n)
            place = abs(r) * per_step
            k = lesser(np.int32(place), np.int32(STEPS))
            deviation = _between(values, np.int64(k), place - np.float32(k))
            # e^(-nu time) as the 64th power of its series for a 64th of the exponent, which never exceeds a few tenths.
            z = -number(exponents, first + n) * time * _PART
            power = _ONE + z * (_ONE + z * _HALF * (_ONE + z * _THIRD))
            power = power * power
            power = power * power
            power = power * power
            power = power * power
            power = power * power
            power = power * power
            put(target, first + n, r * power * larger(_ZERO, _ONE + deviation * number(noise_, n)))
