"""aihwkit's phase-change devices on a tile of its own, in fewer calls and with the same bytes.

aihwkit's layers of calls, and its product with the unit matrix for a read-out, take three times as long as the formulas
themselves (``PCMLikeNoiseModel``, aihwkit 1.1 and 1.2; Nandakumar et al., ICECS 2019), which are those of
`lhc.runtime.pcm_kernels`. Here operations of torch follow each other as there, on tensors of the same shapes; the
logarithm, which aihwkit takes twice, is taken once, and factors of 1 are left out.
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
    targets, scale = _conductances(tile.reference_combined_weights, model.g_max)
    held, exponents = [], []
    for target in targets:
        relative = target / model.g_max
        held.append(_programmed(target, relative, model))
        exponents.append(_exponents(relative, model.drift_scale))
    tile.programmed_weights, tile.drift_noise_parameters = held[0].sub_(held[1]).div_(scale), exponents
    tile.tile.set_weights(tile.programmed_weights)
    compensation = tile.rpu_config.drift_compensation
    if compensation is not None:
        tile.drift_baseline = compensation.init_baseline(tile) if exact else compensation.readout(tile.tile.read_out())


@torch.no_grad()
def drift(tile: Any, t_s: float) -> None:
    """What ``drift_weights`` of aihwkit's inference tile does."""
    model = tile.rpu_config.noise_model
    pair, scale = _conductances(tile.programmed_weights, model.g_max)
    exponents = tile.drift_noise_parameters
    later = [_drifted(held, nu, model, t_s + model.t_0) for held, nu in zip(pair, exponents, strict=True)]
    tile.tile.set_weights(later[0].sub_(later[1]).div_(scale))
    compensation = tile.rpu_config.drift_compensation
    if compensation is not None:
        tile.alpha = compensation.apply(tile.tile.read_out(), tile.drift_baseline)


def _conductances(weights: Tensor, g_max: float) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Of the devices for positive and for negative weights, and the conductance of a weight of 1."""
    scale = g_max / weights.abs().max().clamp(min=LEAST_MAGNITUDE)
    scaled = weights * scale
    return (scaled.clamp(0.0, g_max).add_(0.0), scaled.neg_().clamp_(0.0, g_max).add_(0.0)), scale


def _programmed(target: Tensor, relative: Tensor, model: Any) -> Tensor:
    sigma, power = model.prog_coeff[0], relative
    for number, coefficient in enumerate(model.prog_coeff[1:]):
        power = power * relative if number else relative
        sigma = sigma + power * coefficient
    sigma = _times(_times(sigma, model.g_max / model.prog_coeff_g_max_reference), model.prog_noise_scale)
    return torch.randn_like(target).mul_(sigma).add_(target).clamp_(min=0.0)


def _exponents(relative: Tensor, scale: float) -> Tensor:
    logarithm = relative.clamp(min=LEAST_MAGNITUDE).log_()
    mean = (logarithm * -0.0155).add_(0.0244).clamp_(0.049, 0.1)
    spread = logarithm.mul_(-0.0125).sub_(0.0059).clamp_(0.008, 0.045)
    return _times(torch.randn_like(relative).mul_(spread).add_(mean).abs_(), scale)


def _drifted(held: Tensor, nu: Tensor, model: Any, t: float) -> Tensor:
    now = held * (t / model.t_0) ** -nu if t > model.t_0 else held
    relative = (0.0088 / ((held / model.g_max) ** 0.65).clamp_(min=1e-3)).clamp_(max=0.2)
    relative.mul_(float(np.sqrt(np.log((t + model.t_read) / (2 * model.t_read)))))
    noise = _times(now.abs(), model.read_noise_scale).mul_(relative)
    return torch.randn_like(held).mul_(noise).add_(now).clamp_(min=0.0)


def _times(values: Tensor, factor: float) -> Tensor:
    return values if factor == 1.0 else values * factor
