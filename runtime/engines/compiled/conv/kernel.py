"""A convolution on tiles in one pass over blocks of `LANES` vectors, which lie in the lanes of registers.

For every sample: pad; then for every block of positions, row of tiles and chip: greatest magnitudes, unfolding and
DAC; product; noise and ADC; bound management; scale, correct and add the bias, into the output as the next operator
reads it.
"""

from typing import Any, NamedTuple

import numpy as np

from lhc.conductances import Floats
from lhc.runtime.engines.compiled.conv.block_read import (
    TileOutputs,
    make_keys,
    managed,
    of_images,
    read,
    segment_keys,
    vectors_of,
    z_place,
)
from lhc.runtime.engines.compiled.conv.im2col_quantise import (
    BlockSpans,
    ImageSpans,
    block_spans,
    convert,
    drive,
    prepare,
    slot,
)
from lhc.runtime.engines.compiled.conv.layout import TOGETHER, ConvPlaces, ImageMemory
from lhc.runtime.engines.compiled.conv.padding import line_spans
from lhc.runtime.engines.compiled.kernels.epilogue import AfterSpans, completed, finished, within
from lhc.runtime.engines.compiled.kernels.products import ROWS
from lhc.runtime.engines.compiled.kernels.tile import ConverterCodes, PackedTiles, TileSpans, opened
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
    stored_past,
    stored_run,
)
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES, beyond, clipped, lesser, spread
from lhc.runtime.engines.protocol import Digital

__all__ = ["convolve"]

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
    """Where the outputs of a segment go.

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
