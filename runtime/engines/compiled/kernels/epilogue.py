"""Epilogue of kernels: the digital rest of the operator, and what follows it, before outputs are stored."""

from typing import Any, NamedTuple

import numpy as np

from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import item, span
from lhc.runtime.engines.compiled.numba_simd.vectors import chosen, greater, spread
from lhc.runtime.engines.protocol import Digital

_PAST = 2**20
"""Numbers of an output that is written past the caches: it would push out of them what the next operator reads first,
and the processor would read every line before it is written. Shorter ones are still there when they are read."""


class AfterSpans(NamedTuple):
    """`Digital`, the number of outputs, and whether they are written past the caches."""

    values: Any
    outputs: int
    corrects: bool
    biased: bool
    adds: bool
    addend: Any
    clips: bool
    low: np.float32
    high: np.float32
    past: bool


@compiled(inner=True)
def finished(digital: Digital, outputs: int, size: int = 0) -> AfterSpans:
    """`AfterSpans` of `Digital`, for a tensor of so many numbers."""
    return AfterSpans(
        span(digital.numbers),
        outputs,
        digital.corrects,
        digital.biased,
        digital.adds,
        span(digital.addend),
        digital.clips,
        digital.low,
        digital.high,
        size >= _PAST,
    )


@compiled(inner=True, within=True)
def completed(value: Any, after: AfterSpans, place: int) -> Any:
    """An output with what is digital about the operator; ``place`` of its gain."""
    if after.corrects:
        value = value * item(after.values, place) + item(after.values, place + after.outputs)
    if after.biased:
        value = value + item(after.values, place + 2 * after.outputs)
    return value


@compiled(inner=True, within=True)
def within(value: Any, after: AfterSpans) -> Any:
    """An output between its bounds; what is no number stays."""
    if after.clips:
        value = greater(spread(after.low), value)
        value = chosen(value, spread(after.high), spread(after.high), value)
    return value
