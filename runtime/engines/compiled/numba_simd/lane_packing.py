"""Numbers of some of the lanes of a vector, side by side in memory."""

from typing import Any

from llvmlite import ir
from numba import types

from lhc.runtime.engines.compiled.numba_simd.pointers import place_in
from lhc.runtime.engines.compiled.numba_simd.vectors import (
    FLOATS,
    INT,
    INTS,
    LANES,
    LANES_TYPE,
    LONG,
    WIDE,
    called,
    lane_intrinsic,
)

__all__ = ["stored_packed", "unpacked"]


@lane_intrinsic
def stored_packed(typing: Any, numbers: Any, place: Any, vector: Any, a: Any, limit: Any) -> Any:
    """Put those lanes of a vector there, side by side, in which ``a`` is greater; behind them may be anything."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = place_in(context, builder, values[0], values[1], LANES)
        flags, vector = builder.fcmp_ordered(">", *values[3:]), values[2]
        if not WIDE:
            for lane in (ir.Constant(INT, number) for number in range(LANES)):
                builder.store(builder.extract_element(vector, lane), pointer)
                pointer = builder.gep(pointer, [builder.zext(builder.extract_element(flags, lane), LONG)])
            return context.get_dummy_value()
        name = f"llvm.x86.avx512.mask.compress.v16{'f' if vector.type == FLOATS else 'i'}32"
        for half in (range(16), range(16, 32)):
            chosen = ir.Constant(ir.VectorType(INT, 16), list(half))
            part, wanted = (builder.shuffle_vector(one, one, chosen) for one in (vector, flags))
            packed = called(builder, name, part.type, (part, ir.Constant(part.type, ir.Undefined), wanted))
            builder.store(packed, builder.bitcast(pointer, part.type.as_pointer()), align=4)
            count = called(builder, "llvm.ctpop.i16", ir.IntType(16), (builder.bitcast(wanted, ir.IntType(16)),))
            pointer = builder.gep(pointer, [builder.zext(count, LONG)])
        return context.get_dummy_value()

    return types.void(numbers, types.int64, vector, LANES_TYPE, LANES_TYPE), lowered


@lane_intrinsic
def unpacked(typing: Any, numbers: Any, place: Any, a: Any, limit: Any, other: Any) -> Any:
    """Numbers that lie side by side from a place on, in those lanes in which ``a`` is greater; else ``other``."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = place_in(context, builder, values[0], values[1], LANES)
        flags, other = builder.fcmp_ordered(">", *values[2:4]), values[4]
        if not WIDE:
            for lane in (ir.Constant(INT, number) for number in range(LANES)):
                flag = builder.extract_element(flags, lane)
                one = builder.select(flag, builder.load(pointer), builder.extract_element(other, lane))
                other = builder.insert_element(other, one, lane)
                pointer = builder.gep(pointer, [builder.zext(flag, LONG)])
            return other
        halves = []
        for half in (range(16), range(16, 32)):
            chosen = ir.Constant(ir.VectorType(INT, 16), list(half))
            part, wanted = (builder.shuffle_vector(one, one, chosen) for one in (other, flags))
            packed = builder.load(builder.bitcast(pointer, part.type.as_pointer()), align=4)
            halves.append(called(builder, "llvm.x86.avx512.mask.expand.v16f32", part.type, (packed, part, wanted)))
            count = called(builder, "llvm.ctpop.i16", ir.IntType(16), (builder.bitcast(wanted, ir.IntType(16)),))
            pointer = builder.gep(pointer, [builder.zext(count, LONG)])
        return builder.shuffle_vector(*halves, ir.Constant(INTS, list(range(32))))

    return LANES_TYPE(numbers, types.int64, LANES_TYPE, LANES_TYPE, LANES_TYPE), lowered
