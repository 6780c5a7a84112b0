"""Copy the channels of an image to where a convolution reads them: between zeros, and phase by phase."""

from typing import Any, NamedTuple

import numpy as np

from lhc.runtime.engines.compiled.depthwise.channel_layout import ChannelPlaces
from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import loaded, loaded_run, number, put, span, stored, stored_run
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES, every_other, lesser

__all__ = ["LineSpans", "copy_line", "line_spans", "pad"]


class LineSpans(NamedTuple):
    """Lines of a channel in memory, from `ChannelPlaces`."""

    lines: Any
    line_count: int
    width: int
    before: int
    phases: Any
    stride: int
    phase: int


@compiled(inner=True)
def line_spans(places: ChannelPlaces) -> LineSpans:
    """Pointers into arrays, which must outlive them."""
    return LineSpans(
        span(places.lines),
        len(places.lines),
        places.width,
        places.before,
        span(places.phases),
        len(places.phases),
        places.phase,
    )


@compiled(inner=True)
def pad(x: Any, x0: int, one: LineSpans, to: Any, to0: Any) -> None:
    """Copy a channel. Only places of the image are written, so zeros stay."""
    for line in range(one.line_count):
        source, start = x0 + line * one.width, number(one.lines, line)
        if start < 0:
            continue
        if one.stride == 1:
            copy_line(x, source, to, to0 + start + one.before, one.width)
            continue
        if one.stride == 2 and one.width >= 2 * LANES and one.width & 1 == 0:
            _halved(x, source, to, to0 + start, one)
            continue
        for first in range(lesser(one.stride, one.width)):
            place = _in_phase(one, np.int64(first))
            if place >= 0:
                _spread_out(x, source + first, to, to0 + start + place, one, first)


@compiled(inner=True, within=True)
def _in_phase(one: LineSpans, first: Any) -> Any:
    """Where one of the first numbers of a line lies, from the line's start on; -1 where no tap reads its phase."""
    place = one.before + first
    phase = number(one.phases, place % one.stride)
    return phase * one.phase + place // one.stride if phase >= 0 else np.int64(-1)


@compiled(inner=True, within=True)
def _halved(x: Any, x0: int, to: Any, to0: Any, one: LineSpans) -> None:
    """Copy a long line of an even width, in two phases."""
    even0, odd0 = _in_phase(one, np.int64(0)), _in_phase(one, np.int64(1))
    for first in range(0, one.width, 2 * LANES):
        n = lesser(first, one.width - 2 * LANES)  # the last ones overlap those before them
        even, odd = every_other(loaded(x, x0 + n), loaded(x, x0 + n + LANES))
        if even0 >= 0:
            stored(to, to0 + even0 + n // 2, even)
        if odd0 >= 0:
            stored(to, to0 + odd0 + n // 2, odd)


@compiled(inner=True, within=True)
def copy_line(x: Any, x0: int, to: Any, to0: int, count: int) -> None:
    """Copy numbers that lie side by side."""
    n = 0
    while n + LANES <= count:
        stored(to, to0 + n, loaded(x, x0 + n))
        n += LANES
    if n < count:
        stored_run(to, to0 + n, loaded_run(x, x0 + n, 0, count - n), 0, count - n)


@compiled(inner=True, within=True)
def _spread_out(x: Any, x0: int, to: Any, to0: int, one: LineSpans, first: int) -> None:
    """Every so many-th number of a line."""
    for n in range(-(-(one.width - first) // one.stride)):
        put(to, to0 + n, number(x, x0 + n * one.stride))
