"""im2col with the DAC: padding, greatest magnitudes, unfolding and codes of a block of vectors."""

from typing import Any, NamedTuple

import numpy as np

from lhc.runtime.engines.compiled.conv.layout import (
    IN_EIGHTS,
    SIDE_BY_SIDE,
    TOGETHER,
    ChannelPlaces,
    ConvPlaces,
    ImageMemory,
)
from lhc.runtime.engines.compiled.kernels.adc_noise_and_currents import TileSpans, input_codes, unless_least
from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import (
    RUNS,
    fetched,
    gathered,
    item,
    joined,
    joined_runs,
    loaded,
    loaded_run,
    number,
    put,
    span,
    stored,
    stored_run,
)
from lhc.runtime.engines.compiled.numba_simd.vectors import (
    LANES,
    every_other,
    greater,
    larger,
    lesser,
    magnitude,
    spread,
    unless_zero,
)


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


@compiled(inner=True, within=True)
def slot(n: int) -> int:
    """Index of a vector among those of its block of `TOGETHER`; % would ask whether numbers are negative."""
    return n & (TOGETHER - 1)


class ImageSpans(NamedTuple):
    """`ConvPlaces`, and how many images are one sample."""

    images: int
    positions: int
    taps: int
    channels: int
    plane: int
    moved: bool
    lines: LineSpans
    offsets: Any
    per_sample: int


class BlockSpans(NamedTuple):
    """`ImageMemory` and the vectors of `ConvPlaces`; ``origin`` is the place of the first image in ``data``."""

    data: Any
    origin: int
    starts: Any
    of_planes: Any
    image: Any
    place: Any
    kinds: Any
    runs: Any
    runs_of_planes: Any
    masks: Any
    planes: Any
    longest: int
    codes: Any
    again: Any
    z: Any
    z_again: Any
    queue: Any
    tops: Any
    waiting: Any
    begins: Any
    scales: Any
    factors: Any
    inputs: Any
    pitch: int
    keys: Any
    samples: Any
    counters: Any
    words: Any
    noise: Any


@compiled(inner=True)
def block_spans(places: ConvPlaces, memory: ImageMemory, data: Any, origin: int) -> BlockSpans:
    """Pointers into arrays, which must outlive them."""
    return BlockSpans(
        data,
        origin,
        span(places.starts),
        span(places.of_planes),
        span(places.image),
        span(places.place),
        span(places.kinds),
        span(places.runs),
        span(places.runs_of_planes),
        span(places.masks),
        span(memory.planes),
        memory.longest,
        span(memory.codes),
        span(memory.again),
        span(memory.z),
        span(memory.z_again),
        span(memory.queue),
        span(memory.tops),
        span(memory.waiting),
        span(memory.begins),
        span(memory.scales),
        span(memory.factors),
        span(memory.inputs),
        memory.pitch,
        span(memory.keys),
        span(memory.samples),
        span(memory.counters),
        span(memory.words),
        span(memory.noise),
    )


@compiled(inner=True)
def _whole_channels(image: ImageSpans, tiles: TileSpans, row: int) -> tuple[int, int]:
    """The channels of which a row of tiles takes every tap; none where there is one tap, or one channel."""
    first, last = -(-number(tiles.inputs, 2 * row) // image.taps), number(tiles.inputs, 2 * row + 1) // image.taps
    return (first, last) if image.taps > 1 and image.channels > 1 and first < last else (0, 0)


@compiled(inner=True)
def _greatest(data: Any, place: int, plane: int, first: int, last: int, planes: Any, planes0: int) -> None:
    """Greatest magnitude over channels at every place of a plane."""
    whole = plane // LANES * LANES
    for n in range(0, whole, LANES):
        top = spread(np.float32(0))
        for c in range(first, last):
            top = greater(top, magnitude(loaded(data, place + c * plane + n)))
        stored(planes, planes0 + n, top)
    for n in range(whole, plane):
        most = np.float32(0)
        for c in range(first, last):
            most = larger(most, abs(number(data, place + c * plane + n)))
        put(planes, planes0 + n, most)


@compiled(inner=True, within=True)
def _in_runs(data: Any, place: int, runs: Any, n: int, kind: int, block: BlockSpans) -> Any:
    """An input of a block's vectors, of which few lie side by side."""
    return joined_runs(data, place, runs, block.masks, n // LANES * (2 * RUNS), kind)


@compiled(inner=True, within=True)
def _raised(
    top: Any,
    data: Any,
    place: int,
    offsets: Any,
    start: Any,
    stop: int,
    starts: Any,
    runs: Any,
    n: int,
    kind: int,
    block: BlockSpans,
) -> Any:
    """The greater of what is known and the magnitudes of some inputs."""
    if kind == SIDE_BY_SIDE:
        first = place + np.int64(number(starts, n))
        for k in range(start, stop):
            top = greater(top, magnitude(loaded(data, first + number(offsets, k))))
            # Those of the next block, which lie far from those of the next channel.
            fetched(data, first + number(offsets, k) + LANES)
            fetched(data, first + number(offsets, k) + LANES + LANES // 2)
    elif kind == IN_EIGHTS:
        for k in range(start, stop):
            top = greater(top, magnitude(joined(data, place + number(offsets, k), starts, n)))
    elif kind > 0:
        for k in range(start, stop):
            top = greater(top, magnitude(_in_runs(data, place + number(offsets, k), runs, n, kind, block)))
    else:
        for k in range(start, stop):
            top = greater(top, magnitude(gathered(data, place + number(offsets, k), loaded(starts, n))))
    return top


@compiled(inner=True, within=True)
def drive(image: ImageSpans, tiles: TileSpans, row: int, n: int, kind: int, block: BlockSpans) -> None:
    """Greatest magnitudes of a block's vectors; scales and, for the first read, factors."""
    taps = image.taps
    first, last = _whole_channels(image, tiles, row)
    start, stop = number(tiles.inputs, 2 * row), number(tiles.inputs, 2 * row + 1)
    top = spread(np.float32(0))
    if first < last:
        # The taps are the offsets in the first channel.
        top = _raised(
            top,
            block.planes,
            row * image.images * image.plane,
            image.offsets,
            np.int64(0),
            taps,
            block.of_planes,
            block.runs_of_planes,
            n,
            kind,
            block,
        )
        top = _raised(
            top, block.data, block.origin, image.offsets, start, first * taps, block.starts, block.runs, n, kind, block
        )
        start = last * taps
    if image.channels == 1:
        for k in range(start, stop):
            value = _input(block, block.origin + number(image.offsets, k), n, kind)
            stored(block.inputs, (k - start) * LANES, value)
            top = greater(top, magnitude(value))
    else:
        top = _raised(
            top, block.data, block.origin, image.offsets, start, stop, block.starts, block.runs, n, kind, block
        )
    one = spread(np.float32(1))
    if tiles.scales_vectors:
        top = unless_least(top, tiles)
        stored(block.scales, slot(n), top)
        stored(block.factors, slot(n), one / unless_zero(top, top, one))
    else:
        stored(block.scales, slot(n), unless_zero(top, one, spread(np.float32(0))))


@compiled(inner=True, within=True)
def _input(block: BlockSpans, place: int, n: int, kind: int) -> Any:
    """An input of a block's vectors."""
    if kind == SIDE_BY_SIDE:
        return loaded(block.data, place + np.int64(number(block.starts, n)))
    if kind == IN_EIGHTS:
        return joined(block.data, place, block.starts, n)
    if kind > 0:
        return _in_runs(block.data, place, block.runs, n, kind, block)
    return gathered(block.data, place, loaded(block.starts, n))


@compiled(inner=True, within=True)
def convert(
    image: ImageSpans,
    tiles: TileSpans,
    row: int,
    round_: Any,
    n: int,
    kind: int,
    block: BlockSpans,
    codes: Any,
    codes0: Any,
) -> None:
    """Unfold the inputs of a row of tiles and convert them."""
    range_, has_range, scale = item(tiles.ranges, row), number(tiles.ranges, row) > 0, spread(np.float32(1))
    if has_range:
        scale = scale / range_
    elif tiles.scales_vectors:
        scale = loaded(block.factors, slot(n))
    per_unit, rest = item(tiles.codes_per_unit, 2 * round_), item(tiles.codes_per_unit, 2 * round_ + 1)
    how = (scale, range_, has_range, per_unit, rest, tiles)
    start, stop = number(tiles.inputs, 2 * row), number(tiles.inputs, 2 * row + 1)
    # A loop for each kind: in one for all the compiler would ask for every input.
    if image.channels == 1:
        for k in range(stop - start):
            stored(codes, codes0 + k * LANES, input_codes(loaded(block.inputs, k * LANES), *how))
    elif kind == SIDE_BY_SIDE:
        place = block.origin + np.int64(number(block.starts, n))
        for k in range(start, stop):
            value = loaded(block.data, place + number(image.offsets, k))
            stored(codes, codes0 + (k - start) * LANES, input_codes(value, *how))
    elif kind == IN_EIGHTS:
        for k in range(start, stop):
            value = joined(block.data, block.origin + number(image.offsets, k), block.starts, n)
            stored(codes, codes0 + (k - start) * LANES, input_codes(value, *how))
    elif kind > 0:
        for k in range(start, stop):
            value = _in_runs(block.data, block.origin + number(image.offsets, k), block.runs, n, kind, block)
            stored(codes, codes0 + (k - start) * LANES, input_codes(value, *how))
    else:
        for k in range(start, stop):
            value = gathered(block.data, block.origin + number(image.offsets, k), loaded(block.starts, n))
            stored(codes, codes0 + (k - start) * LANES, input_codes(value, *how))


@compiled(inner=True)
def prepare(x: Any, image: ImageSpans, tiles: TileSpans, group0: int, step: int, block: BlockSpans) -> None:
    """Pad the channels of a group, and take the greatest magnitudes of its channels."""
    size = image.lines.line_count * image.lines.width
    for s in range(image.images):
        if image.moved:
            for c in range(image.channels):
                source = ((group0 + s * tiles.groups) * image.channels + c) * size
                pad(x, source, image.lines, block.data, s * step + c * image.plane)
        for row in range(tiles.rows):
            first, last = _whole_channels(image, tiles, row)
            if first < last:
                place, target = block.origin + s * step, (row * image.images + s) * image.plane
                _greatest(block.data, place, image.plane, first, last, block.planes, target)
