"""aihwkit's phase-change devices on a tile of its own, in a few passes over the weights and with the same bytes.

aihwkit's layers of calls, and its product with the unit matrix for a read-out, take three times as long as the formulas
themselves (``PCMLikeNoiseModel``, aihwkit 1.1 and 1.2; Nandakumar et al., ICECS 2019), which are those of
`lhc.runtime.pcm_kernels`. Here torch draws aihwkit's random numbers in its order, and takes logarithms and powers. The
rest is sums, products and quotients, which compiled loops round one by one as torch does.

A weight stands on two devices, of which one has the target 0: no logarithm is needed of it. After programming aihwkit
takes the weight apart again, so that the device of its sign alone conducts, drifts and has read noise.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from aihwkit.inference.compensation.drift import PerColumnDriftCompensation
from torch import Tensor

from lhc.conductances import Floats
from lhc.hardware.device_model import LEAST_MAGNITUDE
from lhc.runtime.engines.compiled.jit import compiled
from lhc.runtime.engines.compiled.pointers import number, put, seen_as, span
from lhc.runtime.engines.compiled.simd import larger, lesser

__all__ = ["PcmDevices", "drift", "program"]

_ZERO, _ONE, _LEAST = np.float32(0), np.float32(1), np.float32(LEAST_MAGNITUDE)
_LOG_OF_LEAST = np.log(_LEAST)
_MEAN = tuple(np.array([-0.0155, 0.0244, 0.049, 0.1], np.float32))
"""Of drift exponents: what the logarithm is multiplied by, what is added, and the bounds."""
_SPREAD = tuple(np.array([-0.0125, -0.0059, 0.008, 0.045], np.float32))
_READ = tuple(np.array([0.0088, 1e-3, 0.2], np.float32))
"""Read noise: at full conductance, the least power that it is divided by, and its greatest value."""


@dataclass(frozen=True, eq=False)
class PcmDevices:
    """A tile's devices after programming; all arrays here have its weights one after the other, ``(n,)``.

    Attributes:
        weights: what they hold.
        falls: exponents of drift, below 0, of the device of each weight that conducts.
    """

    weights: Floats
    falls: Floats


def program(tile: Any, exact: bool) -> PcmDevices:
    """What ``program_weights`` of aihwkit's inference tile does; ``exact``: drift is compensated by exact weights."""
    model, held = tile.rpu_config.noise_model, tile.tile
    if tile.reference_combined_weights is None:
        tile.reference_combined_weights = held.get_weights().clone()
    target = tile.reference_combined_weights.numpy().ravel()
    noise = _deviates(4, len(target))
    x, logarithms = np.empty((2, len(target)), np.float32)
    weights, falls = np.empty((2, len(target)), np.float32)
    scale = _conducting(target, model.g_max, _LEAST, x, logarithms)
    torch.from_numpy(logarithms).log_()
    factors = (model.g_max / model.prog_coeff_g_max_reference, model.prog_noise_scale, model.drift_scale, model.g_max)
    numbers, coefficients = np.array((*factors, scale), np.float32), np.array(model.prog_coeff, np.float32)
    _program(target, x, logarithms, noise, coefficients, numbers, weights, falls)
    held.hold(weights)
    compensation = tile.rpu_config.drift_compensation
    if compensation is not None:
        tile.drift_baseline = compensation.init_baseline(tile) if exact else _level(held, compensation)
    return PcmDevices(weights, falls)


def drift(tile: Any, devices: PcmDevices, t_s: float) -> None:
    """What ``drift_weights`` of aihwkit's inference tile does."""
    model, held, weights = tile.rpu_config.noise_model, tile.tile, devices.weights
    noise, t = _deviates(2, len(weights)), t_s + model.t_0
    x, power = np.empty((2, len(weights)), np.float32)
    scale = _conducting(weights, model.g_max, _ZERO, x, power)
    # Of as many values as in aihwkit's calls: the last ones may differ in their last bit.
    torch.from_numpy(power).pow_(0.65)
    left = torch.pow(t / model.t_0 if t > model.t_0 else 1.0, torch.from_numpy(devices.falls)).numpy()
    growth = np.sqrt(np.log((t + model.t_read) / (2 * model.t_read)))
    now, numbers = np.empty_like(weights), np.array((growth, model.read_noise_scale, scale), np.float32)
    _read(weights, x, power, left, noise, numbers, now)
    held.hold(now)
    compensation = tile.rpu_config.drift_compensation
    if compensation is not None:
        tile.alpha = tile.drift_baseline / _level(held, compensation)


def _level(held: Any, compensation: Any) -> Tensor:
    """What drift compensation compares: the mean magnitude of a read-out, of the tile or of each column."""
    read: Tensor = held.read_out().abs_()
    return (read.mean(dim=0) if isinstance(compensation, PerColumnDriftCompensation) else read.mean()).clamp_(min=1e-4)


def _deviates(times: int, count: int) -> Floats:
    """Normal ones, drawn so many times, ``(times, count)``."""
    noise = torch.empty((times, count))
    # torch makes sixteen at a time, so that one call draws what calls for so many each would.
    for part in noise if count % 16 else (noise,):
        part.normal_()
    drawn: Floats = noise.numpy()
    return drawn


@compiled()
def _conducting(weights: Floats, g_max: float, least: np.float32, x: Floats, relative: Floats) -> float:
    """Conductance of the device that conducts, ``x``, and that in units of g_max or ``least``, ``relative``.

    Returns:
        Conductance of a weight of 1.
    """
    count, full, wanted, result, relatives = len(weights), np.float32(g_max), span(weights), span(x), span(relative)
    most, bits = np.int32(0), seen_as(wanted, np.int32)
    for n in range(count):  # magnitudes are in the order of their bits, and whole numbers in any order
        most = larger(most, np.int32(number(bits, n) & 0x7FFFFFFF))
    put(seen_as(result, np.int32), 0, most)
    scale = full * (_ONE / larger(number(result, 0), _LEAST))
    for n in range(count):
        held = lesser(abs(number(wanted, n) * scale), full)
        put(result, n, held)
        put(relatives, n, larger(held / full, least))
    return float(scale)


@compiled()
def _program(
    target: Floats,
    x: Floats,
    logarithms: Floats,
    noise: Floats,
    coefficients: Floats,
    numbers: Floats,
    weights: Floats,
    falls: Floats,
) -> None:
    """Program a tile.

    Args:
        target: weights.
        x: conductance of the device that is to conduct.
        logarithms: of that in units of g_max.
        noise: deviates of the device for positive weights and of its exponent, then for negative ones, ``(4, n)``.
        coefficients: of the deviation, a polynomial.
        numbers: two factors of the deviation, one of exponents, g_max, and the conductance of a weight of 1.
        weights: the result.
        falls: the result, see `PcmDevices`.
    """
    count, targets, conducting, deviates = len(target), span(target), span(x), span(noise)
    given = span(numbers)
    factor, more, drifting = number(given, 0), number(given, 1), number(given, 2)
    full, scale = number(given, 3), number(given, 4)
    terms, held, sigma, power = span(coefficients), span(weights), span(falls), span(weights)  # which come last
    idle = number(terms, 0) * factor * more
    for n in range(count):
        put(sigma, n, number(terms, 0))
        put(power, n, _ONE)
    for k in range(1, len(coefficients)):
        for n in range(count):
            raised = number(power, n) * (number(conducting, n) / full)
            put(power, n, raised)
            put(sigma, n, number(sigma, n) + raised * number(terms, k))
    for n in range(count):
        positive, one, other = number(targets, n) > _ZERO, number(deviates, n), number(deviates, 2 * count + n)
        own, partner = one if positive else other, other if positive else one
        conducts = larger(own * (number(sigma, n) * factor * more) + number(conducting, n), _ZERO)
        put(held, n, conducts - larger(partner * idle, _ZERO))
    of_logarithms = span(logarithms)
    for n in range(count):
        kept, logarithm = number(held, n) > _ZERO, number(of_logarithms, n)
        one, other = number(deviates, count + n), number(deviates, 3 * count + n)
        deviate = one if kept == (number(targets, n) > _ZERO) else other
        logarithm = logarithm if kept else _LOG_OF_LEAST
        mean, spread = _bounded(logarithm, _MEAN), _bounded(logarithm, _SPREAD)
        put(sigma, n, -(abs(deviate * spread + mean) * drifting))
    for n in range(count):
        value = number(held, n)
        put(held, n, (value if number(targets, n) > _ZERO else _ZERO - value) / scale)


@compiled(inner=True, within=True)
def _bounded(x: np.float32, line: tuple[np.float32, ...]) -> Any:
    """A line at ``x``, between its bounds."""
    return lesser(larger(x * line[0] + line[1], line[2]), line[3])


@compiled()
def _read(weights: Floats, x: Floats, power: Floats, left: Floats, noise: Floats, numbers: Floats, now: Floats) -> None:
    """What a tile holds later, as a read finds it.

    Args:
        weights: after programming.
        x: conductance of the device that conducts.
        power: 0.65th of that in units of g_max.
        left: what drift leaves of it, a share.
        noise: deviates of the devices for positive and for negative weights, ``(2, n)``.
        numbers: growth of read noise, a factor on it, and the conductance of a weight of 1.
        now: the result.
    """
    count, held, conducting, powers, share = len(weights), span(weights), span(x), span(power), span(left)
    deviates, given, result = span(noise), span(numbers), span(now)
    growth, factor, scale = number(given, 0), number(given, 1), number(given, 2)
    for n in range(count):
        positive, one, other = number(held, n) > _ZERO, number(deviates, n), number(deviates, count + n)
        deviation = lesser(_ONE / larger(number(powers, n), _READ[1]) * _READ[0], _READ[2]) * growth
        drifted = number(conducting, n) * number(share, n)
        deviate = one if positive else other
        value = larger(deviate * (drifted * factor * deviation) + drifted, _ZERO)
        put(result, n, (value if positive else _ZERO - value) / scale)
