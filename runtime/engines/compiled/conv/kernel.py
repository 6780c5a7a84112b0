"""Convolutions on tiles, in one pass over blocks of `LANES` vectors, which lie in the lanes of registers.

For every sample: pad; then for every block of positions, row of tiles and chip: greatest magnitudes, unfolding and
DAC; product; noise and ADC; bound management; scale, correct and add the bias, into the output as the next operator
reads it.

A vector that saturates an output is read again with smaller inputs, and nothing of its first read is kept. So a read
ends where every vector has saturated; and vectors that are read again are taken together from blocks whose products
wait for them, where they are few of each.
"""

from typing import Any, NamedTuple

import numpy as np

from lhc.programmed_matrix import Floats
from lhc.runtime.engines.compiled.conv.im2col_quantise import (
    BlockSpans,
    ImageSpans,
    block_spans,
    convert,
    drive,
    line_spans,
    prepare,
    slot,
)
from lhc.runtime.engines.compiled.conv.layout import TOGETHER, ConvPlaces, ImageMemory
from lhc.runtime.engines.compiled.kernels.adc_noise_and_currents import (
    ConverterCodes,
    PackedTiles,
    TileSpans,
    opened,
    rounded,
    sample_keys,
    vector_noise,
    with_currents,
)
from lhc.runtime.engines.compiled.kernels.epilogue import AfterSpans, completed, finished, within
from lhc.runtime.engines.compiled.kernels.products import (
    ROWS,
    Drawn,
    draw_pair,
    draw_words,
    multiply,
    multiply_drawing,
    one_row,
)
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
    unpacked,
)
from lhc.runtime.engines.compiled.numba_simd.vectors import (
    LANES,
    beyond,
    chosen,
    clipped,
    floats,
    greater,
    lesser,
    numbered,
    spread,
    spread_word,
)
from lhc.runtime.engines.protocol import Digital


class TileOutputs(NamedTuple):
    """Outputs of a group on one tile.

    Attributes:
        row: of tiles.
        stream: number of its noise, by chip and row of tiles.
        weights: place of its first block.
        inputs, outputs: how many.
        counter: first one of its noise.
        output: number of its first output.
    """

    row: int
    stream: int
    weights: int
    inputs: int
    outputs: int
    counter: int
    output: int


class Vectors(NamedTuple):
    """Vectors of a block: their codes, their offsets, and the keys and counters of their noise."""

    codes: Any
    first: Any
    k0: Any
    k1: Any
    counters: Any


@compiled(inner=True, within=True)
def read(
    tiles: TileSpans,
    one: TileOutputs,
    some: Vectors,
    round_: int,
    block: BlockSpans,
    z: Any,
    z0: Any,
    top: Any,
    stop: Any,
    ahead: Any,
) -> Any:
    """Products of a segment, with noise and rounded: codes of the ADC.

    Args:
        z: takes them, from ``z0`` on.
        round_: of bound management.
        top: least of the result.
        stop: where all lanes of the result are greater, outputs that are left are not read.
        ahead: place of weights that are brought into the caches meanwhile, and how many lines of them with each block
            of products.

    Returns:
        The greatest magnitudes.
    """
    codes0, length = some.first, one.inputs
    drawn = Drawn(tiles.deviation, some.k0, some.k1, some.counters, block.words, block.noise)
    deviation = spread(np.float32(1))
    if tiles.by_vector:
        deviation = vector_noise(tiles, one.row, one.inputs, some.codes, codes0)
    # Where all of the block before had saturated: such outputs saturate in most vectors.
    m = number(block.begins, round_)
    m = m if m < one.outputs else 0
    for _ in range(0, one.outputs, ROWS):
        last = lesser(m + ROWS, one.outputs)
        weights, to, counter = one.weights + m * length, z0 + m * LANES, one.counter + m // 4
        for line in range(ahead[1]):
            fetched(tiles.weights, ahead[0] + m * length + line * LINE)
        if last - m == 1:
            one_row(tiles.weights, weights, ROWS, some.codes, codes0, length, z, to)
            if not tiles.silent:
                draw_words(drawn, counter)
                draw_pair(drawn, np.int64(0))
        elif tiles.silent:
            multiply(tiles.weights, weights, ROWS, 1, some.codes, codes0, length, z, to, LANES)
        else:
            drawing = drawn, counter
            multiply_drawing(tiles.weights, weights, some.codes, codes0, length, z, to, *drawing)
        for line in range(last - m):
            place, output = to + line * LANES, one.output + m + line
            drawn_here = loaded(block.noise, line * LANES)
            noise = _noise(tiles, one, some, weights + line, output, drawn_here, deviation, z, place)
            top = greater(rounded(z, place, noise, tiles), top)
        if beyond(top, stop) == LANES:
            put(block.begins, round_, m)
            break
        m = m + ROWS if m + ROWS < one.outputs else 0
    return top


@compiled(inner=True, within=True)
def _noise(
    tiles: TileSpans, one: TileOutputs, some: Vectors, weights: int, output: int, noise: Any, deviation: Any, z: Any,
    place: Any,
) -> Any:  # fmt: skip
    """Noise on an output's products before rounding, from standard deviates; currents change the products."""
    if tiles.silent:
        if tiles.has_currents:
            _with_currents(tiles, one.row, weights, one.inputs, some.codes, some.first, z, place)
        return item(tiles.offsets, output)
    if tiles.by_vector:
        noise = noise * deviation
    if tiles.has_currents:
        noise = noise * _with_currents(tiles, one.row, weights, one.inputs, some.codes, some.first, z, place)
    return noise + item(tiles.offsets, output)


@compiled(inner=True)
def _with_currents(
    tiles: TileSpans, row: int, weights: int, inputs: int, codes: Any, codes0: int, z: Any, place: int
) -> Any:
    """See `with_currents`, of one output."""
    return with_currents(tiles, row, inputs, tiles.weights, weights, ROWS, codes, codes0, True, z, place)


@compiled(inner=True, within=True)
def segment_keys(tiles: TileSpans, stream: int, round_: Any, block: BlockSpans) -> int:
    """Place of the keys of the images' noise; one group alone keeps those of the last repeated read."""
    kept: int = round_ if tiles.groups > 1 else lesser(round_, 1)
    return (kept * tiles.chips * tiles.rows + stream) * 2 * block.pitch


@compiled(inner=True)
def make_keys(tiles: TileSpans, stream: int, round_: int, block: BlockSpans) -> None:
    """Keys of the noise of images, each its sample's."""
    place = segment_keys(tiles, stream, round_, block)
    for one in range(0, block.pitch, LANES):
        low, high = loaded(block.samples, one), loaded(block.samples, block.pitch + one)
        k0, k1 = sample_keys(tiles.keys, stream, low, high, round_)
        stored(block.keys, place + one, k0)
        stored(block.keys, place + block.pitch + one, k1)


@compiled(inner=True, within=True)
def of_images(words: Any, place: int, n: int, block: BlockSpans) -> Any:
    """Word of the image of every vector in a block; ``place`` is that of the first image."""
    first = number(block.image, n)
    if first == number(block.image, n + LANES - 1):
        return spread_word(number(words, place + first))
    for lane in range(LANES):
        put(block.words, lane, number(words, place + number(block.image, n + lane)))
    return loaded(block.words, 0)


@compiled(inner=True, within=True)
def vectors_of(codes: Any, first: Any, keys: int, n: int, block: BlockSpans) -> Vectors:
    """Vectors of the block that begins with a given one; the keys of the images' noise begin at ``keys``."""
    k0, k1 = of_images(block.keys, keys, n, block), of_images(block.keys, keys + block.pitch, n, block)
    return Vectors(codes, first, k0, k1, loaded(block.counters, slot(n)))


@compiled(inner=True, within=True)
def z_place(one: TileOutputs, number_: int) -> Any:
    """Place of the first product of a block that waits, by its number."""
    return np.int64(number_ * -(-one.outputs // ROWS) * ROWS * LANES)


@compiled(inner=True, within=True)
def _packed(one: TileOutputs, block: BlockSpans) -> Vectors:
    """The vectors that `_pack` has put side by side, as a block."""
    for k in range(one.inputs):
        stored(block.again, k * LANES, loaded(block.queue, k * 2 * LANES))
    first = 2 * LANES
    k0, k1 = loaded(block.words, first), loaded(block.words, first + 2 * LANES)
    return Vectors(block.again, np.int64(0), k0, k1, loaded(block.words, first + 4 * LANES))


@compiled(inner=True, within=True)
def _pack(one: TileOutputs, some: Vectors, top: Any, limit: Any, place: int, block: BlockSpans) -> None:
    """Put the vectors of a block that saturate behind others."""
    for k in range(one.inputs):
        stored_packed(block.queue, k * 2 * LANES + place, loaded(some.codes, some.first + k * LANES), top, limit)
    first = 2 * LANES + place
    stored_packed(block.words, first, some.k0, top, limit)
    stored_packed(block.words, first + 2 * LANES, some.k1, top, limit)
    stored_packed(block.words, first + 4 * LANES, some.counters, top, limit)


@compiled(inner=True, within=True)
def _replace(
    tiles: TileSpans, one: TileOutputs, round_: int, blocks: tuple[int, int], top: Any, block: BlockSpans
) -> None:
    """Codes of a repeated read take the place of those of the vectors of some blocks that wait."""
    limit, clip, nothing = spread(tiles.output_limit), spread(tiles.output_clip), spread(np.float32(0))
    reduction, place = item(tiles.reductions, round_), 0
    keeps = round_ + 1 == tiles.rounds or beyond(top, limit) < LANES
    stored(block.z_again, one.outputs * LANES, top)
    for number_ in range(*blocks):
        waits, z0 = loaded(block.tops, number_ * LANES), z_place(one, number_)
        count = beyond(waits, limit)
        if count == 0:
            continue
        for m in range(one.outputs if keeps else 0):
            code = unpacked(block.z_again, m * LANES + place, waits, limit, nothing)
            code = clipped(code, clip) * reduction
            to = z0 + m * LANES
            stored(block.z, to, chosen(waits, limit, code, loaded(block.z, to)))
        stored(block.tops, number_ * LANES, unpacked(block.z_again, one.outputs * LANES + place, waits, limit, nothing))
        place += count


@compiled(inner=True, within=True)
def managed(image: ImageSpans, tiles: TileSpans, one: TileOutputs, waiting: int, block: BlockSpans) -> None:
    """Read saturating vectors of blocks that wait again: each takes the first round in which it does not, or the last.

    Where the greatest magnitudes of ``block.tops`` are beyond the limit, vectors wait.
    """
    limit, nothing = spread(tiles.output_limit), spread(np.float32(0))
    never = spread(np.float32(np.inf))
    lanes, none = floats(numbered(np.uint32(0))), np.int64(0)
    for round_ in range(1, tiles.rounds):
        if tiles.groups == 1:
            make_keys(tiles, one.stream, round_, block)
        keys = segment_keys(tiles, one.stream, round_, block)
        stop = limit if round_ + 1 < tiles.rounds else never
        left: Any = none  # what is handed on would be compiled for 0 as well
        first: Any = none
        while first < waiting:
            count: Any = none
            last = first
            while last < waiting:
                waits = loaded(block.tops, last * LANES)
                more = beyond(waits, limit)
                if count + more > LANES:
                    break
                if more > 0:
                    n, again, zero = number(block.waiting, last), block.again, np.int64(0)
                    convert(image, tiles, one.row, round_, n, number(block.kinds, n // LANES), block, again, zero)
                    _pack(one, vectors_of(again, zero, keys, n, block), waits, limit, count, block)
                count += more
                last += 1
            if count > 0:
                some, zero = _packed(one, block), np.int64(0)
                least = chosen(spread(np.float32(count) - np.float32(0.5)), lanes, nothing, never)
                top = read(tiles, one, some, round_, block, block.z_again, zero, least, stop, (zero, zero))
                _replace(tiles, one, round_, (first, last), top, block)
            left += count
            first = last
        if left == 0:
            break


_NEAR = 2**17
"""Weights that stay in the second-level cache, beside a block's vectors."""
_DISTANT = 2**20
"""Weights that the third-level cache may not hold beside what others compute. Asking for fewer of them ahead costs more
than waiting: it pushes codes out of the first-level cache."""
_SHORT = 64
"""Inputs of which `TOGETHER` vectors stay in the first-level cache."""
_FAR = 2**18
"""Numbers of an output that it does not hold."""


@compiled(inner=True)
def _samples(image: ImageSpans, first: int, block: BlockSpans) -> None:
    """Samples of images that are numbered together, and the first counters there; ``first`` image of the stream."""
    for place in range(block.pitch):
        one = first + lesser(place, image.images - 1)
        sample = one // image.per_sample
        put(block.samples, place, np.uint32(sample))
        put(block.samples, block.pitch + place, np.uint32(sample >> 32))
        put(block.samples, 2 * block.pitch + place, np.uint32(one % image.per_sample * image.positions))


@compiled(inner=True)
def _clip(z: Any, rows: int, limit: Any) -> None:
    for m in range(rows):
        stored(z, m * LANES, clipped(loaded(z, m * LANES), spread(limit)))


class Target(NamedTuple):
    """Destination of the outputs of a segment.

    Attributes:
        out: takes them.
        first: the place of the first one in the first image.
        image, output: steps there from image to image and from output to output.
        chip: place of the chip's outputs.
        adds: whether they are added to what is there.
        asks: whether they are brought into the caches before.
        after: what is digital about the operator.
        after0: the first one's place there; -1 before the last row of tiles.
    """

    out: Any
    first: int
    image: int
    output: int
    chip: int
    adds: bool
    asks: bool
    after: AfterSpans
    after0: int


@compiled(inner=True, within=True)
def _ask_for(to: Target, rows: int, n: int, block: BlockSpans) -> None:
    """Bring the outputs of a block into the caches while it is multiplied; they lie far apart in memory."""
    first = to.first + number(block.image, n) * to.image + np.int64(number(block.place, n))
    last = to.first + number(block.image, n + LANES - 1) * to.image + np.int64(number(block.place, n + LANES - 1))
    for line in range(rows):
        fetched(to.out, first + line * to.output)
        fetched(to.out, first + line * to.output + LANES // 2)
        fetched(to.out, last + line * to.output)


@compiled(inner=True)
def _store(
    z: Any, z0: Any, image: ImageSpans, tiles: TileSpans, one: TileOutputs, n: int, block: BlockSpans, to: Target
) -> None:
    """Scale codes, and put or add them into the output; with the last row of tiles what else is to be done."""
    vectors, first, last = loaded(block.scales, slot(n)), number(block.image, n), number(block.image, n + LANES - 1)
    after, after0, out = to.after, to.after0, to.out
    count = lesser(LANES, image.images * image.positions - n)
    if count == LANES and first == last:
        place = to.first + first * to.image + np.int64(number(block.place, n))
        for m in range(one.outputs):
            value = loaded(z, z0 + m * LANES) * item(tiles.scales, one.output + m) * vectors
            if to.adds:
                value = value + loaded(out, place)
            if after0 >= 0:
                value = completed(value, after, after0 + m)
                if after.adds:
                    value = value + loaded(after.addend, place - to.chip)
                    # Those of the next vectors, which lie far from those of the next output.
                    fetched(after.addend, place - to.chip + LANES)
                    fetched(after.addend, place - to.chip + LANES + 16)
                value = within(value, after)
            if after.past and tiles.rows == 1:
                stored_past(out, place, value)
            else:
                stored(out, place, value)
            place += to.output
        return
    lane = 0
    while lane < count:  # image by image
        source, at = number(block.image, n + lane), np.int64(number(block.place, n + lane))
        end = lesser(count, lane + image.positions - at)
        place = to.first + source * to.image + at
        for m in range(one.outputs):
            value = loaded(z, z0 + m * LANES) * item(tiles.scales, one.output + m) * vectors
            if to.adds:
                value = value + loaded_run(out, place, lane, end)
            if after0 >= 0:
                value = completed(value, after, after0 + m)
                if after.adds:
                    value = value + loaded_run(after.addend, place - to.chip, lane, end)
                value = within(value, after)
            stored_run(out, place, value, lane, end)
            place += to.output
        lane = end


@compiled(inner=True, within=True)
def _driven(image: ImageSpans, tiles: TileSpans, row: int, blocks: tuple[int, int, int], block: BlockSpans) -> None:
    """Codes of some blocks of vectors for a row of tiles."""
    for n in range(*blocks):
        if row == 0:
            counters = of_images(block.samples, 2 * block.pitch, n, block) + loaded(block.place, n)
            stored(block.counters, slot(n), counters)
        kind, codes0 = number(block.kinds, n // LANES), slot(n) * block.longest
        drive(image, tiles, row, n, kind, block)
        convert(image, tiles, row, np.int64(0), n, kind, block, block.codes, codes0)


@compiled(inner=True, within=True)
def _ahead(tiles: TileSpans, one: TileOutputs, turn: int, distant: bool) -> Any:
    """The weights behind those of a segment, of which every block in turn asks for its share."""
    inputs = one.inputs
    size = -(-one.outputs // ROWS) * ROWS * inputs
    lines = -(-inputs * ROWS // LINE // (TOGETHER // LANES)) if distant else 0
    place = one.weights + size
    if place + size > tiles.weight_count:
        place = 0  # the next vectors begin there
    return place + turn * lines * LINE, np.int64(lines)


@compiled(inner=True, within=True)
def _multiplied(
    image: ImageSpans,
    tiles: TileSpans,
    one: TileOutputs,
    blocks: tuple[int, int, int],
    block: BlockSpans,
    to: Target,
    distant: bool,
) -> None:
    """Outputs of a segment for some blocks of vectors."""
    limit, zero = spread(tiles.output_limit), spread(np.float32(0))
    stop = limit if tiles.rounds > 1 else spread(np.float32(np.inf))
    none: Any = np.int64(0)  # what is handed on would be compiled for 0 as well
    keys, waiting = segment_keys(tiles, one.stream, none, block), none
    for n in range(*blocks):
        if one.row == 0 and to.asks:
            _ask_for(to, one.outputs, n, block)
        some = vectors_of(block.codes, slot(n) * block.longest, keys, n, block)
        z0, ahead = z_place(one, waiting), _ahead(tiles, one, slot(n) // LANES, distant)
        top = read(tiles, one, some, none, block, block.z, z0, zero, stop, ahead)
        if beyond(top, limit) > 0:
            if tiles.rounds > 1:
                stored(block.tops, waiting * LANES, top)
                put(block.waiting, waiting, n)
                waiting += 1
                continue
            _clip(block.z, one.outputs, tiles.output_clip)
        _store(block.z, z0, image, tiles, one, n, block, to)
    if waiting > 0:
        managed(image, tiles, one, waiting, block)
        for turn in range(waiting):
            _store(block.z, z_place(one, turn), image, tiles, one, number(block.waiting, turn), block, to)


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
    distant: bool,
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
            for cut in range(tiles.cuts):
                first = number(tiles.segments, group * (tiles.cuts + 1) + cut)
                rows = number(tiles.segments, group * (tiles.cuts + 1) + cut + 1) - first
                place = number(tiles.places, (stream * tiles.groups + group) * tiles.cuts + cut)
                counter = number(tiles.counters, group * tiles.cuts + cut)
                output = (stream * tiles.groups + group) * tiles.outputs + first
                one = TileOutputs(row, stream, place, inputs, rows, counter, output)
                chip0 = chip * steps[0]
                after0 = (3 * chip * total + group * tiles.outputs + first) if row == tiles.rows - 1 else -1
                target = out0 + chip0 + first * steps[2]
                to = Target(out, target, steps[1], steps[2], chip0, row > 0, asks, after, after0)
                _multiplied(image, tiles, one, blocks, block, to, distant)


@compiled()
def convolve(
    x: Floats,
    places: ConvPlaces,
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
    weights = tiles.chips * places.channels * places.taps * tiles.outputs
    large, distant = weights > _NEAR, weights >= _DISTANT
    together = TOGETHER if (large or memory.longest <= _SHORT) and places.channels > 1 else LANES
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
                        make_keys(tiles, stream, round_, block)
            out0 = group0 * tiles.outputs * positions
            for n in range(0, vectors, together):
                blocks = (n, lesser(n + together, vectors), LANES)
                _products(image, tiles, group, blocks, block, target, out0, steps, finish, asks, distant)
