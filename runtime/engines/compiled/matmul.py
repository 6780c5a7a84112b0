"""Products of the rows of a matrix with tiles, in one pass over blocks of rows.

Outputs lie in the lanes of registers. For every block of rows, row of tiles and chip: greatest magnitudes and DAC;
product; noise and ADC; bound management; scale, into rows of the result. Nothing is transposed.
"""

from typing import Any, NamedTuple

import numpy as np

from lhc.programmed_matrix import Floats
from lhc.runtime.engines.compiled.kernels.adc_noise_and_currents import (
    ConverterCodes,
    PackedTiles,
    TileSpans,
    input_codes,
    noisy,
    opened,
    sample_keys,
    with_currents,
)
from lhc.runtime.engines.compiled.kernels.epilogue import AfterSpans, finished
from lhc.runtime.engines.compiled.kernels.products import ROWS, multiply
from lhc.runtime.engines.compiled.numba_simd.counter_rng_in_lanes import deviates, threefry_lanes
from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import (
    item,
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
    greater,
    larger,
    lesser,
    magnitude,
    numbered,
    spread,
    spread_word,
)
from lhc.runtime.engines.counter_rng import COUNTERS, Words
from lhc.runtime.engines.protocol import LEAST_PEAK, Digital

BLOCK = 4 * LANES
"""Rows that meet a tile together: its weights come from far away once for all of them."""


class MatmulMemory(NamedTuple):
    """Memory of a block of `BLOCK` rows.

    Attributes:
        pitch: of codes.
        width: of products.
        codes: ``(BLOCK, pitch)``.
        again: the same for a repeated read.
        z: products of a segment, ``(BLOCK, width)``.
        z_again: the same for a repeated read.
        scales: of rows, ``(BLOCK,)``.
        line: of inputs, ``(LANES,)``.
        keys: of noise, ``(2, BLOCK)``.
        samples: of rows, in two words, ``(2, BLOCK)``.
    """

    pitch: int
    width: int
    codes: Floats
    again: Floats
    z: Floats
    z_again: Floats
    scales: Floats
    line: Floats
    keys: Words
    samples: Words


def matmul_memory(tiles: PackedTiles) -> MatmulMemory:
    """Memory of one call."""
    pitch, width = (-(-most // LANES) * LANES for most in (tiles.most_inputs, tiles.most_outputs))
    # Rows of codes that are a power of two apart would share few lines of the cache.
    pitch += 16
    # The last rows of a block may be none: they are multiplied, and left out.
    codes, again = np.zeros(BLOCK * pitch, np.float32), np.zeros(BLOCK * pitch, np.float32)
    return MatmulMemory(
        pitch,
        width,
        codes,
        again,
        np.empty(BLOCK * width, np.float32),
        np.empty(BLOCK * width, np.float32),
        np.empty(BLOCK, np.float32),
        np.empty(LANES, np.float32),
        np.empty(2 * BLOCK, np.uint32),
        np.empty(2 * BLOCK, np.uint32),
    )


class RowSpans(NamedTuple):
    """`MatmulMemory` and the rows; ``first`` is the number of the first one in the stream."""

    x: Any
    inputs: int
    pitch: int
    width: int
    codes: Any
    again: Any
    z: Any
    z_again: Any
    scales: Any
    line: Any
    keys: Any
    samples: Any
    first: int
    per_sample: int


@compiled(inner=True, within=True)
def _peak(rows: RowSpans, start: int, stop: int) -> np.float32:
    """Greatest magnitude of numbers that lie side by side."""
    top, k = spread(np.float32(0)), start
    while k + LANES <= stop:
        top = greater(top, magnitude(loaded(rows.x, k)))
        k += LANES
    stored(rows.line, 0, top)
    most = np.float32(0)
    for lane in range(LANES):
        most = larger(most, number(rows.line, lane))
    while k < stop:
        most = larger(most, abs(number(rows.x, k)))
        k += 1
    return most


@compiled(inner=True, within=True)
def _convert(rows: RowSpans, tiles: TileSpans, row: int, round_: Any, vector: int, place: int, codes: Any) -> None:
    """The inputs of a row of tiles as codes; the vector's scale is known."""
    range_, scale = number(tiles.ranges, row), np.float32(1)
    has_range = range_ > 0
    if has_range:
        scale = np.float32(1) / range_
    elif tiles.scales_vectors:
        peak = number(rows.scales, place)
        scale = np.float32(1) / (peak if peak != 0 else np.float32(1))
    start, stop = number(tiles.inputs, 2 * row), number(tiles.inputs, 2 * row + 1)
    source, target, k = vector * rows.inputs + start, place * rows.pitch, 0
    per_unit, rest = item(tiles.codes_per_unit, 2 * round_), item(tiles.codes_per_unit, 2 * round_ + 1)
    how = (spread(scale), spread(range_), has_range, per_unit, rest, tiles)
    while k + LANES <= stop - start:
        stored(codes, target + k, input_codes(loaded(rows.x, source + k), *how))
        k += LANES
    few = stop - start - k
    if few > 0:
        stored_run(codes, target + k, input_codes(loaded_run(rows.x, source + k, 0, few), *how), 0, few)


@compiled(inner=True, within=True)
def _noise(
    rows: RowSpans,
    tiles: TileSpans,
    row: int,
    weights: int,
    counter: int,
    output: int,
    outputs: int,
    vector: int,
    place: int,
    codes: Any,
    z: Any,
) -> int:
    """Add noise to the products of a vector with a segment and round; how many saturate."""
    z0, saturated = place * rows.width, 0
    if tiles.silent:
        for m in range(0, outputs, LANES):
            if tiles.has_currents:
                _with_currents(rows, tiles, row, weights, place, m, codes, z)
            saturated += noisy(z, z0 + m, loaded(tiles.offsets, output + m), tiles)
        return saturated
    k0 = spread_word(number(rows.keys, place))
    k1 = spread_word(number(rows.keys, BLOCK + place))
    x = spread_word(np.uint32((rows.first + vector) % rows.per_sample))
    half = spread_word(np.uint32(16))
    deviation = spread(_deviation(rows, tiles, row, place, codes) if tiles.by_vector else np.float32(1))
    for m0 in range(0, outputs, 4 * COUNTERS):
        for lanes in range(0, COUNTERS, LANES):
            w0, w1 = threefry_lanes(k0, k1, x, numbered(np.uint32(counter + m0 // 4 + lanes)))
            for m in range(m0 + lanes, lesser(m0 + 4 * COUNTERS, outputs), COUNTERS):
                noise = deviates(tiles.deviation, w0)
                if tiles.by_vector:
                    noise = noise * deviation
                if tiles.has_currents:
                    noise = noise * _with_currents(rows, tiles, row, weights, place, m, codes, z)
                noise = noise + loaded(tiles.offsets, output + m)
                saturated += noisy(z, z0 + m, noise, tiles)
                w0, w1 = w1, w0 << half
    return saturated


@compiled(inner=True, within=True)
def _deviation(rows: RowSpans, tiles: TileSpans, row: int, place: int, codes: Any) -> np.float32:
    """Standard deviation of a vector's noise where read noise is constant."""
    first, line = row * tiles.vector_pitch, place * rows.pitch
    variance = number(tiles.variances, first)
    for k in range(number(tiles.inputs, 2 * row + 1) - number(tiles.inputs, 2 * row)):
        code = number(codes, line + k)
        variance += number(tiles.variances, first + 1 + k) * code * code
    return np.float32(np.sqrt(variance))


@compiled(inner=True)
def _with_currents(
    rows: RowSpans, tiles: TileSpans, row: int, weights: int, place: int, output: int, codes: Any, z: Any
) -> Any:
    """See `with_currents`, of `LANES` outputs of a vector."""
    inputs = number(tiles.inputs, 2 * row + 1) - number(tiles.inputs, 2 * row)
    block = weights + output * inputs
    line = place * rows.pitch
    return with_currents(
        tiles, row, inputs, codes, line, 1, tiles.weights, block, False, z, place * rows.width + output
    )


@compiled(inner=True)
def _samples(rows: RowSpans, vector: int) -> None:
    """Samples of a block's rows."""
    for place in range(BLOCK):
        sample = (rows.first + vector + place) // rows.per_sample
        put(rows.samples, place, np.uint32(sample))
        put(rows.samples, BLOCK + place, np.uint32(sample >> 32))


@compiled(inner=True)
def _keys(rows: RowSpans, tiles: TileSpans, stream: int, round_: Any, first: int, last: int) -> None:
    """Keys of the noise of some of a block's rows, each its sample's; `LANES` at a time."""
    for place in range(first, last, LANES):
        low, high = loaded(rows.samples, place), loaded(rows.samples, BLOCK + place)
        k0, k1 = sample_keys(tiles.keys, stream, low, high, round_)
        stored(rows.keys, place, k0)
        stored(rows.keys, BLOCK + place, k1)


@compiled(inner=True, within=True)
def _multiplied(rows: RowSpans, tiles: TileSpans, place: int, inputs: int, outputs: int, count: int) -> None:
    """Products of some rows with a segment."""
    for m in range(0, outputs, LANES):
        for r in range(0, count, ROWS):
            multiply(
                rows.codes, r * rows.pitch, 1, rows.pitch, tiles.weights, place + m * inputs, inputs,
                rows.z, r * rows.width + m, rows.width,
            )  # fmt: skip


@compiled(inner=True)
def _saturates(rows: RowSpans, tiles: TileSpans, z: Any, place: int, outputs: int) -> bool:
    for m in range(outputs):  # noqa: SIM110 - numba compiles no generator here
        if abs(number(z, place * rows.width + m)) > tiles.output_limit:
            return True
    return False


@compiled(inner=True)
def _managed(
    rows: RowSpans,
    tiles: TileSpans,
    row: int,
    stream: int,
    weights: int,
    counter: int,
    output: int,
    outputs: int,
    vector: int,
    place: int,
) -> None:
    """Read a saturating vector again: it takes the first round in which it does not saturate the tile, or the last."""
    clip, z0 = tiles.output_clip, place * rows.width
    pending = _saturates(rows, tiles, rows.z, place, outputs)
    for m in range(outputs):
        put(rows.z, z0 + m, lesser(larger(number(rows.z, z0 + m), -clip), clip))
    inputs = number(tiles.inputs, 2 * row + 1) - number(tiles.inputs, 2 * row)
    for round_ in range(1, tiles.rounds):
        if not pending:
            break
        _convert(rows, tiles, row, round_, vector, place, rows.again)
        _keys(rows, tiles, stream, round_, place // LANES * LANES, place + 1)
        first = place // ROWS * ROWS
        for m in range(0, outputs, LANES):
            multiply(
                rows.again, first * rows.pitch, 1, rows.pitch, tiles.weights, weights + m * inputs,
                inputs, rows.z_again, first * rows.width + m, rows.width,
            )  # fmt: skip
        _noise(rows, tiles, row, weights, counter, output, outputs, vector, place, rows.again, rows.z_again)
        pending = _saturates(rows, tiles, rows.z_again, place, outputs)
        for m in range(outputs):
            code = lesser(larger(number(rows.z_again, z0 + m), -clip), clip)
            put(rows.z, z0 + m, code * number(tiles.reductions, round_))


@compiled(inner=True, within=True)
def _store(
    rows: RowSpans,
    tiles: TileSpans,
    z0: int,
    output: int,
    scale: np.float32,
    adds: bool,
    outputs: int,
    out: Any,
    out0: int,
    after: AfterSpans,
    after0: int,
) -> None:
    """Scale codes, and put or add them into the result; with the last row of tiles it is corrected."""
    corrects = after.corrects and after0 >= 0
    factor, m = spread(scale), 0
    while m + LANES <= outputs:
        value = loaded(rows.z, z0 + m) * loaded(tiles.scales, output + m) * factor
        if adds:
            value = value + loaded(out, out0 + m)
        if corrects:
            gain, offset = loaded(after.values, after0 + m), loaded(after.values, after0 + after.outputs + m)
            value = value * gain + offset
        stored(out, out0 + m, value)
        m += LANES
    while m < outputs:
        one = number(rows.z, z0 + m) * number(tiles.scales, output + m) * scale
        if adds:
            one = number(out, out0 + m) + one
        if corrects:
            one = one * number(after.values, after0 + m) + number(after.values, after0 + after.outputs + m)
        put(out, out0 + m, one)
        m += 1


@compiled(inner=True, within=True)
def _segment(
    rows: RowSpans,
    tiles: TileSpans,
    row: int,
    chip: int,
    cut: int,
    vector: int,
    count: int,
    out: Any,
    out0: int,
    after: AfterSpans,
) -> None:
    """Outputs of a block of rows on one column of tiles; ``out0`` is the place of the block's first output."""
    stream = chip * tiles.rows + row
    inputs = number(tiles.inputs, 2 * row + 1) - number(tiles.inputs, 2 * row)
    first = number(tiles.segments, cut)
    outputs = number(tiles.segments, cut + 1) - first
    weights, counter = number(tiles.places, stream * tiles.cuts + cut), number(tiles.counters, cut)
    output = stream * tiles.outputs + first
    _multiplied(rows, tiles, weights, inputs, outputs, count)
    _keys(rows, tiles, stream, np.int64(0), 0, count)
    for place in range(count):
        saturated = _noise(
            rows, tiles, row, weights, counter, output, outputs, vector + place, place, rows.codes, rows.z
        )
        if saturated > 0:
            _managed(rows, tiles, row, stream, weights, counter, output, outputs, vector + place, place)
            _keys(rows, tiles, stream, np.int64(0), place // LANES * LANES, place + 1)
        scale = number(rows.scales, place)
        if not tiles.scales_vectors and scale == scale:
            scale = np.float32(scale != 0)
        target = out0 + place * tiles.outputs + first
        after0 = 3 * chip * tiles.outputs + first if row == tiles.rows - 1 else -1
        _store(rows, tiles, place * rows.width, output, scale, row > 0, outputs, out, target, after, after0)


@compiled()
def multiply_rows(
    x: Floats,
    packed: PackedTiles,
    io: ConverterCodes,
    memory: MatmulMemory,
    vectors: int,
    per_sample: int,
    first: int,
    digital: Digital,
    out: Floats,
) -> None:
    """Multiply the rows of a matrix.

    Args:
        x: ``(vectors, inputs)`` as one line.
        packed: what multiplies.
        per_sample: how many are one sample.
        first: number of the first in the stream; fixes the noise.
        digital: corrections; a bias is left out.
        out: takes the result, ``(chips, vectors, outputs)`` as one line.
    """
    tiles, result, inputs = opened(packed, io), span(out), len(x) // vectors
    after = finished(digital, tiles.outputs)
    codes = (span(memory.codes), span(memory.again))
    products = (span(memory.z), span(memory.z_again))
    scratch = (span(memory.scales), span(memory.line), span(memory.keys), span(memory.samples))
    rows = RowSpans(span(x), inputs, memory.pitch, memory.width, *codes, *products, *scratch, first, per_sample)
    for vector in range(0, vectors, BLOCK):
        count = lesser(BLOCK, vectors - vector)
        _samples(rows, vector)
        for row in range(tiles.rows):
            for place in range(count):
                start = (vector + place) * inputs
                stops = (number(tiles.inputs, 2 * row), number(tiles.inputs, 2 * row + 1))
                peak = _peak(rows, start + stops[0], start + stops[1])
                put(rows.scales, place, np.float32(0) if tiles.scales_vectors and peak < LEAST_PEAK else peak)
                _convert(rows, tiles, row, np.int64(0), vector + place, place, rows.codes)
            for chip in range(tiles.chips):
                for cut in range(tiles.cuts):
                    out0 = (chip * vectors + vector) * tiles.outputs
                    _segment(rows, tiles, row, chip, cut, vector, count, result, out0, after)
