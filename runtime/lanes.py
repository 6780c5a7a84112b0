"""Vectors of single-precision numbers and of words, `LANES` wide, for kernels that numba compiles.

Left to itself the compiler of numba uses half of the widest registers, asks at run time whether arrays overlap, and
keeps no block of sums in registers. With these types a kernel says what lies in a register: on processors with AVX-512
a vector is two of the widest ones, on others four of AVX2's halves. Sums are in the same order on both, so results
are the same bytes wherever the processor fuses multiplication and addition.

Places are counted from an array's first value and are not checked, but for runs with ``NUMBA_BOUNDSCHECK`` set.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.imputils import lower_builtin
from numba.core.registry import cpu_target
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

__all__ = [
    "LANES",
    "WIDE",
    "alike",
    "beyond",
    "chosen",
    "clipped",
    "fused",
    "gathered",
    "greater",
    "item",
    "joined",
    "loaded",
    "loaded_run",
    "magnitude",
    "number",
    "numbered",
    "put",
    "signed",
    "span",
    "spread",
    "spread_word",
    "stored",
    "stored_run",
    "unless_zero",
]

_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2]
WIDE = "+avx512f" in _FEATURES
"""Whether the processor has 32 registers of 16 numbers; else there are 16, of 8."""
LANES = 32 if WIDE else 16
_RUN = 8
"""Numbers that `joined` takes from one place."""

_FLOAT, _INT, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)


def _intrinsic(function: Callable[..., Any]) -> Any:
    return intrinsic(function)  # its type has the argument that numba puts in front


class _Vector(types.Type):
    """A vector; numba has no type for it."""


_lanes, _words = _Vector("lanes"), _Vector("words of lanes")


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Vector) -> None:
        super().__init__(manager, kind, _FLOATS if kind == _lanes else _INTS)


class _Span(types.Type):
    """Numbers in memory; numba counts no references to it."""

    def __init__(self, dtype: types.Type) -> None:
        super().__init__(f"span({dtype})")
        self.dtype = dtype


@register_model(_Span)
class _SpanModel(models.StructModel):
    def __init__(self, manager: Any, kind: _Span) -> None:
        super().__init__(manager, kind, [("data", types.CPointer(kind.dtype)), ("size", types.int64)])


def _operator(function: Callable[..., object], kind: _Vector, instruction: str) -> None:
    class _Typing(ConcreteTemplate):
        cases = [signature(kind, kind, kind)]  # noqa: RUF012

    infer_global(function)(_Typing)

    @lower_builtin(function, kind, kind)
    def _lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return getattr(builder, instruction)(*values)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_function, _lanes, _instruction)
for _function, _instruction in (
    (operator.add, "add"),
    (operator.xor, "xor"),
    (operator.or_, "or_"),
    (operator.and_, "and_"),
    (operator.lshift, "shl"),
    (operator.rshift, "lshr"),
):
    _operator(_function, _words, _instruction)


@_intrinsic
def span(typing: Any, array: Any) -> Any:
    """The numbers of a contiguous array, which must outlive it."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, values[0])
        result = cgutils.create_struct_proxy(signature.return_type)(context, builder)
        result.data, result.size = held.data, held.nitems
        return result._getvalue()

    return _Span(array.dtype)(array), lowered


def _place(context: Any, builder: Any, kind: Any, value: Any, first: Any, values: int = 1) -> Any:
    """Pointer to a number of a span; that it and so many behind it lie in it is checked on request."""
    held = cgutils.create_struct_proxy(kind)(context, builder, value)
    if config.BOUNDSCHECK:  # type: ignore[attr-defined]
        last = builder.add(first, ir.Constant(_LONG, values))
        outside = builder.or_(
            builder.icmp_signed("<", first, ir.Constant(_LONG, 0)), builder.icmp_signed(">", last, held.size)
        )
        with builder.if_then(outside, likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("a place outside its span",))
    return builder.gep(held.data, [first])


@_intrinsic
def number(typing: Any, numbers: Any, place: Any) -> Any:
    """One number of a span."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_place(context, builder, signature.args[0], *values))

    return numbers.dtype(numbers, types.int64), lowered


@_intrinsic
def put(typing: Any, numbers: Any, place: Any, value: Any) -> Any:
    """Put one number there."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store(values[2], _place(context, builder, signature.args[0], *values[:2]))
        return context.get_dummy_value()

    return types.void(numbers, types.int64, numbers.dtype), lowered


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    nothing = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(_INTS, [0] * LANES))


def _call(builder: Any, name: str, result: Any, values: Any) -> Any:
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def _read(builder: Any, pointer: Any, kind: Any) -> Any:
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=4)


@_intrinsic
def loaded(typing: Any, numbers: Any, place: Any) -> Any:
    """Numbers, or words, that lie side by side."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _place(context, builder, signature.args[0], values[0], values[1], LANES)
        return _read(builder, pointer, _FLOATS if signature.return_type == _lanes else _INTS)

    return (_lanes if numbers.dtype == types.float32 else _words)(numbers, types.int64), lowered


@_intrinsic
def stored(typing: Any, numbers: Any, place: Any, vector: Any) -> Any:
    """Put a vector there."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _place(context, builder, signature.args[0], values[0], values[1], LANES)
        builder.store(values[2], builder.bitcast(pointer, values[2].type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(numbers, types.int64, vector), lowered


def _run(context: Any, builder: Any, kind: Any, values: Any) -> tuple[Any, Any]:
    """Where all lanes would lie, and which are wanted: from a span, the place of the first one, first, last + 1."""
    numbers, place, first, last = values
    inside = _place(context, builder, kind, numbers, place)
    pointer = builder.gep(inside, [builder.sub(ir.Constant(_LONG, 0), first)])
    lanes = ir.Constant(_INTS, list(range(LANES)))
    low, high = (_splat(builder, builder.trunc(lane, _INT), _INTS) for lane in (first, last))
    wanted = builder.and_(builder.icmp_signed(">=", lanes, low), builder.icmp_signed("<", lanes, high))
    return builder.bitcast(pointer, _FLOATS.as_pointer()), wanted


@_intrinsic
def stored_run(typing: Any, numbers: Any, place: Any, vector: Any, first: Any, last: Any) -> Any:
    """Put lanes ``first`` to ``last - 1`` of a vector there."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer, wanted = _run(context, builder, signature.args[0], (*values[:2], *values[3:]))
        given = (values[2], pointer, ir.Constant(_INT, 4), wanted)
        _call(builder, f"llvm.masked.store.v{LANES}f32.p0v{LANES}f32", ir.VoidType(), given)
        return context.get_dummy_value()

    return types.void(numbers, types.int64, vector, types.int64, types.int64), lowered


@_intrinsic
def loaded_run(typing: Any, numbers: Any, place: Any, first: Any, last: Any) -> Any:
    """Numbers that lie side by side as lanes ``first`` to ``last - 1``; 0 in the others."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer, wanted = _run(context, builder, signature.args[0], values)
        given = (pointer, ir.Constant(_INT, 4), wanted, ir.Constant(_FLOATS, [0.0] * LANES))
        return _call(builder, f"llvm.masked.load.v{LANES}f32.p0v{LANES}f32", _FLOATS, given)

    return _lanes(numbers, types.int64, types.int64, types.int64), lowered


@_intrinsic
def item(typing: Any, numbers: Any, place: Any) -> Any:
    """One number of a span, in every lane."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _splat(builder, builder.load(_place(context, builder, signature.args[0], *values)), _FLOATS)

    return _lanes(numbers, types.int64), lowered


@_intrinsic
def joined(typing: Any, numbers: Any, place: Any, starts: Any, first: Any) -> Any:
    """Runs of 8 numbers: those that begin at ``place + starts[first]``, ``place + starts[first + 8]``, … ."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind, parts = ir.VectorType(_FLOAT, _RUN), []
        for run in range(0, LANES, _RUN):
            number = builder.add(values[3], ir.Constant(_LONG, run))
            start = builder.load(_place(context, builder, signature.args[2], values[2], number))
            place = builder.add(values[1], builder.zext(start, _LONG))
            parts.append(_read(builder, _place(context, builder, signature.args[0], values[0], place, _RUN), kind))
        while len(parts) > 1:
            both = ir.Constant(ir.VectorType(_INT, 2 * parts[0].type.count), list(range(2 * parts[0].type.count)))
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [builder.shuffle_vector(one, other, both) for one, other in pairs]
        return parts[0]

    return _lanes(numbers, types.int64, starts, types.int64), lowered


@_intrinsic
def gathered(typing: Any, numbers: Any, place: Any, steps: Any) -> Any:
    """The numbers at ``place + steps``, which are less than 2^31."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _place(context, builder, signature.args[0], *values[:2])
        result = ir.Constant(_FLOATS, ir.Undefined)
        if not WIDE or config.BOUNDSCHECK:  # type: ignore[attr-defined]
            for lane in range(LANES):
                number = ir.Constant(_INT, lane)
                place = builder.add(values[1], builder.zext(builder.extract_element(values[2], number), _LONG))
                one = builder.load(_place(context, builder, signature.args[0], values[0], place))
                result = builder.insert_element(result, one, number)
            return result
        halves = []
        for half in (range(16), range(16, 32)):
            chosen = ir.Constant(ir.VectorType(_INT, 16), list(half))
            steps = builder.shuffle_vector(values[2], values[2], chosen)
            nothing = builder.shuffle_vector(ir.Constant(_FLOATS, [0.0] * 32), result, chosen)
            every = ir.Constant(ir.VectorType(ir.IntType(1), 16), [1] * 16)
            base = builder.bitcast(pointer, ir.IntType(8).as_pointer())
            given = (nothing, base, steps, every, ir.Constant(_INT, 4))
            halves.append(_call(builder, "llvm.x86.avx512.mask.gather.dps.512", nothing.type, given))
        return builder.shuffle_vector(*halves, ir.Constant(_INTS, list(range(32))))

    return _lanes(numbers, types.int64, _words), lowered


@_intrinsic
def spread(typing: Any, value: Any) -> Any:
    """A number in every lane."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return _splat(builder, values[0], _FLOATS)

    return _lanes(types.float32), lowered


@_intrinsic
def spread_word(typing: Any, value: Any) -> Any:
    """A word in every lane."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return _splat(builder, values[0], _INTS)

    return _words(types.uint32), lowered


@_intrinsic
def numbered(typing: Any, first: Any) -> Any:
    """Words from ``first`` on."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.add(_splat(builder, values[0], _INTS), ir.Constant(_INTS, list(range(LANES))))

    return _words(types.uint32), lowered


@_intrinsic
def fused(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a · b + c``, rounded once where the processor can."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return _call(builder, f"llvm.fmuladd.v{LANES}f32", _FLOATS, values)

    return _lanes(_lanes, _lanes, _lanes), lowered


@_intrinsic
def magnitude(typing: Any, a: Any) -> Any:
    """Without the sign."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return _call(builder, f"llvm.fabs.v{LANES}f32", _FLOATS, values)

    return _lanes(_lanes), lowered


@_intrinsic
def signed(typing: Any, a: Any, words: Any) -> Any:
    """The negative where the highest bit of a word is set."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        bits = builder.and_(values[1], ir.Constant(_INTS, [1 << 31] * LANES))
        return builder.bitcast(builder.xor(builder.bitcast(values[0], _INTS), bits), _FLOATS)

    return _lanes(_lanes, _words), lowered


@_intrinsic
def alike(typing: Any, a: Any, b: Any) -> Any:
    """``a`` with the sign of ``b``."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return _call(builder, f"llvm.copysign.v{LANES}f32", _FLOATS, values)

    return _lanes(_lanes, _lanes), lowered


@_intrinsic
def greater(typing: Any, a: Any, b: Any) -> Any:
    """The greater of two numbers; ``b`` where one is none."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *values), *values)

    return _lanes(_lanes, _lanes), lowered


@_intrinsic
def unless_zero(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``b``, or ``c`` where ``a`` is 0."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        zero = builder.fcmp_ordered("==", values[0], ir.Constant(_FLOATS, [0.0] * LANES))
        return builder.select(zero, values[2], values[1])

    return _lanes(_lanes, _lanes, _lanes), lowered


@_intrinsic
def chosen(typing: Any, a: Any, limit: Any, b: Any, c: Any) -> Any:
    """``b`` where ``a`` is greater than ``limit``, else ``c``."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", values[0], values[1]), values[2], values[3])

    return _lanes(_lanes, _lanes, _lanes, _lanes), lowered


@_intrinsic
def clipped(typing: Any, a: Any, limit: Any) -> Any:
    """Between ``-limit`` and ``limit``; what is no number stays."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        value, limit = values
        low = builder.fsub(ir.Constant(_FLOATS, [-0.0] * LANES), limit)
        value = builder.select(builder.fcmp_ordered("<", limit, value), limit, value)
        return builder.select(builder.fcmp_ordered(">", low, value), low, value)

    return _lanes(_lanes, _lanes), lowered


@_intrinsic
def beyond(typing: Any, a: Any, limit: Any) -> Any:
    """In how many lanes ``a`` is greater."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        flags = builder.bitcast(builder.fcmp_ordered(">", *values), ir.IntType(LANES))
        return builder.zext(_call(builder, f"llvm.ctpop.i{LANES}", flags.type, (flags,)), _LONG)

    return types.int64(_lanes, _lanes), lowered
