"""Circuit effects on a product that aihwkit's torch tile does not have: each is one function here.

Tensors are in units of the full scale: inputs x as the DAC makes them, ``(groups, inputs, vectors)``; weights w,
``(chips, groups, outputs, inputs)``; products, ``(chips, groups, outputs, vectors)``. What is no number stays none.
"""

import numpy as np
import torch
from torch import Tensor

from lhc.hardware.circuits.currents import Currents
from lhc.hardware.converters import InputSlices, found_codes
from lhc.programmed_matrix import Floats


def driven_slice(x: Tensor, read: int, slices: InputSlices, step: float) -> Tensor:
    """Inputs of one read of several, each of which drives some bits of the codes (section `dac` of a description).

    Sign and magnitude: the bits of the magnitude, with the sign. Two's complement: the bits of the code, and in a read
    of its own, the last one, the signs, for which negative inputs are driven fully.

    Args:
        x: multiples of a step of the DAC.
        read: number of the read.
        slices: of the codes.
        step: of the DAC.
    """
    codes = (x / step).round()
    negative = (codes < 0).to(codes.dtype)
    if read == len(slices.lows):
        return negative * (slices.greatest * slices.step)
    low, high = 0.5 ** slices.lows[read], 0.5 ** (slices.lows[read] + slices.bits)
    sizes = codes + negative * slices.signed_from if slices.signed_from else codes.abs()
    digits = (sizes * low).floor_() - (sizes * high).floor_() * (low / high)
    return (digits if slices.signed_from else torch.copysign(digits, codes)) * slices.step


def ir_drop_loss(x: Tensor, weights: Tensor, currents: Currents) -> Tensor:
    """IR drop: loss of products along the wires of columns; row 0 is the farthest from the ADC.

    ``ir_drop · c(a) · Σ w_j x_j (1 - (1 - j / n)²)`` with ``a = n / ir_drop_g_ratio · Σ |w_j| |x_j|`` and
    ``c(a) = a (0.5 + a (0.05 a - 0.2))``: the steady state of Rasch et al., Nat. Commun. 14, 5282 (2023), as aihwkit's
    compiled tile has it (``forward.ir_drop``).
    """
    n = weights.shape[-1]
    far = 1 - torch.arange(n, device=weights.device) / n
    lost = weights @ (x * (1 - far * far)[:, None])
    a = weights.abs() @ x.abs() * (n / currents.ir_drop_g_ratio)
    return lost.mul_(((a * 0.05 - 0.2) * a + 0.5) * a * currents.ir_drop)


def read_noise_deviation(
    x: Tensor, weights: Tensor, currents: Currents, driven: Tensor | None, unit: Tensor | None
) -> Tensor:
    """Deviation of the read noise of products (Rasch et al., as above; aihwkit's ``forward.w_noise``).

    ``read_noise · √(Σ |w_j| x_j²)`` (PCM_READ), or, where it is constant, ``read_noise · √(Σ x_j²)``
    (ADDITIVE_CONSTANT).

    Args:
        driven: rows that each input drives, ``(inputs,)``; None: one each. Of constant noise.
        unit: what one unit of an output is, ``(chips, groups, outputs, 1)``; None: 1. Of constant noise.
    """
    squares = x.square()
    if not currents.constant:
        return (weights.abs() @ squares).sqrt_().mul_(currents.read_noise)
    power = squares.sum(1, keepdim=True) if driven is None else (driven @ squares)[:, None]
    deviation = power.sqrt_().mul_(currents.read_noise).expand(len(weights), *power.shape)
    return deviation if unit is None else deviation / unit


def widened(noise: Tensor, products: Tensor, cell_mismatch: float) -> Tensor:
    """Noise with what the mismatch of charge-based cells adds: the less the more ones there are, see `Adc`.

    Its variance grows by ``cell_mismatch² / (1 + |product|)``, from ASiM's README and code.
    """
    return noise * (1 + cell_mismatch**2 / (products.abs() + 1)).sqrt_()


def mismatched(products: Tensor, step: float, levels: list[list[Floats]]) -> Tensor:
    """ADC outputs with mismatched capacitors (`lhc.hardware.converters`).

    Args:
        products: with noise.
        step: of the ADCs.
        levels: of every chip, by group, ``(capacitors, outputs)``.
    """
    exact = (products / step).transpose(-1, -2).cpu().numpy()
    found = [
        [found_codes(np.ascontiguousarray(values), level) for values, level in zip(chip, of_chip, strict=True)]
        for chip, of_chip in zip(exact, levels, strict=True)
    ]
    return torch.from_numpy(np.array(found)).to(products.device).transpose(-1, -2) * step
