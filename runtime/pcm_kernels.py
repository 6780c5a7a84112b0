"""Loops over the devices of a tile, compiled by numba: aihwkit's phase-change model in one pass over the weights.

A weight w of a tile whose greatest magnitude is a stands on two devices, of conductance x = max(±w / a, 0) in units of
g_max. In these units (aihwkit 1.1 and 1.2, ``PCMLikeNoiseModel``; Nandakumar et al., ICECS 2019):

- programming: ``x_p = max(0, x + sigma(x) n)`` for both devices, sigma a polynomial; what the tile holds then is
  ``r = x_p⁺ - x_p⁻``;
- drift: aihwkit takes r apart again, so that only one device conducts, of ``y = |r| / max |r|`` and with the exponent
  ``nu = |mu(x) + s(x) n|`` that this device was given for its target x; it falls by ``(t / t_0)^-nu``;
- read noise: times ``1 + q(y) √ln((t + t_read) / 2 t_read) n``, never below 0.

sigma, mu, s and q are looked up in tables of `STEPS` intervals, between which values are interpolated: within 0.1 % of
the formulas but next to a corner of theirs. Deviates n are those of `lhc.runtime.normals`.
"""

import numpy as np
import numpy.typing as npt

from lhc.runtime.compiled_code import compiled
from lhc.runtime.normals import LEVEL_SHIFT, Words, fill_words

__all__ = ["STEPS", "drift", "program"]

STEPS = 4096
"""Intervals of a table over conductances from 0 to g_max; it has ``STEPS + 2`` entries."""

Floats = npt.NDArray[np.float32]

_ONE, _ZERO = np.float32(1), np.float32(0)
_PART = np.float32(1 / 64)
_HALF, _THIRD = np.float32(1 / 2), np.float32(1 / 3)


@compiled()
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
    words = np.empty(2 * count, np.uint32)
    noise = np.empty(3 * count, np.float32)
    sigmas, means, spreads = tables[0], tables[1], tables[2]
    steps = np.float32(STEPS)
    greatest = np.zeros(1, np.float32)
    for line in range(target.shape[0]):
        fill_words(key, line, np.int64(0), words)
        numbers = words.view(np.uint16)
        for n in range(3 * count):
            noise[n] = levels[numbers[n] >> LEVEL_SHIFT]
        row, result, exponents = target[line], held[line], nu[line]
        most = _ZERO
        for n in range(count):
            w = row[n] * factor
            x = abs(w)
            place = x * steps
            k = np.int32(place)
            part = place - np.float32(k)
            sigma = sigmas[k] + (sigmas[k + 1] - sigmas[k]) * part
            one = max(_ZERO, x + sigma * noise[n])
            other = max(_ZERO, sigmas[0] * noise[count + n])
            r = one - other
            # The device that conducts was programmed to x, or, where the other one won, to nothing.
            mean = means[k] + (means[k + 1] - means[k]) * part if r > _ZERO else means[0]
            spread = spreads[k] + (spreads[k + 1] - spreads[k]) * part if r > _ZERO else spreads[0]
            exponents[n] = abs(mean + spread * noise[2 * count + n])
            most = max(most, abs(r))
            result[n] = r if w >= _ZERO else -r
        greatest[0] = max(greatest[0], most)
    return float(greatest[0])


@compiled()
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
    words = np.empty(2 * ((count + 3) // 4), np.uint32)
    noise = np.empty(count, np.float32)
    per_step = np.float32(STEPS) / greatest if greatest > _ZERO else _ZERO
    for line in range(held.shape[0]):
        fill_words(key, line, np.int64(0), words)
        numbers = words.view(np.uint16)
        for n in range(count):
            noise[n] = levels[numbers[n] >> LEVEL_SHIFT]
        row, exponents, target = held[line], nu[line], result[line]
        for n in range(count):
            r = row[n]
            place = abs(r) * per_step
            k = min(np.int32(place), np.int32(STEPS))
            deviation = table[k] + (table[k + 1] - table[k]) * (place - np.float32(k))
            # e^(-nu time) as the 64th power of its series for a 64th of the exponent, which never exceeds a few tenths.
            z = -exponents[n] * time * _PART
            power = _ONE + z * (_ONE + z * _HALF * (_ONE + z * _THIRD))
            power = power * power
            power = power * power
            power = power * power
            power = power * power
            power = power * power
            power = power * power
            target[n] = r * power * max(_ZERO, _ONE + deviation * noise[n])
