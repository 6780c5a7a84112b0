"""Numbers of a format: scales and codes of int8 as onnxruntime's quantiser has them, rounding to bf16 and fp16.

Source: onnxruntime.quantization.quant_utils (`compute_scale_zp`, `quantize_nparray`), version 1.17 and later; and
ONNX's QuantizeLinear: code = saturate(round half to even(x / scale) + zero point).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lhc.hardware.description.digital import Precision

__all__ = ["Codes", "activation_codes", "bias_codes", "rounded", "weight_codes"]

Floats = npt.NDArray[np.float32]
_GREATEST_WEIGHT = 127
"""Magnitude of a weight's code; -128 is not used, so that codes are symmetric."""
_GREATEST_ACTIVATION = 255
_INT32 = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Codes:
    """Integers that stand for numbers: number = (code - zero point) · scale.

    Attributes:
        values: the codes.
        scale: one number, or one for every index of the axis.
    """

    values: npt.NDArray[np.integer]
    scale: Floats


def activation_codes(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of unsigned 8-bit codes for numbers from ``low`` (at most 0) to ``high`` (at least 0)."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / _GREATEST_ACTIVATION)
    if scale < np.finfo(np.float32).tiny:
        return np.float32(1.0), np.uint8(0)
    zero = np.rint(-low / np.float64(scale))
    return scale, np.uint8(min(max(zero, 0), _GREATEST_ACTIVATION))


def weight_codes(weight: npt.NDArray[np.floating], axis: int | None) -> Codes:
    """Signed 8-bit codes of weights, symmetric about 0.

    Args:
        axis: of the output channels, each with a scale of its own; None: one scale for all.
    """
    others = None if axis is None else tuple(n for n in range(weight.ndim) if n != axis)
    greatest = np.abs(weight).max(axis=others, keepdims=True).astype(np.float64)
    scale = (greatest / _GREATEST_WEIGHT).astype(np.float32)
    scale[scale < np.finfo(np.float32).tiny] = 1.0
    codes = np.clip(np.rint(weight / scale), -_GREATEST_WEIGHT, _GREATEST_WEIGHT).astype(np.int8)
    return Codes(codes, scale.reshape(-1) if axis is not None else scale.reshape(()))


def bias_codes(bias: npt.NDArray[np.floating], scale: Floats) -> Codes | None:
    """32-bit codes of a bias in the unit of the sums of products; None where they do not fit.

    Args:
        scale: of the activation times that of the weights.
    """
    codes = np.rint(bias.astype(np.float64) / scale)
    if np.abs(codes).max(initial=0) > _INT32:
        return None
    return Codes(codes.astype(np.int32), np.broadcast_to(scale, bias.shape).astype(np.float32))


def rounded(values: npt.NDArray[np.floating], precision: Precision) -> Floats:
    """Numbers rounded to bf16 or fp16, as float32."""
    if precision == "fp16":
        greatest = np.finfo(np.float16).max
        half: Floats = np.clip(values, -greatest, greatest).astype(np.float16).astype(np.float32)
        return half
    import ml_dtypes

    found: Floats = np.asarray(values, np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)
    return found
