"""Pairs of 16-bit integers in words, of which a vector has as many as lanes, and what is done with them.

Products take either pairs or single-precision numbers; what takes both chooses by their type when it is compiled.
"""

from typing import Any

from llvmlite import ir
from numba import types

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
    lane_intrinsic,
    splat,
)
from lhc.runtime.spans import place_in

__all__ = ["added", "are_pairs", "in_units", "nothing", "paired", "stored_halves"]

_REGISTER = 16 if WIDE else 8
"""Numbers of a register."""


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
    words, halves = ir.VectorType(INT, _REGISTER), ir.VectorType(ir.IntType(16), 2 * _REGISTER)
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
def paired(typing: Any, first: Any, second: Any) -> Any:
    """Pairs of whole numbers below 2^15, of which each lane has one."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        low, high = (builder.fptosi(one, INTS) for one in values)
        low = builder.and_(low, ir.Constant(INTS, [2**16 - 1] * LANES))
        return builder.or_(low, builder.shl(high, ir.Constant(INTS, [16] * LANES)))

    return WORDS_TYPE(LANES_TYPE, LANES_TYPE), lowered


@lane_intrinsic
def stored_halves(typing: Any, pairs: Any, place: Any, numbers: Any) -> Any:
    """Put whole numbers below 2^15 there that lie side by side as half as many pairs."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = place_in(context, builder, values[0], values[1], LANES // 2)
        halves = builder.trunc(builder.fptosi(values[2], INTS), ir.VectorType(ir.IntType(16), LANES))
        builder.store(halves, builder.bitcast(pointer, halves.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(pairs, types.int64, LANES_TYPE), lowered
