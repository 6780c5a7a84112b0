"""A convolution on tiles in one pass over blocks of `LANES` vectors, which lie in the lanes of registers.

For every sample: pad; then for every block of positions, row of tiles and chip: greatest magnitudes, unfolding and
DAC; product; noise and ADC; bound management; scale, correct and add the bias, into the output as the next operator
reads it.
"""

from typing import Any

import numpy as np

from lhc.conductances import Floats
from lhc.runtime.code_pairs import pair_lines, taken
from lhc.runtime.compiled_code import compiled
from lhc.runtime.current_kernels import vector_noise, widened, with_currents
from lhc.runtime.image_places import TOGETHER, ImageMemory, ImagePlaces
from lhc.runtime.lane_pairs import are_pairs
from lhc.runtime.lanes import LANES, beyond, chosen, clipped, lesser, magnitude, spread, spread_word
from lhc.runtime.output_kernels import AfterSpans, Digital, completed, finished, within
from lhc.runtime.padding_kernel import line_spans
from lhc.runtime.product_kernels import ROWS, Drawn, draw_pair, draw_words, multiply, multiply_drawing, one_row
from lhc.runtime.spans import fetched, item, loaded, loaded_run, number, put, span, stored, stored_past, stored_run
from lhc.runtime.tile_kernels import ConverterCodes, PackedTiles, TileSpans, noisy, opened, sample_keys
from lhc.runtime.window_codes import BlockSpans, ImageSpans, block_spans, convert, drive, prepare, slot

__all__ = ["convolve"]

_NEAR = 2**17
"""Weights that stay in the second-level cache, beside a block's vectors."""
_FAR = 2**18
"""Numbers of an output that it does not hold."""


@compiled(inner=True, within=True)
def _read(
    tiles: TileSpans,
    row: int,
    place: int,
    inputs: int,
    rows: int,
    counter: int,
    output: int,
    codes: Any,
    operands: Any,
    codes0: Any,
    unit: Any,
    keys: int,
    counters: Any,
    n: int,
    block: BlockSpans,
    z: Any,
) -> int:
    """Products of a segment, with noise and rounded: codes of the ADC, and how many saturate.

    ``operands`` are the codes as products take them, ``unit`` is what one product of these counts. Keys of the images'
    noise begin at ``keys``; ``counters`` are those of the vectors.
    """
    k0 = _of_images(block.keys, keys, n, block)
    k1 = _of_images(block.keys, keys + block.pitch, n, block)
    drawn = Drawn(tiles.deviation, k0, k1, counters, block.words, block.noise)
    deviation = vector_noise(tiles, row, inputs, codes, codes0) if tiles.by_vector else spread(np.float32(1))
    saturated, lines = 0, taken(operands, inputs)
    for m in range(0, rows, ROWS):
        last = lesser(m + ROWS, rows)
        weights = place + m * lines
        if last - m == 1:
            one_row(tiles.operands, weights, ROWS, operands, codes0, lines, unit, z, m * LANES)
            if not tiles.silent:
                draw_words(drawn, counter + m // 4)
                draw_pair(drawn, False, 0)
        elif tiles.silent:
            multiply(tiles.operands, weights, ROWS, 1, operands, codes0, lines, unit, z, m * LANES, LANES)
        else:
            drawing = drawn, counter + m // 4
            multiply_drawing(tiles.operands, weights, operands, codes0, lines, unit, z, m * LANES, *drawing)
        if tiles.silent:
            for line in range(m, last):
                if tiles.has_currents:
                    _with_currents(tiles, row, weights + line - m, inputs, codes, codes0, z, line)
                saturated += noisy(z, line * LANES, item(tiles.offsets, output + line), tiles, output + line, False)
            continue
        for line in range(m, last):
            noise = loaded(block.noise, (line - m) * LANES)
            if tiles.by_vector:
                noise = noise * deviation
            if tiles.by_output:
                noise = noise * item(tiles.shares, output + line)
            if tiles.cell_mismatch > 0:
                noise = widened(tiles, noise, loaded(z, line * LANES))
            if tiles.has_currents:
                noise = noise * _with_currents(tiles, row, weights + line - m, inputs, codes, codes0, z, line)
            noise = noise + item(tiles.offsets, output + line)
            saturated += noisy(z, line * LANES, noise, tiles, output + line, False)
    return saturated


@compiled(inner=True)
def _with_currents(
    tiles: TileSpans, row: int, weights: int, inputs: int, codes: Any, codes0: int, z: Any, line: int
) -> Any:
    """See `with_currents`, of one output."""
    return with_currents(tiles, row, inputs, tiles.weights, weights, ROWS, codes, codes0, True, z, line * LANES)


@compiled(inner=True)
def _samples(image: ImageSpans, first: int, block: BlockSpans) -> None:
    """Samples of images that are numbered together, and the first counters there; ``first`` image of the stream."""
    for place in range(block.pitch):
        one = first + lesser(place, image.images - 1)
        sample = one // image.per_sample
        put(block.samples, place, np.uint32(sample))
        put(block.samples, block.pitch + place, np.uint32(sample >> 32))
        put(block.samples, 2 * block.pitch + place, np.uint32(one % image.per_sample * image.positions))


@compiled(inner=True, within=True)
def _keys_place(tiles: TileSpans, stream: int, round_: Any, block: BlockSpans) -> int:
    """Where keys of the images' noise lie; one group alone keeps those of the last repeated read."""
    kept: int = round_ if tiles.groups > 1 else lesser(round_, 1)
    return (kept * tiles.chips * tiles.rows + stream) * 2 * block.pitch


@compiled(inner=True)
def _make_keys(tiles: TileSpans, stream: int, round_: int, block: BlockSpans) -> None:
    """Keys of the noise of images, each its sample's."""
    place = _keys_place(tiles, stream, round_, block)
    for one in range(0, block.pitch, LANES):
        low, high = loaded(block.samples, one), loaded(block.samples, block.pitch + one)
        k0, k1 = sample_keys(tiles.keys, stream, low, high, round_)
        stored(block.keys, place + one, k0)
        stored(block.keys, place + block.pitch + one, k1)


@compiled(inner=True, within=True)
def _of_images(words: Any, place: int, n: int, block: BlockSpans) -> Any:
    """Of every vector of a block its image's word; ``place`` of the first image's."""
    first = number(block.image, n)
    if first == number(block.image, n + LANES - 1):
        return spread_word(number(words, place + first))
    for lane in range(LANES):
        put(block.words, lane, number(words, place + number(block.image, n + lane)))
    return loaded(block.words, 0)


@compiled(inner=True)
def _clip(z: Any, rows: int, limit: Any) -> None:
    for m in range(rows):
        stored(z, m * LANES, clipped(loaded(z, m * LANES), spread(limit)))


@compiled(inner=True)
def _saturating(z: Any, rows: int, limit: Any) -> Any:
    """1 for every vector that saturates, 0 for the others."""
    limits, one, found = spread(limit), spread(np.float32(1)), spread(np.float32(0))
    for m in range(rows):
        found = chosen(magnitude(loaded(z, m * LANES)), limits, one, found)
    return found


@compiled(inner=True, within=True)
def _ask_for(outputs: Any, place: int, rows: int, steps: tuple[int, int, int], n: int, block: BlockSpans) -> None:
    """Bring the outputs of a block into the caches while it is multiplied; they lie far apart in memory."""
    first = place + number(block.image, n) * steps[1] + np.int64(number(block.place, n))
    last = place + number(block.image, n + LANES - 1) * steps[1] + np.int64(number(block.place, n + LANES - 1))
    for line in range(rows):
        fetched(outputs, first + line * steps[2])
        fetched(outputs, first + line * steps[2] + LANES // 2)
        fetched(outputs, last + line * steps[2])


@compiled(inner=True, within=True)
def _store(
    z: Any,
    rows: int,
    tiles: TileSpans,
    output: int,
    adds: bool,
    block: BlockSpans,
    n: int,
    count: int,
    positions: int,
    out: Any,
    out0: int,
    sample_step: int,
    row_step: int,
    after: AfterSpans,
    after0: int,
    chip0: int,
) -> None:
    """Scale codes, and put or add them into the output; with the last row of tiles what else is to be done.

    ``after0`` is -1 before; ``chip0`` is the place of the chip's outputs.
    """
    vectors, first, last = loaded(block.scales, slot(n)), number(block.image, n), number(block.image, n + LANES - 1)
    if count == LANES and first == last:
        place = out0 + first * sample_step + np.int64(number(block.place, n))
        for m in range(rows):
            value = loaded(z, m * LANES) * item(tiles.scales, output + m) * vectors
            if adds:
                value = value + loaded(out, place)
            if after0 >= 0:
                value = completed(value, after, after0 + m)
                if after.adds:
                    value = value + loaded(after.addend, place - chip0)
                    # Those of the next vectors, which lie far from those of the next output.
                    fetched(after.addend, place - chip0 + LANES)
                    fetched(after.addend, place - chip0 + LANES + 16)
                value = within(value, after)
            if after.past and tiles.rows == 1:
                stored_past(out, place, value)
            else:
                stored(out, place, value)
            place += row_step
        return
    lane = 0
    while lane < count:  # image by image
        one, at = number(block.image, n + lane), np.int64(number(block.place, n + lane))
        end = lesser(count, lane + positions - at)
        place = out0 + one * sample_step + at
        for m in range(rows):
            value = loaded(z, m * LANES) * item(tiles.scales, output + m) * vectors
            if adds:
                value = value + loaded_run(out, place, lane, end)
            if after0 >= 0:
                value = completed(value, after, after0 + m)
                if after.adds:
                    value = value + loaded_run(after.addend, place - chip0, lane, end)
                value = within(value, after)
            stored_run(out, place, value, lane, end)
            place += row_step
        lane = end


@compiled(inner=True, within=True)
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
    counters: Any,
    block: BlockSpans,
) -> None:
    """Read saturating vectors again: each takes the first round in which it does not saturate the tile, or the last."""
    none, clip = spread(np.float32(0)), spread(tiles.output_clip)
    pending = _saturating(block.z, rows, tiles.output_limit)
    _clip(block.z, rows, tiles.output_clip)
    inputs = number(tiles.inputs, 2 * row + 1) - number(tiles.inputs, 2 * row)
    unit = number(tiles.units, stream // tiles.rows)
    for round_ in range(1, tiles.rounds):
        if beyond(pending, none) == 0:
            break
        convert(image, tiles, row, round_, n, kind, block, block.again, np.int64(0))
        if are_pairs(block.operands_again):
            pair_lines(block.again, np.int64(0), inputs, block.operands_again)
        if tiles.groups == 1:
            _make_keys(tiles, stream, round_, block)
        keys = _keys_place(tiles, stream, round_, block)
        _read(
            tiles, row, place, inputs, rows, counter, output,
            block.again, block.operands_again, np.int64(0), unit, keys, counters, n, block, block.z_again,
        )  # fmt: skip
        reduction = item(tiles.reductions, round_)
        for m in range(rows):
            code = clipped(loaded(block.z_again, m * LANES), clip) * reduction
            stored(block.z, m * LANES, chosen(pending, none, code, loaded(block.z, m * LANES)))
        pending = pending * _saturating(block.z_again, rows, tiles.output_limit)


@compiled(inner=True, within=True)
def _driven(image: ImageSpans, tiles: TileSpans, row: int, blocks: tuple[int, int, int], block: BlockSpans) -> None:
    """Codes of some blocks of vectors for a row of tiles."""
    inputs = number(tiles.inputs, 2 * row + 1) - number(tiles.inputs, 2 * row)
    for n in range(*blocks):
        if row == 0:
            counters = _of_images(block.samples, 2 * block.pitch, n, block) + loaded(block.place, n)
            stored(block.counters, slot(n), counters)
        kind, codes0 = number(block.kinds, n // LANES), slot(n) * block.longest
        drive(image, tiles, row, n, kind, block)
        convert(image, tiles, row, np.int64(0), n, kind, block, block.codes, codes0)
        if are_pairs(block.operands):
            spoilt = pair_lines(block.codes, codes0, inputs, block.operands)
            stored(block.scales, slot(n), loaded(block.scales, slot(n)) + spoilt)


@compiled(inner=True, within=True)
def _products(
    image: ImageSpans,
    tiles: TileSpans,
    group: int,
    blocks: tuple[int, int, int],
    block: BlockSpans,
    out: Any,
    out0: int,
    steps: tuple[int, int, int],
    after: AfterSpans,
    asks: bool,
) -> None:
    """All outputs of a group for some blocks of vectors, which meet every tile one after the other.

    ``blocks`` are the first vector, that behind them and their length; ``steps`` of the output from chip to chip,
    sample and row.
    """
    total = tiles.groups * tiles.outputs
    for row in range(tiles.rows):
        _driven(image, tiles, row, blocks, block)
        inputs = number(tiles.inputs, 2 * row + 1) - number(tiles.inputs, 2 * row)
        for chip in range(tiles.chips):
            stream = chip * tiles.rows + row
            keys, unit = _keys_place(tiles, stream, np.int64(0), block), number(tiles.units, chip)
            for cut in range(tiles.cuts):
                first = number(tiles.segments, group * (tiles.cuts + 1) + cut)
                rows = number(tiles.segments, group * (tiles.cuts + 1) + cut + 1) - first
                place = number(tiles.places, (stream * tiles.groups + group) * tiles.cuts + cut)
                counter = number(tiles.counters, group * tiles.cuts + cut)
                output = (stream * tiles.groups + group) * tiles.outputs + first
                target = out0 + chip * steps[0] + first * steps[2]
                after0 = (3 * chip * total + group * tiles.outputs + first) if row == tiles.rows - 1 else -1
                for n in range(*blocks):
                    codes0, counters = slot(n) * block.longest, loaded(block.counters, slot(n))
                    if row == 0 and asks:
                        _ask_for(out, target, rows, steps, n, block)
                    saturated = _read(
                        tiles, row, place, inputs, rows, counter, output,
                        block.codes, block.operands, codes0, unit, keys, counters, n, block, block.z,
                    )  # fmt: skip
                    if saturated > 0 and tiles.rounds > 1:
                        kind = number(block.kinds, n // LANES)
                        _managed(image, tiles, row, stream, place, rows, counter, output, n, kind, counters, block)
                    elif saturated > 0:
                        _clip(block.z, rows, tiles.output_clip)
                    _store(
                        block.z, rows, tiles, output, row > 0, block, n,
                        lesser(LANES, image.images * image.positions - n), image.positions,
                        out, target, steps[1], steps[2], after, after0, chip * steps[0],
                    )  # fmt: skip


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
    digital: Digital,
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
        digital: what is digital about the operator.
        out: takes the result, ``(chips, images, groups · outputs, positions)`` as one line.
    """
    tiles, source, target = opened(packed, io), span(x), span(out)
    finish = finished(digital, tiles.groups * tiles.outputs, len(out))
    positions, area = places.positions, places.channels * places.plane
    sizes = (places.images, positions, places.taps, places.channels, places.plane)
    lines = line_spans(places.channel)
    image = ImageSpans(*sizes, places.channel.moved, lines, span(places.offsets), per_sample)
    step = area if image.moved else tiles.groups * area
    steps = (images * tiles.groups * tiles.outputs * positions, tiles.groups * tiles.outputs * positions, positions)
    vectors, asks = image.images * positions, len(out) > _FAR and not (finish.past and tiles.rows == 1)
    # Weights that the second-level cache holds are read from there for every block. Of one channel, inputs are kept.
    large = tiles.chips * places.channels * places.taps * tiles.outputs > _NEAR
    together = TOGETHER if large and places.channels > 1 else LANES
    for s0 in range(chosen[0], chosen[0] + chosen[1], image.images):
        for group in range(tiles.groups):
            group0 = s0 * tiles.groups + group
            data, origin = (span(memory.padded), 0) if image.moved else (source, group0 * area)
            block = block_spans(places, memory, data, origin)
            prepare(source, image, tiles, group0, step, block)
            if group == 0:  # all groups have them
                _samples(image, first_image + s0, block)
                for stream in range(tiles.chips * tiles.rows):
                    for round_ in range(tiles.rounds if tiles.groups > 1 else 1):
                        _make_keys(tiles, stream, round_, block)
            out0 = group0 * tiles.outputs * positions
            for n in range(0, vectors, together):
                blocks = (n, lesser(n + together, vectors), LANES)
                _products(image, tiles, group, blocks, block, target, out0, steps, finish, asks)
