"""Numbers in memory, as kernels that numba compiles read and write them: one by one, or as vectors.

Places are counted from an array's first value and are not checked, but for runs with ``NUMBA_BOUNDSCHECK`` set.
Numbers of some of the lanes of a vector can be put side by side (`stored_packed`).
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import models, register_model

from lhc.runtime.engines.compiled.numba_simd.vectors import (
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LANES,
    LANES_TYPE,
    LONG,
    PERMUTES,
    WIDE,
    WORDS_TYPE,
    called,
    lane_intrinsic,
    splat,
)

_CHECKED = bool(config.BOUNDSCHECK)  # type: ignore[attr-defined]
LINE = 16
"""Numbers of a line of the cache."""
RUNS = 4
"""Most runs of numbers of which `joined_runs` makes half of the lanes."""
_EIGHT = 8
"""Numbers that `joined` takes from one place."""
_TABLE = 16
"""Numbers of a table of `looked_up`."""


class _Span(types.Type):
    """Numbers in memory; numba counts no references to it."""

    def __init__(self, dtype: types.Type) -> None:
        super().__init__(f"span({dtype})")
        self.dtype = dtype


@register_model(_Span)
class _SpanModel(models.PrimitiveModel):
    """A pointer, and the length where places are checked: it would be one more argument for every span of a kernel."""

    def __init__(self, manager: Any, kind: _Span) -> None:
        pointer = manager.lookup(types.CPointer(kind.dtype)).get_value_type()
        super().__init__(manager, kind, ir.LiteralStructType([pointer, LONG]) if _CHECKED else pointer)


@lane_intrinsic
def span(typing: Any, array: Any) -> Any:
    """The numbers of a contiguous array, which must outlive it."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        model = context.data_model_manager[signature.args[0]]
        data, size = (builder.extract_value(values[0], model.get_field_position(name)) for name in ("data", "nitems"))
        return cgutils.pack_struct(builder, (data, size)) if _CHECKED else data

    return _Span(array.dtype)(array), lowered


def place_in(context: Any, builder: Any, span: Any, first: Any, values: int = 1) -> Any:
    """Pointer to a number of a span; that it and so many behind it lie in it is checked on request."""
    if not _CHECKED:
        return builder.gep(span, [first])
    data, size = cgutils.unpack_tuple(builder, span)
    last = builder.add(first, ir.Constant(LONG, values))
    outside = builder.or_(builder.icmp_signed("<", first, ir.Constant(LONG, 0)), builder.icmp_signed(">", last, size))
    with builder.if_then(outside, likely=False):
        context.call_conv.return_user_exc(builder, IndexError, ("a place outside its span",))
    return builder.gep(data, [first])


@lane_intrinsic
def number(typing: Any, numbers: Any, place: Any) -> Any:
    """One number of a span."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(place_in(context, builder, *values))

    return numbers.dtype(numbers, types.int64), lowered


@lane_intrinsic
def put(typing: Any, numbers: Any, place: Any, value: Any) -> Any:
    """Put one number there."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store(values[2], place_in(context, builder, *values[:2]))
        return context.get_dummy_value()

    return types.void(numbers, types.int64, numbers.dtype), lowered


def _read(builder: Any, pointer: Any, kind: Any) -> Any:
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=4)


@lane_intrinsic
def loaded(typing: Any, numbers: Any, place: Any) -> Any:
    """Numbers, or words, that lie side by side."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = place_in(context, builder, values[0], values[1], LANES)
        return _read(builder, pointer, FLOATS if signature.return_type == LANES_TYPE else INTS)

    return (LANES_TYPE if numbers.dtype == types.float32 else WORDS_TYPE)(numbers, types.int64), lowered


@lane_intrinsic
def fetched(typing: Any, numbers: Any, place: Any) -> Any:
    """Bring a number's line of memory into the caches; it may lie outside."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = builder.extract_value(values[0], 0) if _CHECKED else values[0]
        pointer = builder.bitcast(builder.gep(data, [values[1]]), ir.IntType(8).as_pointer())
        given = (pointer, ir.Constant(INT, 0), ir.Constant(INT, 3), ir.Constant(INT, 1))
        called(builder, "llvm.prefetch", ir.VoidType(), given)
        return context.get_dummy_value()

    return types.void(numbers, types.int64), lowered


@lane_intrinsic
def stored(typing: Any, numbers: Any, place: Any, vector: Any) -> Any:
    """Put a vector there."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = place_in(context, builder, values[0], values[1], LANES)
        builder.store(values[2], builder.bitcast(pointer, values[2].type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(numbers, types.int64, vector), lowered


@lane_intrinsic
def stored_past(typing: Any, numbers: Any, place: Any, vector: Any) -> Any:
    """Put a vector there, past the caches where it fills lines of them."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = place_in(context, builder, values[0], values[1], LANES)
        target = builder.bitcast(pointer, values[2].type.as_pointer())
        within = builder.and_(builder.ptrtoint(pointer, LONG), ir.Constant(LONG, 63))
        with builder.if_else(builder.icmp_signed("==", within, ir.Constant(LONG, 0))) as (fills, splits):
            with fills:
                one = builder.module.add_metadata([ir.Constant(INT, 1)])
                builder.store(values[2], target, align=64).set_metadata("nontemporal", one)
            with splits:
                builder.store(values[2], target, align=4)
        return context.get_dummy_value()

    return types.void(numbers, types.int64, vector), lowered


def _run(context: Any, builder: Any, values: Any) -> tuple[Any, Any]:
    """Where all lanes would lie, and which are wanted: from a span, the place of the first one, first, last + 1."""
    numbers, place, first, last = values
    inside = place_in(context, builder, numbers, place)
    pointer = builder.gep(inside, [builder.sub(ir.Constant(LONG, 0), first)])
    lanes = ir.Constant(INTS, list(range(LANES)))
    low, high = (splat(builder, builder.trunc(lane, INT), INTS) for lane in (first, last))
    wanted = builder.and_(builder.icmp_signed(">=", lanes, low), builder.icmp_signed("<", lanes, high))
    return builder.bitcast(pointer, FLOATS.as_pointer()), wanted


@lane_intrinsic
def stored_run(typing: Any, numbers: Any, place: Any, vector: Any, first: Any, last: Any) -> Any:
    """Put lanes ``first`` to ``last - 1`` of a vector, of numbers or of words, there."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer, wanted = _run(context, builder, (*values[:2], *values[3:]))
        given = (builder.bitcast(values[2], FLOATS), pointer, ir.Constant(INT, 4), wanted)
        called(builder, f"llvm.masked.store.v{LANES}f32.p0v{LANES}f32", ir.VoidType(), given)
        return context.get_dummy_value()

    return types.void(numbers, types.int64, vector, types.int64, types.int64), lowered


@lane_intrinsic
def loaded_run(typing: Any, numbers: Any, place: Any, first: Any, last: Any) -> Any:
    """Numbers that lie side by side as lanes ``first`` to ``last - 1``; 0 in the others."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer, wanted = _run(context, builder, values)
        given = (pointer, ir.Constant(INT, 4), wanted, ir.Constant(FLOATS, [0.0] * LANES))
        return called(builder, f"llvm.masked.load.v{LANES}f32.p0v{LANES}f32", FLOATS, given)

    return LANES_TYPE(numbers, types.int64, types.int64, types.int64), lowered


@lane_intrinsic
def item(typing: Any, numbers: Any, place: Any) -> Any:
    """One number, or word, of a span, in every lane."""
    kind = LANES_TYPE if numbers.dtype == types.float32 else WORDS_TYPE

    def lowered(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        one = builder.load(place_in(context, builder, *values))
        return splat(builder, one, FLOATS if kind == LANES_TYPE else INTS)

    return kind(numbers, types.int64), lowered


@lane_intrinsic
def joined(typing: Any, numbers: Any, place: Any, starts: Any, first: Any) -> Any:
    """Runs of 8 numbers: those that begin at ``place + starts[first]``, ``place + starts[first + 8]``, … ."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind, parts = ir.VectorType(FLOAT, _EIGHT), []
        for run in range(0, LANES, _EIGHT):
            number = builder.add(values[3], ir.Constant(LONG, run))
            start = builder.load(place_in(context, builder, values[2], number))
            place = builder.add(values[1], builder.zext(start, LONG))
            parts.append(_read(builder, place_in(context, builder, values[0], place, _EIGHT), kind))
        while len(parts) > 1:
            both = ir.Constant(ir.VectorType(INT, 2 * parts[0].type.count), list(range(2 * parts[0].type.count)))
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [builder.shuffle_vector(one, other, both) for one, other in pairs]
        return parts[0]

    return LANES_TYPE(numbers, types.int64, starts, types.int64), lowered


@lane_intrinsic
def joined_runs(typing: Any, numbers: Any, place: Any, starts: Any, masks: Any, first: Any, runs: Any) -> Any:
    """Runs of numbers that lie side by side, in both halves of the lanes; 0 in lanes that belong to none.

    Run ``r`` of half ``h``, entry ``i = first + RUNS · h + r`` of two tables, has the lanes whose bits are set in
    ``masks[i]``; the first lane of the half would lie at ``place + starts[i]``. Of each half the first ``runs`` are
    looked at.
    """

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        numbers, place, starts, masks, first, runs = values
        width = LANES // 2
        kind, zeros = ir.VectorType(FLOAT, width), ir.Constant(ir.VectorType(FLOAT, width), [0.0] * width)
        halves = [cgutils.alloca_once_value(builder, zeros) for _ in range(2)]
        with cgutils.for_range(builder, runs) as loop:
            for half, held in enumerate(halves):
                entry = builder.add(builder.add(first, loop.index), ir.Constant(LONG, half * RUNS))
                start = builder.load(place_in(context, builder, starts, entry))
                mask = builder.load(place_in(context, builder, masks, entry))
                wanted = builder.bitcast(builder.trunc(mask, ir.IntType(width)), ir.VectorType(ir.IntType(1), width))
                inside = place_in(context, builder, numbers, builder.add(place, builder.zext(start, LONG)))
                given = (builder.bitcast(inside, kind.as_pointer()), ir.Constant(INT, 4), wanted, builder.load(held))
                found = called(builder, f"llvm.masked.load.v{width}f32.p0v{width}f32", kind, given)
                builder.store(found, held)
        every = ir.Constant(INTS, list(range(LANES)))
        return builder.shuffle_vector(*(builder.load(held) for held in halves), every)

    return LANES_TYPE(numbers, types.int64, starts, masks, types.int64, types.int64), lowered


@lane_intrinsic
def gathered(typing: Any, numbers: Any, place: Any, steps: Any) -> Any:
    """The numbers at ``place + steps``, which are less than 2^31."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = place_in(context, builder, *values[:2])
        result = ir.Constant(FLOATS, ir.Undefined)
        if not WIDE or _CHECKED:
            for lane in range(LANES):
                number = ir.Constant(INT, lane)
                place = builder.add(values[1], builder.zext(builder.extract_element(values[2], number), LONG))
                one = builder.load(place_in(context, builder, values[0], place))
                result = builder.insert_element(result, one, number)
            return result
        halves = []
        for half in (range(16), range(16, 32)):
            chosen = ir.Constant(ir.VectorType(INT, 16), list(half))
            steps = builder.shuffle_vector(values[2], values[2], chosen)
            nothing = builder.shuffle_vector(ir.Constant(FLOATS, [0.0] * 32), result, chosen)
            every = ir.Constant(ir.VectorType(ir.IntType(1), 16), [1] * 16)
            base = builder.bitcast(pointer, ir.IntType(8).as_pointer())
            given = (nothing, base, steps, every, ir.Constant(INT, 4))
            halves.append(called(builder, "llvm.x86.avx512.mask.gather.dps.512", nothing.type, given))
        return builder.shuffle_vector(*halves, ir.Constant(INTS, list(range(32))))

    return LANES_TYPE(numbers, types.int64, WORDS_TYPE), lowered


@lane_intrinsic
def looked_up(typing: Any, numbers: Any, place: Any, which: Any) -> Any:
    """Look-up in 16 numbers by the lowest four bits of each word, held in registers."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = place_in(context, builder, values[0], values[1], _TABLE)
        if not PERMUTES:
            result = ir.Constant(FLOATS, ir.Undefined)
            steps = builder.and_(values[2], ir.Constant(INTS, [_TABLE - 1] * LANES))
            for lane in range(LANES):
                number = ir.Constant(INT, lane)
                one = builder.load(builder.gep(pointer, [builder.zext(builder.extract_element(steps, number), LONG)]))
                result = builder.insert_element(result, one, number)
            return result
        width = 16 if WIDE else 8
        name = "llvm.x86.avx512.permvar.sf.512" if WIDE else "llvm.x86.avx2.permps"
        kind = ir.VectorType(FLOAT, width)
        table = [
            _read(builder, builder.gep(pointer, [ir.Constant(LONG, first)]), kind) for first in range(0, _TABLE, width)
        ]
        parts = []
        for first in range(0, LANES, width):
            some = ir.Constant(ir.VectorType(INT, width), list(range(first, first + width)))
            steps = builder.shuffle_vector(values[2], values[2], some)
            found = [called(builder, name, kind, (part, steps)) for part in table]
            if not WIDE:
                upper = builder.and_(steps, ir.Constant(steps.type, [8] * width))
                high = builder.icmp_unsigned("!=", upper, ir.Constant(steps.type, [0] * width))
                found = [builder.select(high, found[1], found[0])]
            parts += found
        return builder.shuffle_vector(*parts, ir.Constant(INTS, list(range(LANES))))

    return LANES_TYPE(numbers, types.int64, WORDS_TYPE), lowered


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
