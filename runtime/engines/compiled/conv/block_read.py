"""Reads of blocks of vectors of a convolution: products, noise and ADC; and bound management.

A vector that saturates an output is read again with smaller inputs, and nothing of its first read is kept. So a read
ends where every vector has saturated; and vectors that are read again are taken together from blocks whose products
wait for them, where they are few of each.
"""

from typing import Any, NamedTuple

import numpy as np

from lhc.runtime.engines.compiled.conv.im2col_quantise import BlockSpans, ImageSpans, convert, slot
from lhc.runtime.engines.compiled.kernels.currents import vector_noise, with_currents
from lhc.runtime.engines.compiled.kernels.products import (
    ROWS,
    Drawn,
    draw_pair,
    draw_words,
    multiply,
    multiply_drawing,
    one_row,
)
from lhc.runtime.engines.compiled.kernels.tile import TileSpans, rounded, sample_keys
from lhc.runtime.engines.compiled.numba_simd.compress import stored_packed, unpacked
from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import LINE, fetched, item, loaded, number, put, stored
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

__all__ = [
    "TileOutputs",
    "Vectors",
    "make_keys",
    "managed",
    "of_images",
    "read",
    "segment_keys",
    "vectors_of",
    "z_place",
]


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
    """Where keys of the images' noise lie; one group alone keeps those of the last repeated read."""
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
    """Where products of a block that waits begin, by its number."""
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
