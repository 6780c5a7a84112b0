"""Vectors of single-precision numbers and of words, `LANES` wide, for kernels that numba compiles.

Left to itself the compiler of numba uses half of the widest registers, asks at run time whether arrays overlap, and
keeps no block of sums in registers. With these types a kernel says what lies in a register: on processors with AVX-512
a vector is two of the widest ones, on others four of AVX2's halves. Sums are in the same order on both, so results
are the same bytes wherever the processor fuses multiplication and addition.

`pointers` has where they come from in memory.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.registry import cpu_target
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2]
WIDE = "+avx512f" in _FEATURES
"""Whether the processor has 32 registers of 16 numbers; else there are 16, of 8."""
PERMUTES = "+avx2" in _FEATURES
"""Whether it takes numbers from any lane of a register."""
LANES = 32 if WIDE else 16

FLOAT, INT, LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)


def lane_intrinsic(function: Callable[..., Any]) -> Any:
    """Decorator: a numba intrinsic on lanes; the function gives its types and how it is lowered."""
    return intrinsic(function)  # its type has the argument that numba puts in front


class _Vector(types.Type):
    """A vector; numba has no type for it."""


LANES_TYPE, WORDS_TYPE = _Vector("lanes"), _Vector("words of lanes")


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Vector) -> None:
        super().__init__(manager, kind, FLOATS if kind == LANES_TYPE else INTS)


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
    _operator(_function, LANES_TYPE, _instruction)
for _function, _instruction in (
    (operator.add, "add"),
    (operator.xor, "xor"),
    (operator.or_, "or_"),
    (operator.and_, "and_"),
    (operator.lshift, "shl"),
    (operator.rshift, "lshr"),
):
    _operator(_function, WORDS_TYPE, _instruction)


def splat(builder: Any, value: Any, kind: Any) -> Any:
    """A value in every lane."""
    nothing = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(INT, 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(INTS, [0] * LANES))


def called(builder: Any, name: str, result: Any, values: Any) -> Any:
    """An intrinsic of LLVM, called."""
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def _either(typing: Any, a: Any, b: Any, comparison: str) -> Any:
    """The second of two numbers where it compares so with the first, else the first; Python's ``min`` does that."""
    kind = typing.unify_types(a, b)

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        compared = builder.fcmp_ordered if isinstance(kind, types.Float) else builder.icmp_signed
        return builder.select(compared(comparison, values[1], values[0]), values[1], values[0])

    return kind(kind, kind), lowered


@lane_intrinsic
def lesser(typing: Any, a: Any, b: Any) -> Any:
    """``min(a, b)`` of two signed numbers; numba compiles a function of its own for every one of its types."""
    return _either(typing, a, b, "<")


@lane_intrinsic
def larger(typing: Any, a: Any, b: Any) -> Any:
    """``max(a, b)`` of two signed numbers."""
    return _either(typing, a, b, ">")


@lane_intrinsic
def spread(typing: Any, value: Any) -> Any:
    """A number in every lane."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return splat(builder, values[0], FLOATS)

    return LANES_TYPE(types.float32), lowered


@lane_intrinsic
def spread_word(typing: Any, value: Any) -> Any:
    """A word in every lane."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return splat(builder, values[0], INTS)

    return WORDS_TYPE(types.uint32), lowered


@lane_intrinsic
def numbered(typing: Any, first: Any) -> Any:
    """Words from ``first`` on."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.add(splat(builder, values[0], INTS), ir.Constant(INTS, list(range(LANES))))

    return WORDS_TYPE(types.uint32), lowered


@lane_intrinsic
def mixed(typing: Any, x: Any, y: Any, by: Any) -> Any:
    """A round of Threefry, see `counter_rng`: ``x + y``, and ``y``, turned by some bits, XOR that."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        x, y, by = values
        x, by = builder.add(x, y), splat(builder, builder.trunc(by, INT), INTS)
        turned = called(builder, f"llvm.fshl.v{LANES}i32", INTS, (y, y, by))
        return context.make_tuple(builder, signature.return_type, (x, builder.xor(turned, x)))

    return types.UniTuple(WORDS_TYPE, 2)(WORDS_TYPE, WORDS_TYPE, types.int64), lowered


@lane_intrinsic
def floats(typing: Any, words: Any) -> Any:
    """Words below 2^31 as numbers."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.sitofp(values[0], FLOATS)

    return LANES_TYPE(WORDS_TYPE), lowered


@lane_intrinsic
def bits(typing: Any, a: Any) -> Any:
    """The words that numbers are written as."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], INTS)

    return WORDS_TYPE(LANES_TYPE), lowered


@lane_intrinsic
def fused(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a · b + c``, rounded once where the processor can."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return called(builder, f"llvm.fmuladd.v{LANES}f32", FLOATS, values)

    return LANES_TYPE(LANES_TYPE, LANES_TYPE, LANES_TYPE), lowered


@lane_intrinsic
def magnitude(typing: Any, a: Any) -> Any:
    """Without the sign."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return called(builder, f"llvm.fabs.v{LANES}f32", FLOATS, values)

    return LANES_TYPE(LANES_TYPE), lowered


@lane_intrinsic
def root(typing: Any, a: Any) -> Any:
    """The square root."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return called(builder, f"llvm.sqrt.v{LANES}f32", FLOATS, values)

    return LANES_TYPE(LANES_TYPE), lowered


@lane_intrinsic
def signed(typing: Any, a: Any, words: Any) -> Any:
    """The negative where the highest bit of a word is set."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        bits = builder.and_(values[1], ir.Constant(INTS, [1 << 31] * LANES))
        return builder.bitcast(builder.xor(builder.bitcast(values[0], INTS), bits), FLOATS)

    return LANES_TYPE(LANES_TYPE, WORDS_TYPE), lowered


@lane_intrinsic
def every_other(typing: Any, a: Any, b: Any) -> Any:
    """Numbers of two vectors in even places, and those in odd places."""

    def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        places = (ir.Constant(INTS, list(range(first, 2 * LANES, 2))) for first in range(2))
        found = [builder.shuffle_vector(*values, some) for some in places]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(LANES_TYPE, 2)(LANES_TYPE, LANES_TYPE), lowered


@lane_intrinsic
def greater(typing: Any, a: Any, b: Any) -> Any:
    """The greater of two numbers; ``b`` where one is none."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *values), *values)

    return LANES_TYPE(LANES_TYPE, LANES_TYPE), lowered


@lane_intrinsic
def unless_zero(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``b``, or ``c`` where ``a`` is 0."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        zero = builder.fcmp_ordered("==", values[0], ir.Constant(FLOATS, [0.0] * LANES))
        return builder.select(zero, values[2], values[1])

    return LANES_TYPE(LANES_TYPE, LANES_TYPE, LANES_TYPE), lowered


@lane_intrinsic
def chosen(typing: Any, a: Any, limit: Any, b: Any, c: Any) -> Any:
    """``b`` where ``a`` is greater than ``limit``, else ``c``."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", values[0], values[1]), values[2], values[3])

    return LANES_TYPE(LANES_TYPE, LANES_TYPE, LANES_TYPE, LANES_TYPE), lowered


@lane_intrinsic
def clipped(typing: Any, a: Any, limit: Any) -> Any:
    """Numbers clipped to ``-limit`` and ``limit``; what is no number stays."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        value, limit = values
        low = builder.fsub(ir.Constant(FLOATS, [-0.0] * LANES), limit)
        value = builder.select(builder.fcmp_ordered("<", limit, value), limit, value)
        return builder.select(builder.fcmp_ordered(">", low, value), low, value)

    return LANES_TYPE(LANES_TYPE, LANES_TYPE), lowered


@lane_intrinsic
def beyond(typing: Any, a: Any, limit: Any) -> Any:
    """In how many lanes ``a`` is greater."""

    def lowered(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        flags = builder.bitcast(builder.fcmp_ordered(">", *values), ir.IntType(LANES))
        return builder.zext(called(builder, f"llvm.ctpop.i{LANES}", flags.type, (flags,)), LONG)

    return types.int64(LANES_TYPE, LANES_TYPE), lowered
