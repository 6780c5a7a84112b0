"""Products of 16-bit integers, two at a time: what the engine ``fast16`` multiplies instead of single precision.

A *pair* is a word that holds the codes, or the weights, of two inputs that follow each other. Processors multiply both
at once and add the products in 32 bits, which is twice as fast as single precision, and exact: results are the same
bytes in any order of summation. `lhc.runtime.paired_weights` keeps sums within 32 bits.

Functions that take both kinds of numbers choose by their type when they are compiled.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from lhc.runtime.compiled_code import compiled
from lhc.runtime.lanes import (
    FLOATS,
    INT,
    INTS,
    LANES,
    LANES_TYPE,
    PERMUTES,
    WIDE,
    WORDS_TYPE,
    called,
    fused,
    lane_intrinsic,
    splat,
    spread,
)
from lhc.runtime.spans import loaded, place_in, put, stored

__all__ = ["added", "are_pairs", "in_units", "nothing", "pair_lanes", "pair_lines", "taken"]

_HALF = ir.IntType(16)
_REGISTER = 16 if WIDE else 8
"""Words of a register."""


@lane_intrinsic
def are_pairs(typing: Any, numbers: Any) -> Any:
    """Whether a span holds pairs; known when it is compiled."""
    found = int(numbers.dtype != types.float32)

    def lowered(_context: Any, _builder: Any, _signature: Any, _values: Any) -> Any:
        return ir.Constant(ir.IntType(1), found)

    return types.boolean(numbers), lowered


@lane_intrinsic
def nothing(typing: Any, numbers: Any) -> Any:
    """Sums of no products with a span's numbers."""
    kind = LANES_TYPE if numbers.dtype == types.float32 else WORDS_TYPE

    def lowered(_context: Any, _builder: Any, _signature: Any, _values: Any) -> Any:
        return ir.Constant(FLOATS if kind == LANES_TYPE else INTS, None)

    return kind(numbers), lowered


@lane_intrinsic
def added(typing: Any, a: Any, b: Any, sums: Any) -> Any:
    """Sums and products: ``a · b`` of numbers, of pairs ``a0 · b0 + a1 · b1``."""
    if sums == LANES_TYPE:

        def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            return called(builder, f"llvm.fmuladd.v{LANES}f32", FLOATS, values)

        return LANES_TYPE(LANES_TYPE, LANES_TYPE, LANES_TYPE), lowered

    def lowered_pairs(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        a, b, sums = values
        return builder.add(sums, _products(builder, a, b))

    return WORDS_TYPE(WORDS_TYPE, WORDS_TYPE, WORDS_TYPE), lowered_pairs


def _products(builder: Any, a: Any, b: Any) -> Any:
    """Of pairs, added; a processor with VNNI adds them to the sums with the same instruction."""
    if not PERMUTES:
        bits = ir.Constant(INTS, [16] * LANES)
        low = builder.mul(*(builder.ashr(builder.shl(one, bits), bits) for one in (a, b)))
        return builder.add(low, builder.mul(*(builder.ashr(one, bits) for one in (a, b))))
    name = "llvm.x86.avx512.pmaddw.d.512" if WIDE else "llvm.x86.avx2.pmadd.wd"
    words, halves = ir.VectorType(INT, _REGISTER), ir.VectorType(_HALF, 2 * _REGISTER)
    parts = []
    for first in range(0, LANES, _REGISTER):
        some = ir.Constant(words, list(range(first, first + _REGISTER)))
        given = [builder.bitcast(builder.shuffle_vector(one, one, some), halves) for one in (a, b)]
        parts.append(called(builder, name, words, given))
    return builder.shuffle_vector(*parts, ir.Constant(INTS, list(range(LANES))))


@lane_intrinsic
def in_units(typing: Any, sums: Any, unit: Any) -> Any:
    """Sums of products as numbers; of pairs, of which one counts ``unit``."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        if sums == LANES_TYPE:
            return values[0]
        return builder.fmul(builder.sitofp(values[0], FLOATS), splat(builder, values[1], FLOATS))

    return LANES_TYPE(sums, types.float32), lowered


@lane_intrinsic
def _joined(typing: Any, first: Any, second: Any) -> Any:
    """Pairs of whole numbers below 2^15, of which each lane has one."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        low, high = (builder.fptosi(one, INTS) for one in values)
        low = builder.and_(low, ir.Constant(INTS, [2**16 - 1] * LANES))
        return builder.or_(low, builder.shl(high, ir.Constant(INTS, [16] * LANES)))

    return WORDS_TYPE(LANES_TYPE, LANES_TYPE), lowered


@lane_intrinsic
def _put_side_by_side(typing: Any, pairs: Any, place: Any, numbers: Any) -> Any:
    """Put whole numbers below 2^15 there that lie side by side as half as many pairs."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = place_in(context, builder, values[0], values[1], LANES // 2)
        halves = builder.trunc(builder.fptosi(values[2], INTS), ir.VectorType(_HALF, LANES))
        builder.store(halves, builder.bitcast(pointer, halves.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(pairs, types.int64, LANES_TYPE), lowered


@compiled(inner=True, within=True)
def taken(numbers: Any, inputs: int) -> int:
    """Numbers, or pairs, that products with so many inputs take of a span's kind."""
    return (inputs + 1) // 2 if are_pairs(numbers) else inputs


@compiled(inner=True, within=True)
def pair_lines(codes: Any, place: Any, inputs: int, pairs: Any) -> Any:
    """Pair codes of a block's vectors, a line of `LANES` for every input, and put them at the same place.

    Returns:
        0 for every vector, and what is no number for those that have such a code: integers have none.
    """
    none = spread(np.float32(0))
    spoilt = none
    for k in range(0, inputs - 1, 2):
        one = place + k * LANES
        first, second = loaded(codes, one), loaded(codes, one + LANES)
        spoilt = fused(first, none, fused(second, none, spoilt))
        stored(pairs, place + k // 2 * LANES, _joined(first, second))
    if inputs % 2 == 1:
        last = loaded(codes, place + (inputs - 1) * LANES)
        spoilt = fused(last, none, spoilt)
        stored(pairs, place + inputs // 2 * LANES, _joined(last, none))
    return spoilt


@compiled(inner=True, within=True)
def pair_lanes(codes: Any, place: int, inputs: int, pairs: Any) -> Any:
    """Pair codes of a vector that lie side by side, and put them at the same place; zeros or none as `pair_lines`.

    The codes' memory reaches as far as a multiple of `LANES`. What lies behind them there becomes 0.
    """
    none = spread(np.float32(0))
    spoilt = none
    for k in range(inputs, (inputs + LANES - 1) // LANES * LANES):
        put(codes, place + k, np.float32(0))
    for k in range(0, inputs, LANES):
        numbers = loaded(codes, place + k)
        spoilt = fused(numbers, none, spoilt)
        _put_side_by_side(pairs, place + k // 2, numbers)
    return spoilt
