"""A convolution on tiles in one pass over blocks of `LANES` vectors, which lie in the lanes of registers.

For every sample: pad; then for every block of positions, row of tiles and chip: greatest magnitudes, unfolding and
DAC; product; noise and ADC; bound management; scale, into the output as the next operator reads it.
"""

from typing import Any

import numpy as np

from lhc.conductances import Floats
from lhc.runtime.compiled_code import compiled
from lhc.runtime.image_places import ImageMemory, ImagePlaces
from lhc.runtime.lanes import LANES, clipped, item, loaded, number, put, span, spread, spread_word, stored
from lhc.runtime.normals import threefry_lanes
from lhc.runtime.tile_kernels import (
    ROWS,
    ConverterCodes,
    PackedTiles,
    TileSpans,
    deviate,
    multiply,
    noisy,
    opened,
    sample_keys,
)
from lhc.runtime.window_codes import BlockSpans, ImageSpans, block_spans, convert, drive, prepare

__all__ = ["convolve"]


@compiled(inner=True)
def _read(
    tiles: TileSpans,
    place: int,
    inputs: int,
    rows: int,
    counter: int,
    output: int,
    codes: Any,
    block: BlockSpans,
    z: Any,
) -> int:
    """Products of a segment, with noise and rounded: codes of the ADC, and how many saturate."""
    shift, limit = spread(tiles.output_shift), spread(tiles.output_limit)
    k0, k1, x = loaded(block.keys, 0), loaded(block.keys, LANES), loaded(block.samples, 2 * LANES)
    half = spread_word(np.uint32(16))
    saturated = 0
    for m in range(0, rows, ROWS):
        multiply(tiles.weights, place + m * inputs, ROWS, 1, codes, 0, inputs, z, m * LANES, LANES)
        last = min(m + ROWS, rows)
        if tiles.silent:
            for line in range(m, last):
                saturated += noisy(z, line * LANES, item(tiles.offsets, output + line), shift, limit)
            continue
        for four in range(m, last, 4):
            w0, w1 = threefry_lanes(k0, k1, x, spread_word(np.uint32(counter + four // 4)))
            for line in range(four, min(four + 4, last)):
                saturated += noisy(
                    z, line * LANES, deviate(tiles.levels, w0) + item(tiles.offsets, output + line), shift, limit
                )
                w0, w1 = w1, w0 << half
    return saturated


@compiled(inner=True)
def _counters(image: ImageSpans, first: int, n: int, block: BlockSpans) -> None:
    """Samples of a block's vectors, and their counters there; ``first`` image of the stream."""
    last = np.int64(-1)
    sample, before = np.int64(0), np.int64(0)
    for lane in range(LANES):
        image_ = first + number(block.image, n + lane)
        if image_ != last:
            last = image_
            sample, before = image_ // image.per_sample, image_ % image.per_sample * image.positions
        put(block.samples, lane, np.uint32(sample))
        put(block.samples, LANES + lane, np.uint32(sample >> 32))
        put(block.samples, 2 * LANES + lane, np.uint32(before + number(block.place, n + lane)))


@compiled(inner=True)
def _keys(tiles: TileSpans, stream: int, round_: Any, block: BlockSpans) -> None:
    """Keys of a block's noise, of every vector its sample's."""
    k0, k1 = sample_keys(tiles.keys, stream, block.samples, LANES, round_)
    stored(block.keys, 0, k0)
    stored(block.keys, LANES, k1)


@compiled(inner=True)
def _saturates(z: Any, rows: int, limit: Any, lane: int) -> bool:
    for m in range(rows):  # noqa: SIM110 - numba compiles no generator here
        if abs(number(z, m * LANES + lane)) > limit:
            return True
    return False


@compiled(inner=True)
def _clip(z: Any, rows: int, limit: Any) -> None:
    for m in range(rows):
        stored(z, m * LANES, clipped(loaded(z, m * LANES), spread(limit)))


@compiled(inner=True)
def _store(
    z: Any,
    rows: int,
    tiles: TileSpans,
    output: int,
    adds: bool,
    block: BlockSpans,
    n: int,
    count: int,
    out: Any,
    out0: int,
    sample_step: int,
    row_step: int,
) -> None:
    """Scale codes, and put or add them into the output."""
    first = number(block.image, n)
    whole = count == LANES and first == number(block.image, n + LANES - 1)
    vectors = loaded(block.scales, 0)
    for m in range(rows):
        value = loaded(z, m * LANES) * item(tiles.scales, output + m) * vectors
        place = out0 + m * row_step
        if whole:
            place += first * sample_step + np.int64(number(block.place, n))
            if adds:
                value = value + loaded(out, place)
            stored(out, place, value)
        else:
            stored(block.line, 0, value)
            for lane in range(count):
                target = place + number(block.image, n + lane) * sample_step + np.int64(number(block.place, n + lane))
                one = number(block.line, lane)
                put(out, target, number(out, target) + one if adds else one)


@compiled(inner=True)
def _managed(
    image: ImageSpans,
    tiles: TileSpans,
    row: int,
    stream: int,
    place: int,
    rows: int,
    counter: int,
    output: int,
    n: int,
    kind: int,
    block: BlockSpans,
) -> None:
    """Read saturating vectors again: each takes the first round in which it does not saturate the tile, or the last."""
    clip, left = tiles.output_clip, 0
    for lane in range(LANES):
        pending = _saturates(block.z, rows, tiles.output_limit, lane)
        put(block.pending, lane, np.int64(pending))
        left += pending
    _clip(block.z, rows, clip)
    inputs = number(tiles.inputs, 2 * row + 1) - number(tiles.inputs, 2 * row)
    for round_ in range(1, tiles.rounds):
        if left == 0:
            break
        convert(image, tiles, row, round_, n, kind, block, block.again)
        _keys(tiles, stream, round_, block)
        _read(tiles, place, inputs, rows, counter, output, block.again, block, block.z_again)
        left = 0
        for lane in range(LANES):
            if number(block.pending, lane) == 0:
                continue
            pending = _saturates(block.z_again, rows, tiles.output_limit, lane)
            put(block.pending, lane, np.int64(pending))
            left += pending
            for m in range(rows):
                code = min(max(number(block.z_again, m * LANES + lane), -clip), clip)
                put(block.z, m * LANES + lane, code * number(tiles.reductions, round_))
    _keys(tiles, stream, np.int64(0), block)


@compiled(inner=True)
def _products(
    image: ImageSpans,
    tiles: TileSpans,
    group: int,
    first_image: int,
    n: int,
    kind: int,
    count: int,
    block: BlockSpans,
    out: Any,
    out0: int,
    steps: tuple[int, int, int],
) -> None:
    """All outputs of a group for one block of vectors; ``steps`` of the output from chip to chip, sample and row."""
    _counters(image, first_image, n, block)
    for row in range(tiles.rows):
        drive(image, tiles, row, n, kind, block)
        convert(image, tiles, row, np.int64(0), n, kind, block, block.codes)
        inputs = number(tiles.inputs, 2 * row + 1) - number(tiles.inputs, 2 * row)
        for chip in range(tiles.chips):
            stream = chip * tiles.rows + row
            _keys(tiles, stream, np.int64(0), block)
            for cut in range(tiles.cuts):
                first = number(tiles.segments, group * (tiles.cuts + 1) + cut)
                rows = number(tiles.segments, group * (tiles.cuts + 1) + cut + 1) - first
                place = number(tiles.places, (stream * tiles.groups + group) * tiles.cuts + cut)
                counter = number(tiles.counters, group * tiles.cuts + cut)
                output = (stream * tiles.groups + group) * tiles.outputs + first
                saturated = _read(tiles, place, inputs, rows, counter, output, block.codes, block, block.z)
                if saturated > 0 and tiles.rounds > 1:
                    _managed(image, tiles, row, stream, place, rows, counter, output, n, kind, block)
                elif saturated > 0:
                    _clip(block.z, rows, tiles.output_clip)
                target = out0 + chip * steps[0] + first * steps[2]
                _store(block.z, rows, tiles, output, row > 0, block, n, count, out, target, steps[1], steps[2])


@compiled()
def convolve(
    x: Floats,
    places: ImagePlaces,
    packed: PackedTiles,
    io: ConverterCodes,
    memory: ImageMemory,
    images: int,
    chosen: tuple[int, int],
    first_image: int,
    per_sample: int,
    out: Floats,
) -> None:
    """Convolve images.

    Args:
        x: ``(images, groups · channels, *spatial)`` as one line.
        places: where things lie in some of them.
        packed: what multiplies.
        chosen: the first, and how many: a multiple of those that are numbered together.
        first_image: number of the first of all in the stream; fixes the noise.
        per_sample: images that are one sample.
        out: takes the result, ``(chips, images, groups · outputs, positions)`` as one line.
    """
    tiles, source, target = opened(packed, io), span(x), span(out)
    positions, area = places.positions, places.channels * places.plane
    sizes = (places.images, positions, places.taps, places.channels, places.plane, places.pads)
    image = ImageSpans(*sizes, span(places.lines), len(places.lines), places.width, span(places.offsets), per_sample)
    step = area if image.pads else tiles.groups * area
    steps = (images * tiles.groups * tiles.outputs * positions, tiles.groups * tiles.outputs * positions, positions)
    vectors = image.images * positions
    for s0 in range(chosen[0], chosen[0] + chosen[1], image.images):
        for group in range(tiles.groups):
            group0 = s0 * tiles.groups + group
            data, origin = (span(memory.padded), 0) if image.pads else (source, group0 * area)
            block = block_spans(places, memory, data, origin)
            prepare(source, image, tiles, group0, step, block)
            for n in range(0, vectors, LANES):
                count, kind = min(LANES, vectors - n), places.kinds[n // LANES]
                out0 = group0 * tiles.outputs * positions
                _products(image, tiles, group, first_image + s0, n, kind, count, block, target, out0, steps)
