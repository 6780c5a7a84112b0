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

from lhc.conductances import Floats
from lhc.hardware.device_model import LEAST_MAGNITUDE
from lhc.runtime.compiled_code import compiled

__all__ = ["PcmDevices", "drift", "program"]

_ZERO, _ONE, _LEAST = np.float32(0), np.float32(1), np.float32(LEAST_MAGNITUDE)
_LOG_OF_LEAST = np.log(_LEAST)
_MEAN, _SPREAD = np.array([[-0.0155, 0.0244, 0.049, 0.1], [-0.0125, -0.0059, 0.008, 0.045]], np.float32)
"""Of drift exponents: what the logarithm is multiplied by, what is added, and the bounds."""
_READ = np.array([0.0088, 1e-3, 0.2], np.float32)
"""Read noise: at full conductance, the least power that it is divided by, and its greatest value."""


@dataclass(frozen=True, eq=False)
class PcmDevices:
    """A tile's devices after programming; all arrays here have its weights one after the other, ``(n,)``.

    Attributes:
        weights: what they hold.
        exponents: of drift, of the device of each weight that conducts.
    """

    weights: Floats
    exponents: Floats


def program(tile: Any, exact: bool) -> PcmDevices:
    """What ``program_weights`` of aihwkit's inference tile does; ``exact``: drift is compensated by exact weights."""
    model = tile.rpu_config.noise_model
    if tile.reference_combined_weights is None:
        tile.reference_combined_weights = tile.tile.get_weights().clone()
    target = tile.reference_combined_weights.numpy().ravel()
    x, scale = _conducting(target, model.g_max)
    noise = _deviates(4, len(target))
    relative = x / np.float32(model.g_max)
    logarithms = torch.from_numpy(np.maximum(relative, _LEAST)).log_().numpy()
    factors = (model.g_max / model.prog_coeff_g_max_reference, model.prog_noise_scale, model.drift_scale, scale)
    numbers, coefficients = np.array(factors, np.float32), np.array(model.prog_coeff, np.float32)
    made = PcmDevices(np.empty_like(target), np.empty_like(target))
    _program(target, x, relative, logarithms, noise, coefficients, numbers, made.weights, made.exponents)
    _hold(tile, made.weights)
    compensation = tile.rpu_config.drift_compensation
    if compensation is not None:
        tile.drift_baseline = compensation.init_baseline(tile) if exact else compensation.readout(tile.tile.read_out())
    return made


def drift(tile: Any, devices: PcmDevices, t_s: float) -> None:
    """What ``drift_weights`` of aihwkit's inference tile does."""
    model, weights = tile.rpu_config.noise_model, devices.weights
    x, scale = _conducting(weights, model.g_max)
    noise, t = _deviates(2, len(weights)), t_s + model.t_0
    # Of as many values as in aihwkit's calls: the last ones may differ in their last bit.
    power = torch.from_numpy(x / np.float32(model.g_max)).pow_(0.65).numpy()
    left = torch.pow(t / model.t_0 if t > model.t_0 else 1.0, torch.from_numpy(-devices.exponents)).numpy()
    growth = np.sqrt(np.log((t + model.t_read) / (2 * model.t_read)))
    now, numbers = np.empty_like(weights), np.array((growth, model.read_noise_scale, scale), np.float32)
    _read(weights, x, power, left, noise, numbers, now)
    _hold(tile, now)
    compensation = tile.rpu_config.drift_compensation
    if compensation is not None:
        tile.alpha = compensation.apply(tile.tile.read_out(), tile.drift_baseline)


def _conducting(weights: Floats, g_max: float) -> tuple[Floats, np.float32]:
    """Conductance of the device that conducts, and that of a weight of 1."""
    scale = np.float32(g_max) * (_ONE / np.maximum(np.abs(weights).max(), _LEAST))
    x = np.abs(weights * scale)
    return np.minimum(x, np.float32(g_max), out=x), scale


def _deviates(times: int, count: int) -> Floats:
    """Normal ones, drawn so many times, ``(times, count)``."""
    noise = torch.empty((times, count))
    for one in noise:
        one.normal_()
    drawn: Floats = noise.numpy()
    return drawn


def _hold(tile: Any, weights: Floats) -> None:
    tile.tile.set_weights(torch.from_numpy(weights.reshape(tile.tile.weight.shape)))


@compiled()
def _program(
    target: Floats,
    x: Floats,
    relative: Floats,
    logarithms: Floats,
    noise: Floats,
    coefficients: Floats,
    numbers: Floats,
    weights: Floats,
    exponents: Floats,
) -> None:
    """Program a tile.

    Args:
        target: weights.
        x: conductance of the device that is to conduct.
        relative: the same in units of g_max.
        logarithms: of that.
        noise: deviates of the device for positive weights and of its exponent, then for negative ones, ``(4, n)``.
        coefficients: of the deviation, a polynomial.
        numbers: two factors of the deviation, one of exponents, and the conductance of a weight of 1.
        weights: the result.
        exponents: the result, of the device that conducts.
    """
    ones, of_ones, others, of_others = noise[0], noise[1], noise[2], noise[3]
    factor, more, drifting, scale = numbers[0], numbers[1], numbers[2], numbers[3]
    idle, sigma = coefficients[0] * factor * more, exponents  # which come last
    for n in range(len(target)):
        sigma[n] = coefficients[0]
    for k in range(1, len(coefficients)):
        for n in range(len(target)):
            power = relative[n]
            for _ in range(1, k):
                power *= relative[n]
            sigma[n] += power * coefficients[k]
    for n in range(len(target)):
        positive = target[n] > _ZERO
        own, partner = ones[n] if positive else others[n], others[n] if positive else ones[n]
        weights[n] = max(own * (sigma[n] * factor * more) + x[n], _ZERO) - max(partner * idle, _ZERO)
    for n in range(len(target)):
        kept = weights[n] > _ZERO
        deviate = of_ones[n] if kept == (target[n] > _ZERO) else of_others[n]
        logarithm = logarithms[n] if kept else _LOG_OF_LEAST
        mean = min(max(logarithm * _MEAN[0] + _MEAN[1], _MEAN[2]), _MEAN[3])
        spread = min(max(logarithm * _SPREAD[0] + _SPREAD[1], _SPREAD[2]), _SPREAD[3])
        exponents[n] = abs(deviate * spread + mean) * drifting
    for n in range(len(target)):
        weights[n] = (weights[n] if target[n] > _ZERO else _ZERO - weights[n]) / scale


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
    ones, others = noise[0], noise[1]
    growth, factor, scale = numbers[0], numbers[1], numbers[2]
    for n in range(len(weights)):
        positive = weights[n] > _ZERO
        deviation = min(_ONE / max(power[n], _READ[1]) * _READ[0], _READ[2]) * growth
        drifted = x[n] * left[n]
        deviate = ones[n] if positive else others[n]
        held = max(deviate * (drifted * factor * deviation) + drifted, _ZERO)
        now[n] = (held if positive else _ZERO - held) / scale
