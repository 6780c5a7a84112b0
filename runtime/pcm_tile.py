"""aihwkit's phase-change devices on a tile of its own, in fewer calls and with the same bytes.

aihwkit's layers of calls, and its product with the unit matrix for a read-out, take three times as long as the formulas
themselves (``PCMLikeNoiseModel``, aihwkit 1.1 and 1.2; Nandakumar et al., ICECS 2019), which are those of
`lhc.runtime.pcm_kernels`. Here operations of torch follow each other as there, on the devices for positive and for
negative weights at once, ``(2, outputs, inputs)``: a small tile costs what calls cost. Random numbers are drawn in
aihwkit's order. The logarithm, which aihwkit takes twice, is taken once, and factors of 1 are left out.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lhc.hardware.device_model import LEAST_MAGNITUDE

__all__ = ["drift", "program"]


@torch.no_grad()
def program(tile: Any, exact: bool) -> None:
    """What ``program_weights`` of aihwkit's inference tile does; ``exact``: drift is compensated by exact weights."""
    model = tile.rpu_config.noise_model
    if tile.reference_combined_weights is None:
        tile.reference_combined_weights = tile.tile.get_weights().clone()
    target, scale = _conductances(tile.reference_combined_weights, model.g_max)
    held, exponents = torch.empty_like(target), torch.empty_like(target)
    for noise in (held[0], exponents[0], held[1], exponents[1]):
        noise.normal_()
    relative = target / model.g_max
    held.mul_(_deviation(relative, model)).add_(target).clamp_(min=0.0)
    tile.programmed_weights = (held[0] - held[1]).div_(scale)
    tile.drift_noise_parameters = _times(_exponents(exponents, relative), model.drift_scale)
    tile.tile.set_weights(tile.programmed_weights)
    compensation = tile.rpu_config.drift_compensation
    if compensation is not None:
        tile.drift_baseline = compensation.init_baseline(tile) if exact else compensation.readout(tile.tile.read_out())


@torch.no_grad()
def drift(tile: Any, t_s: float) -> None:
    """What ``drift_weights`` of aihwkit's inference tile does."""
    model = tile.rpu_config.noise_model
    held, scale = _conductances(tile.programmed_weights, model.g_max)
    later, relative, t = torch.empty_like(held), held / model.g_max, t_s + model.t_0
    left = -tile.drift_noise_parameters
    for noise, ratio, power in zip(later, relative, left, strict=True):
        noise.normal_()
        # Of each by itself: the last values of a call may differ in their last bit.
        ratio.pow_(0.65)
        torch.pow(t / model.t_0, power, out=power)
    relative = relative.clamp_(min=1e-3).reciprocal_().mul_(0.0088).clamp_(max=0.2)
    relative.mul_(float(np.sqrt(np.log((t + model.t_read) / (2 * model.t_read)))))
    if t > model.t_0:
        held.mul_(left)
    later.mul_(_times(held, model.read_noise_scale) * relative).add_(held).clamp_(min=0.0)
    tile.tile.set_weights(later[0].sub_(later[1]).div_(scale))
    compensation = tile.rpu_config.drift_compensation
    if compensation is not None:
        tile.alpha = compensation.apply(tile.tile.read_out(), tile.drift_baseline)


def _conductances(weights: Tensor, g_max: float) -> tuple[Tensor, Tensor]:
    """Of the devices for positive and for negative weights, and the conductance of a weight of 1."""
    scale = g_max / weights.abs().max().clamp(min=LEAST_MAGNITUDE)
    pair = torch.empty((2, *weights.shape))
    torch.mul(weights, scale, out=pair[0])
    torch.neg(pair[0], out=pair[1])
    return pair.clamp_(0.0, g_max).add_(0.0), scale


def _deviation(relative: Tensor, model: Any) -> Tensor:
    """Of programming."""
    sigma, power = model.prog_coeff[0], relative
    for number, coefficient in enumerate(model.prog_coeff[1:]):
        power = power * relative if number else relative
        sigma = sigma + power * coefficient
    return _times(_times(sigma, model.g_max / model.prog_coeff_g_max_reference), model.prog_noise_scale)


def _exponents(deviates: Tensor, relative: Tensor) -> Tensor:
    """Of drift, in the memory of both arguments; ``relative``: targets in units of g_max."""
    logarithm = relative.clamp_(min=LEAST_MAGNITUDE).log_()
    mean = (logarithm * -0.0155).add_(0.0244).clamp_(0.049, 0.1)
    return deviates.mul_(logarithm.mul_(-0.0125).sub_(0.0059).clamp_(0.008, 0.045)).add_(mean).abs_()


def _times(values: Tensor, factor: float) -> Tensor:
    return values if factor == 1.0 else values * factor
