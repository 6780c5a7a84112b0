"""Values of quantised integers: value = scale · (integer - zero point)."""

import numpy as np
from onnx import TensorProto

from lhc.canonical.rewrite_context import RewriteContext
from lhc.onnx_io.read.constants import Array


def is_one(site: RewriteContext, *indices: int) -> bool:
    """Whether inputs are constant numbers, one for a whole tensor."""
    return all(site.is_constant(index) and site.value(index).size == 1 for index in indices)


def may_be_one(site: RewriteContext, *indices: int) -> bool:
    """Whether inputs, where they are given, hold one number each as far as is known; they may be computed."""
    names = [site.name(index) for index in indices if site.name(index)]
    shapes = [site.constants.shape(name) if name in site.constants else site.shape(name) for name in names]
    return all(shape in (None, (), (1,)) for shape in shapes)


def matrix_values(site: RewriteContext, weight: int, scale: int | None, zero: int, outputs: int) -> Array | None:
    """Values of a stored weight, float32; None where these are no integers, or scales of another type.

    Args:
        weight: number of its input.
        scale: that of the scales; None for 1.
        zero: that of the zero points; 0 where they are not given.
        outputs: axis of the weight along which scales and zero points may differ.
    """
    given = [index for index in (weight, scale, zero) if index is not None and (index != zero or site.name(index))]
    if not all(site.is_constant(index) for index in given) or site.value(weight).dtype.name not in ("int8", "uint8"):
        return None
    if scale is not None and site.constants.dtype(site.name(scale)) != "float32":
        return None
    codes = site.value(weight).astype(np.float32)
    apart = [-1 if axis == outputs % codes.ndim else 1 for axis in range(codes.ndim)]

    def spread(index: int | None, default: float) -> Array:
        values = np.array(default) if index is None or not site.name(index) else site.value(index)
        if values.size not in (1, codes.shape[outputs]):
            raise ValueError("neither one for all nor one for every output")
        return values.astype(np.float32).reshape(apart)

    values: Array = (codes - spread(zero, 0.0)) * spread(scale, 1.0)
    return values


def floats_of(site: RewriteContext, index: int) -> str:
    """Dequantised input, whose scale and zero point follow it.

    Not by DequantizeLinear: between that and QuantizeLinear, onnxruntime quantises float weights anew.
    """
    scale, zero = (
        site.store(f"{site.name(place)}/float", site.value(place).reshape(()).astype(np.float32))
        for place in (index + 1, index + 2)
    )
    return site.add("Mul", site.add("Sub", site.add("Cast", site.name(index), to=TensorProto.FLOAT), zero), scale)


def float_codes(site: RewriteContext, codes: str, zero: str, scale: str = "") -> str:
    """Integers of a tensor as floats, less their zero point and times their scale, where these have names."""
    x = site.add("Cast", codes, to=TensorProto.FLOAT)
    if zero:
        x = site.add("Sub", x, site.add("Cast", zero, to=TensorProto.FLOAT))
    return site.add("Mul", x, scale) if scale else x


def codes_of_own_range(site: RewriteContext, x: str) -> tuple[str, str, str]:
    """A tensor as integers of its own range, their scale and zero point."""
    codes = site.add("DynamicQuantizeLinear", x)
    scale, zero = f"{codes}/scale", f"{codes}/zero"
    site.taken.update((scale, zero))
    site.nodes[-1].output.extend((scale, zero))
    return codes, scale, zero


def quantised_output(site: RewriteContext, y: str, scale: int, zero: int) -> None:
    """Write the operator's output, as the integers that stand for it."""
    numbers = [site.store(site.name(place), site.value(place).reshape(())) for place in (scale, zero)]
    site.add("QuantizeLinear", y, *numbers, output=site.node.output[0])


def unpacked(packed: Array, bits: int) -> Array:
    """Values of some bits each out of bytes ``(rows, bytes)``."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    values: Array = ((packed[..., None] >> shifts) & np.uint8(2**bits - 1)).reshape(len(packed), -1)
    return values
