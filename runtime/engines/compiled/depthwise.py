"""Depthwise convolutions on tiles: every channel by itself, in one pass over blocks of `LANES` vectors.

Channels lie in memory as `ChannelPlaces` says. A vector is numbered by where its first input lies in the first phase;
numbers at the ends of lines stand for no vector.

For every image and channel: pad; then for every chip and block: greatest magnitudes, DAC, product, noise, ADC, scale
and the rest of the operator. Vectors that saturate wait in a queue for every round of bound management until they
fill a block: with copies in free cells every other vector is read again, but nearly every block holds one.

Bytes are those of `lhc.runtime.engines.compiled.conv.kernel`, which takes whatever is not `takes_channels`.
"""

from typing import Any, NamedTuple

import numpy as np

from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.programmed_matrix import Floats
from lhc.runtime.engines.compiled.conv.im2col_quantise import LineSpans, copy_line, line_spans, pad
from lhc.runtime.engines.compiled.conv.layout import ChannelPlaces, Integers, channel_places, kept_places
from lhc.runtime.engines.compiled.kernels.adc_noise_and_currents import (
    ConverterCodes,
    PackedTiles,
    TileSpans,
    input_codes,
    noisy,
    opened,
    sample_keys,
    unless_least,
)
from lhc.runtime.engines.compiled.kernels.epilogue import AfterSpans, completed, finished, within
from lhc.runtime.engines.compiled.kernels.products import ROWS
from lhc.runtime.engines.compiled.numba_simd.counter_rng_in_lanes import deviates, threefry_lanes
from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import (
    LINE,
    fetched,
    item,
    loaded,
    loaded_run,
    number,
    put,
    span,
    stored,
    stored_packed,
    stored_past,
    stored_run,
)
from lhc.runtime.engines.compiled.numba_simd.vectors import (
    LANES,
    beyond,
    chosen,
    clipped,
    floats,
    fused,
    greater,
    lesser,
    magnitude,
    numbered,
    spread,
    spread_word,
    unless_zero,
)
from lhc.runtime.engines.counter_rng import Words
from lhc.runtime.engines.protocol import Digital

QUEUE = 2 * LANES
"""Vectors that have a place in a queue of repeated reads."""


class DepthwisePlaces(NamedTuple):
    """Vectors of one channel; spatial axes are one.

    Attributes:
        channel: where it lies.
        positions: of every number its place among the outputs, ``(numbers,)``, whole blocks of `LANES`.
        out_lines: number of the first vector of each line of the output, ``(lines,)``.
        out_width: of such a line.
        queued: of every input in a queue of repeated reads, as offsets in a channel, ``(taps,)``.
    """

    channel: ChannelPlaces
    positions: Words
    out_lines: Integers
    out_width: int
    queued: Integers


class DepthwiseMemory(NamedTuple):
    """Memory of a call.

    Attributes:
        channel: of one image; zeros in the padding.
        found: outputs by number, ``(numbers,)``.
        z: products of a block, ``(LANES,)``.
        queue: inputs and scale of the vectors that are read again, by round, ``(rounds, taps + 1, QUEUE)``.
        words: their numbers and counters of noise, ``(rounds, 2, QUEUE)``.
        counts: how many they are, ``(rounds,)``.
        keys: of an image's noise, ``(chips, rounds, 2, LANES)``.
    """

    channel: Floats
    found: Floats
    z: Floats
    queue: Floats
    words: Words
    counts: Integers
    keys: Words


def depthwise_places(geometry: ConvGeometry, sizes: tuple[int, ...]) -> DepthwisePlaces:
    """Places in a channel of these sizes; ``geometry`` crops nothing."""
    return kept_places(("depthwise", geometry, sizes), lambda: _depthwise_places(geometry, sizes))


def _depthwise_places(geometry: ConvGeometry, sizes: tuple[int, ...]) -> DepthwisePlaces:
    channel, out = channel_places(geometry, sizes), geometry.output_sizes(sizes)
    positions = np.zeros(-(-(int(channel.vectors[-1]) + 1) // LANES) * LANES, np.uint32)
    positions[channel.vectors] = np.arange(len(channel.vectors))
    return DepthwisePlaces(
        channel=channel,
        positions=positions,
        out_lines=channel.vectors[:: out[-1]].copy(),
        out_width=out[-1],
        queued=np.arange(len(channel.offsets)) * QUEUE,
    )


def depthwise_memory(places: DepthwisePlaces, tiles: PackedTiles) -> DepthwiseMemory:
    """Memory of one call."""
    chips, rounds, taps = tiles.places.shape[0], len(tiles.codes_per_unit), len(places.channel.offsets)
    return DepthwiseMemory(
        # Blocks of vectors end behind it.
        np.zeros(places.channel.size + LANES, np.float32),
        np.empty(len(places.positions), np.float32),
        np.empty(LANES, np.float32),
        np.zeros(rounds * (taps + 1) * QUEUE, np.float32),
        np.zeros(rounds * 2 * QUEUE, np.uint32),
        np.zeros(rounds, np.int64),
        np.empty(chips * rounds * 2 * LANES, np.uint32),
    )


def takes_channels(tiles: PackedTiles, channels: int, outputs: int) -> bool:
    """Whether groups of so many channels and outputs are single ones with noise of one size."""
    plain = len(tiles.currents) == len(tiles.variances) == 0
    return plain and channels == outputs == 1 and tiles.places.shape[1] == 1 < tiles.places.shape[2]


class ChannelSpans(NamedTuple):
    """`DepthwisePlaces` and `DepthwiseMemory`."""

    taps: int
    offsets: Any
    queued: Any
    lines: LineSpans
    positions: Any
    numbers: int
    out_lines: Any
    out_line_count: int
    out_width: int
    channel: Any
    found: Any
    z: Any
    queue: Any
    words: Any
    counts: Any
    keys: Any


class Filter(NamedTuple):
    """Places of a channel's numbers on one chip."""

    keys: int
    counter: int
    output: int
    weights: int
    after: int


@compiled(inner=True)
def _spans(places: DepthwisePlaces, memory: DepthwiseMemory) -> ChannelSpans:
    return ChannelSpans(
        len(places.queued),
        span(places.channel.offsets),
        span(places.queued),
        line_spans(places.channel),
        span(places.positions),
        len(places.positions),
        span(places.out_lines),
        len(places.out_lines),
        places.out_width,
        span(memory.channel),
        span(memory.found),
        span(memory.z),
        span(memory.queue),
        span(memory.words),
        span(memory.counts),
        span(memory.keys),
    )


@compiled(inner=True, within=True)
def _copy_past(x: Any, to: Any, to0: int, count: int) -> None:
    """Copy numbers past the caches."""
    n = 0
    while n + LANES <= count:
        stored_past(to, to0 + n, loaded(x, n))
        n += LANES
    if n < count:
        stored_run(to, to0 + n, loaded_run(x, n, 0, count - n), 0, count - n)


@compiled(inner=True, within=True)
def _add(x: Any, x0: int, after: AfterSpans, addend0: int, to: Any, to0: int, count: int) -> None:
    """Copy outputs, and add what is to be added."""
    n = 0
    while n + LANES <= count:
        stored(to, to0 + n, within(loaded(x, x0 + n) + loaded(after.addend, addend0 + n), after))
        n += LANES
    if n < count:
        total = loaded_run(x, x0 + n, 0, count - n) + loaded_run(after.addend, addend0 + n, 0, count - n)
        stored_run(to, to0 + n, within(total, after), 0, count - n)


@compiled(inner=True, within=True)
def _read(
    tiles: TileSpans,
    one: ChannelSpans,
    own: Filter,
    round_: Any,
    top: Any,
    counters: Any,
    inputs: Any,
    place: int,
    offsets: Any,
) -> int:
    """Codes of the ADC for a block of vectors, in ``z``, and how many saturate.

    Args:
        top: greatest magnitudes.
        inputs: hold those of the vectors, at ``offsets`` from ``place``.
    """
    range_, unit = item(tiles.ranges, np.int64(0)), spread(np.float32(1))
    per_unit, rest = item(tiles.codes_per_unit, 2 * round_), item(tiles.codes_per_unit, 2 * round_ + 1)
    has_range, scale = number(tiles.ranges, np.int64(0)) > 0, unit
    if has_range:
        scale = unit / range_
    elif tiles.scales_vectors:
        scale = unit / unless_zero(top, top, unit)
    total = spread(np.float32(0))
    for k in range(one.taps):
        value = loaded(inputs, place + number(offsets, k))
        code = input_codes(value, scale, range_, has_range, per_unit, rest, tiles)
        total = fused(item(tiles.weights, own.weights + k * ROWS), code, total)
    stored(one.z, 0, total)
    noise = item(tiles.offsets, own.output)
    if not tiles.silent:
        keys = (own.keys + round_) * 2 * LANES
        k0, k1 = loaded(one.keys, keys), loaded(one.keys, keys + LANES)
        w0, _ = threefry_lanes(k0, k1, counters, spread_word(np.uint32(own.counter)))
        noise = deviates(tiles.deviation, w0) + noise
    return noisy(one.z, 0, noise, tiles)


@compiled(inner=True, within=True)
def _output(tiles: TileSpans, own: Filter, after: AfterSpans, code: Any, top: Any) -> Any:
    """Output value of a code, with the digital rest of the operator up to an addition."""
    vectors = top
    if not tiles.scales_vectors:
        vectors = unless_zero(top, spread(np.float32(1)), spread(np.float32(0)))
    value = completed(code * item(tiles.scales, own.output) * vectors, after, own.after)
    return value if after.adds else within(value, after)


@compiled(inner=True, within=True)
def _wait(
    tiles: TileSpans,
    one: ChannelSpans,
    round_: int,
    code: Any,
    saturated: int,
    top: Any,
    numbers: Any,
    counters: Any,
    inputs: Any,
    place: int,
    offsets: Any,
) -> None:
    """Put the vectors of a block that saturate into the queue of a round."""
    size, limit, count = magnitude(code), spread(tiles.output_limit), number(one.counts, round_)
    line = round_ * (one.taps + 1) * QUEUE + count
    for k in range(one.taps):
        stored_packed(one.queue, line + k * QUEUE, loaded(inputs, place + number(offsets, k)), size, limit)
    stored_packed(one.queue, line + one.taps * QUEUE, top, size, limit)
    stored_packed(one.words, round_ * 2 * QUEUE + count, numbers, size, limit)
    stored_packed(one.words, (round_ * 2 + 1) * QUEUE + count, counters, size, limit)
    put(one.counts, round_, count + saturated)


@compiled(inner=True, within=True)
def _read_first(tiles: TileSpans, one: ChannelSpans, own: Filter, after: AfterSpans, first: int, counter: Any) -> None:
    """Read a block; vectors that saturate wait for the next round, if there is one."""
    top = spread(np.float32(0))
    for k in range(one.taps):
        top = greater(top, magnitude(loaded(one.channel, first + number(one.offsets, k))))
    top = unless_least(top, tiles)
    counters = loaded(one.positions, first) + counter
    saturated = _read(tiles, one, own, np.int64(0), top, counters, one.channel, first, one.offsets)
    code = loaded(one.z, 0)
    stored(one.found, first, _output(tiles, own, after, clipped(code, spread(tiles.output_clip)), top))
    if saturated > 0 and tiles.rounds > 1:
        numbers = numbered(np.uint32(first))
        _wait(tiles, one, 1, code, saturated, top, numbers, counters, one.channel, first, one.offsets)


@compiled(inner=True, within=True)
def _read_again(tiles: TileSpans, one: ChannelSpans, own: Filter, after: AfterSpans, round_: int) -> None:
    """Read the last block of a queue: those that saturate once more wait for the next round, if there is one."""
    count = number(one.counts, round_)
    some = lesser(count, LANES)
    first = count - some
    put(one.counts, round_, first)
    line = round_ * (one.taps + 1) * QUEUE + first
    top = loaded(one.queue, line + one.taps * QUEUE)
    numbers = loaded(one.words, round_ * 2 * QUEUE + first)
    counters = loaded(one.words, (round_ * 2 + 1) * QUEUE + first)
    saturated = _read(tiles, one, own, round_, top, counters, one.queue, line, one.queued)
    code = loaded(one.z, 0)
    stored(
        one.z,
        0,
        _output(tiles, own, after, clipped(code, spread(tiles.output_clip)) * item(tiles.reductions, round_), top),
    )
    for lane in range(some):
        place = np.int64(number(one.words, round_ * 2 * QUEUE + first + lane))
        put(one.found, place, number(one.z, lane))
    if saturated > 0 and round_ + 1 < tiles.rounds:
        last = spread(np.float32(some) - np.float32(0.5))
        code = chosen(last, floats(numbered(np.uint32(0))), code, spread(np.float32(0)))
        waiting = beyond(magnitude(code), spread(tiles.output_limit))
        _wait(tiles, one, round_ + 1, code, waiting, top, numbers, counters, one.queue, line, one.queued)


@compiled(inner=True, within=True)
def _read_full(tiles: TileSpans, one: ChannelSpans, own: Filter, after: AfterSpans, round_: int) -> None:
    """Read the blocks that fill up, in the queue of a round and in those that they fill in turn."""
    for later in range(round_, tiles.rounds):
        if number(one.counts, later) < LANES:
            return
        _read_again(tiles, one, own, after, later)


@compiled(inner=True)
def _channel(
    tiles: TileSpans, one: ChannelSpans, own: Filter, after: AfterSpans, counter: Any, x: Any, ahead: Any, lines: int
) -> None:
    """All vectors of a channel on one chip; ``counter`` of the first one's noise.

    Meanwhile what lies at ``ahead`` is brought into the caches, so many lines of them with every block.
    """
    for first in range(0, one.numbers, LANES):
        for _ in range(lines):
            fetched(x, ahead)
            ahead += LINE
        _read_first(tiles, one, own, after, first, counter)
        _read_full(tiles, one, own, after, 1)
    for round_ in range(1, tiles.rounds):
        while number(one.counts, round_) > 0:
            _read_again(tiles, one, own, after, round_)
            # A queue has room for less than a block and one block more.
            _read_full(tiles, one, own, after, round_ + 1)


@compiled(inner=True)
def _filter(tiles: TileSpans, chip: int, group: int) -> Filter:
    """The numbers of a channel, which lies on one of the columns of tiles."""
    cut = 0
    while number(tiles.segments, group * (tiles.cuts + 1) + cut + 1) == 0:
        cut += 1
    return Filter(
        chip * tiles.rounds,
        number(tiles.counters, group * tiles.cuts + cut),
        chip * tiles.groups + group,
        number(tiles.places, (chip * tiles.groups + group) * tiles.cuts + cut),
        3 * chip * tiles.groups + group,
    )


@compiled(inner=True)
def _make_keys(tiles: TileSpans, one: ChannelSpans, sample: int) -> None:
    """Keys of a sample's noise, by chip and round."""
    low, high = spread_word(np.uint32(sample)), spread_word(np.uint32(sample >> 32))
    for chip in range(tiles.chips):
        for round_ in range(tiles.rounds):
            k0, k1 = sample_keys(tiles.keys, chip, low, high, round_)
            place = (chip * tiles.rounds + round_) * 2 * LANES
            stored(one.keys, place, k0)
            stored(one.keys, place + LANES, k1)


@compiled()
def convolve_channels(
    x: Floats,
    places: DepthwisePlaces,
    packed: PackedTiles,
    io: ConverterCodes,
    memory: DepthwiseMemory,
    images: int,
    first_image: int,
    per_sample: int,
    digital: Digital,
    out: Floats,
) -> None:
    """Convolve every channel of images.

    Args:
        x: ``(images, channels, *spatial)`` as one line.
        places: in one channel.
        packed: what multiplies, see `takes_channels`.
        first_image: number of the first in the stream; fixes the noise.
        per_sample: images that are one sample.
        digital: what is digital about the operator.
        out: takes the result, ``(chips, images, channels, positions)`` as one line.
    """
    tiles, one, source, target = opened(packed, io), _spans(places, memory), span(x), span(out)
    after = finished(digital, tiles.groups, len(out))
    area, positions = one.lines.line_count * one.lines.width, one.out_line_count * one.out_width
    lines = -(-area // LINE // (one.numbers // LANES))
    for image in range(images):
        number_ = first_image + image
        _make_keys(tiles, one, number_ // per_sample)
        counter = spread_word(np.uint32(number_ % per_sample * positions))
        for group in range(tiles.groups):
            pad(source, (image * tiles.groups + group) * area, one.lines, one.channel, np.int64(0))
            for chip in range(tiles.chips):
                ahead = np.int64((image * tiles.groups + group + 1) * area)
                _channel(tiles, one, _filter(tiles, chip, group), after, counter, source, ahead, lines)
                own0 = (image * tiles.groups + group) * positions
                out0 = chip * images * tiles.groups * positions + own0
                if after.adds:
                    for line in range(one.out_line_count):
                        start, first = number(one.out_lines, line), line * one.out_width
                        _add(one.found, start, after, own0 + first, target, out0 + first, one.out_width)
                    continue
                if after.past and positions & (LINE - 1) == 0:  # a channel's outputs are whole lines
                    # No number moves to where one lies that is still to move.
                    for line in range(one.out_line_count):
                        start = number(one.out_lines, line)
                        copy_line(one.found, start, one.found, line * one.out_width, one.out_width)
                    _copy_past(one.found, target, out0, positions)
                    continue
                for line in range(one.out_line_count):
                    start = number(one.out_lines, line)
                    copy_line(one.found, start, target, out0 + line * one.out_width, one.out_width)
