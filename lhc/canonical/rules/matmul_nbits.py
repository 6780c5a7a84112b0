"""MatMulNBits (com.microsoft): a product by weights of few bits, dequantised in blocks along their inputs.

    MatMulNBits(a, q, s, z) = a Wᵀ,      W[n, k] = s[n, g(k)] · (q[n, k] - z[n, g(k)])

g(k) = k // block_size, or the input ``g_idx``; z = 2^(bits - 1) where it is not given. Values lie low bits first in
bytes, z too, each row of it filled up to whole bytes. onnxruntime, docs/ContribOperators.md. The canonical matrix W
(inputs, outputs) is of the type of the scales; ``accuracy_level``, with which activations are rounded too, is left to
the file's own operator.
"""

import numpy as np

from lhc.canonical.integer_operands import unpacked
from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule
from lhc.onnx_io.read.constants import Array

_DTYPES = ("float16", "float32")


@rule("MatMulNBits", domain="com.microsoft")
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where the weights and all that dequantises them are constant."""
    given = [index for index in range(1, 5) if site.name(index)]
    if not all(site.is_constant(index) for index in given) or site.integer("bits", 4) not in (2, 4, 8):
        return False
    scales = site.value(2)
    if scales.dtype.name not in _DTYPES:
        return False
    weight = site.store(f"{site.name(1)}/dequantised", _dequantised(site, scales))
    bias, last = site.name(5), site.node.output[0]
    y = site.product("", "MatMul", site.name(0), weight, output=None if bias else last)
    if bias:
        site.add("Add", y, bias, output=last)
    return True


def _dequantised(site: RewriteContext, scales: Array) -> Array:
    """The matrix, ``(inputs, outputs)``."""
    inputs, outputs, bits = site.integer("K"), site.integer("N"), site.integer("bits", 4)
    size = site.integer("block_size")
    blocks = -(-inputs // size)
    codes = unpacked(site.value(1).reshape(outputs, -1), bits)[:, :inputs]
    group = site.value(4).astype(np.int64) if site.is_constant(4) else np.arange(inputs) // size
    zeros = _zeros(site, outputs, blocks, bits)
    by_input = scales.reshape(outputs, blocks)[:, group]
    values = (codes.astype(np.float32) - zeros[:, group]) * by_input.astype(np.float32)
    matrix: Array = values.astype(scales.dtype).T
    return matrix


def _zeros(site: RewriteContext, outputs: int, blocks: int, bits: int) -> Array:
    """Zero points, ``(outputs, blocks)``."""
    if not site.is_constant(3):
        return np.full((outputs, blocks), 2 ** (bits - 1), np.float32)
    stored = site.value(3)
    if stored.dtype != np.uint8:
        return stored.reshape(outputs, blocks).astype(np.float32)
    return unpacked(stored.reshape(outputs, -1), bits)[:, :blocks].astype(np.float32)
