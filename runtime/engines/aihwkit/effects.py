"""What converters, and currents between them, do to blocks of vectors: the compiled loops' formulas on tensors.

Products are ``(chips, groups, outputs, vectors)``, codes ``(groups, inputs, vectors)``. Numbers are those of
`RowConverters` and `PackedTiles`; what is no number stays none, as there.
"""

import torch
from torch import Tensor

from lhc.runtime.engines.compiled.tile_kernels import ConverterCodes

__all__ = ["adc_codes", "dac_codes", "kept_slice", "widened", "with_currents"]


def dac_codes(inputs: Tensor, peaks: Tensor, factor: float, limit: float, io: ConverterCodes) -> Tensor:
    """Inputs as codes.

    Args:
        peaks: greatest magnitude of every vector, ``(groups, 1, vectors)``.
        factor: of a round of bound management, see `PackedTiles`.
        limit: greatest code.
    """
    factors = 1 / (torch.where(peaks == 0, 1, peaks) * factor) if io.scales_vectors else factor
    codes = inputs * factors
    codes = (codes.round_() if io.input_shift else codes).clamp_(-limit, limit)
    return codes.clamp_(min=0) if io.unsigned else codes


def kept_slice(codes: Tensor, low: float, high: float, io: ConverterCodes) -> Tensor:
    """The bits of codes that a read is driven with, see `RowConverters.slices`."""
    negative = (codes < 0).to(codes.dtype)
    if low == 0:
        return negative * high
    sizes = codes + negative * float(io.signed_from) if io.signed_from > 0 else codes.abs()
    digits = (sizes * low).floor_() - (sizes * high).floor_() * (low / high)
    return digits if io.signed_from > 0 else torch.copysign(digits, codes)


def with_currents(
    products: Tensor, weights: Tensor, codes: Tensor, numbers: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """What is left of products behind what is lost along wires; the deviation of their noise.

    Args:
        weights: ``(chips, groups, outputs, inputs)``.
        numbers: of the row of tiles, see `RowConverters.in_codes`.
    """
    constant, by_products, to_current, drop = numbers
    inputs = weights.shape[-1]
    far = 1 - torch.arange(inputs, device=weights.device) / inputs
    lost = weights @ (codes * (1 - far * far)[:, None])
    sizes = weights.abs()
    current = sizes @ codes.abs() * to_current
    dropped = ((current * 0.05 - 0.2) * current + 0.5) * current * drop
    return products - dropped * lost, (sizes @ codes.square() * by_products + constant).sqrt_()


def widened(noise: Tensor, products: Tensor, io: ConverterCodes) -> Tensor:
    """Noise of products, in output codes, with what mismatch of cells adds, see `lhc.hardware.Adc.cell_mismatch`."""
    return noise * (1 + float(io.cell_mismatch) / (products.abs() * float(io.output_step) + 1)).sqrt_()


def adc_codes(exact: Tensor, levels: Tensor | None, io: ConverterCodes) -> tuple[Tensor, Tensor]:
    """Codes between their bounds, and whether each lies beyond the limit.

    Args:
        exact: products with noise, in output codes.
        levels: what every capacitor adds, the least significant first, ``(capacitors, chips, groups, outputs, 1)``;
            None where steps are alike.
    """
    value = exact.round() if io.output_shift else exact
    value = value.clamp(min=0) if io.unipolar else value
    saturated = value.abs() > float(io.output_limit)
    if levels is not None:
        found = _found(exact, levels)
        value = torch.where(saturated, value, found) if len(io.reductions) > 1 else found
    clip = float(io.output_clip)
    return value.clamp(-clip, clip), saturated


def _found(exact: Tensor, levels: Tensor) -> Tensor:
    """Codes of ADCs whose steps differ, see `lhc.hardware.adc_mismatch`."""
    size = exact.abs() + 0.5
    reached, code = torch.zeros_like(exact), torch.zeros_like(exact)
    for k in range(len(levels) - 1, -1, -1):
        level = reached + levels[k]
        low = level > size
        code, reached = torch.where(low, code, code + (1 << k)), torch.where(low, reached, level)
    return torch.where(size > 0, code.copysign(exact), exact)
