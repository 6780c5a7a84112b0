"""Layout of a convolution: its vectors in the images, and the working memory of a call."""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from math import prod
from threading import get_ident
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.programmed_matrix import Floats
from lhc.runtime.engines.compiled.kernels.adc_noise_and_currents import PackedTiles
from lhc.runtime.engines.compiled.kernels.products import ROWS
from lhc.runtime.engines.compiled.numba_simd.pointers import LINE, RUNS
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES, WIDE
from lhc.runtime.engines.counter_rng import Words
from lhc.runtime.lru_cache import LruCache

Places = TypeVar("Places", bound=tuple[Any, ...])
Integers = npt.NDArray[np.int64]

TOGETHER = 4 * LANES
"""Vectors that meet a tile of a large matrix together: its weights come from far away once for all of them."""
SIDE_BY_SIDE = RUNS + 1
"""The kind of a block whose vectors all lie side by side."""
IN_EIGHTS = RUNS + 2
"""The kind of a block of which eight and eight vectors do."""
_HALF = LANES // 2
_FILLED = 0.97
_MOVED = 2**21
"""Bytes of padded images that are convolved together; what the second-level cache does not hold is read in lines."""
_KEPT = 2**17
"""Numbers of the memory of a call that the next one finds again; to make it takes as long as a small convolution."""


def _nbytes(places: tuple[Any, ...]) -> int:
    """Bytes of the arrays of a named tuple, those of its tuples included."""
    arrays = sum(one.nbytes for one in places if isinstance(one, np.ndarray))
    return int(arrays + sum(_nbytes(one) for one in places if isinstance(one, tuple)))


_PLACES: LruCache[Any] = LruCache(2**29, _nbytes)
"""Bytes of the places of all convolutions: an image of 1,024 by 1,024 vectors has some 30 MB in each."""


def kept_places(key: Hashable, make: Callable[[], Places]) -> Places:
    """Places that are made once, as long as all of them fit; ``key`` says which."""
    found: Places = _PLACES.get(key, make)
    return found


class ChannelPlaces(NamedTuple):
    """Places in one channel; spatial axes are one.

    A channel is padded and cut into *phases*: with strides s, place p of an axis becomes place ``p // s`` of phase
    ``p % s``; phases that no tap of the kernel reads are left out. The inputs that a tap gives to the vectors of a line
    then follow each other, whatever the strides.

    Attributes:
        moved: whether it lies otherwise than in the image: padded, or in phases.
        size: of the channel.
        offsets: of every input of a vector from its number, ``(taps,)``.
        vectors: their numbers, ``(positions,)``.
        lines: where the first phase of each line of the image's last axis begins, ``(lines,)``; -1 where no tap reads
            the line.
        width: of such a line.
        before: places of padding in front of it.
        phases: number of every phase of that axis, ``(stride,)``; -1 where no tap reads it.
        phase: places from one of them to the next.
    """

    moved: bool
    size: int
    offsets: Integers
    vectors: Integers
    lines: Integers
    width: int
    before: int
    phases: Integers
    phase: int


def channel_places(geometry: ConvGeometry, sizes: tuple[int, ...]) -> ChannelPlaces:
    """Places in a channel of these sizes; ``geometry`` crops nothing."""
    return kept_places(("channel", geometry, sizes), lambda: _channel_places(geometry, sizes))


def _channel_places(geometry: ConvGeometry, sizes: tuple[int, ...]) -> ChannelPlaces:
    pads, out, strides = geometry.padding(sizes), geometry.output_sizes(sizes), geometry.strides
    taps = [np.arange(k) * d for k, d in zip(geometry.kernel, geometry.dilations, strict=True)]
    numbers = [_numbers(places % stride, stride) for places, stride in zip(taps, strides, strict=True)]
    spans = [size + before + after for size, (before, after) in zip(sizes, pads, strict=True)]
    phase = [-(-span // stride) for span, stride in zip(spans, strides, strict=True)]

    def placed(axes: Sequence[Integers]) -> Integers:
        """Offsets of all combinations of places along the axes."""
        of_phase, inside, read = np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1, np.bool_)
        for places, stride, phase_numbers, size in zip(axes, strides, numbers, phase, strict=True):
            found = phase_numbers[places % stride]
            of_phase = (of_phase[:, None] * (phase_numbers.max() + 1) + found).reshape(-1)
            inside = (inside[:, None] * size + places // stride).reshape(-1)
            read = (read[:, None] & (found >= 0)).reshape(-1)
        return np.where(read, of_phase * prod(phase) + inside, -1)

    lines = [np.arange(size) + before for size, (before, _) in zip(sizes, pads, strict=True)]
    return ChannelPlaces(
        moved=any(map(any, pads)) or any(stride > 1 for stride in strides),
        size=prod(int(one.max()) + 1 for one in numbers) * prod(phase),
        offsets=placed(taps),
        vectors=placed([np.arange(size) * stride for size, stride in zip(out, strides, strict=True)]),
        lines=placed([*lines[:-1], np.zeros(1, np.int64)]),
        width=sizes[-1],
        before=pads[-1][0],
        phases=numbers[-1],
        phase=prod(phase),
    )


def _numbers(read: Integers, stride: int) -> Integers:
    """Number of every phase of an axis; -1 for those that are not read."""
    found, some = np.full(stride, -1), np.unique(read)
    found[some] = np.arange(len(some))
    return found


class ConvPlaces(NamedTuple):
    """Layout of images whose vectors are numbered together; spatial axes are one.

    Attributes:
        positions: of an output.
        taps: of a channel.
        channels: of a group.
        plane: places of a channel as it lies there.
        channel: where it lies.
        offsets: of every input of a vector from its position, ``(channels · taps,)``.
        starts: of vectors among the images, ``(vectors,)``; of `LANES` to a block, where
            the last one stands again and again, here and below.
        of_planes: of vectors in planes of greatest magnitudes.
        image: of vectors.
        place: of vectors among an image's.
        kinds: of blocks: `SIDE_BY_SIDE`, `IN_EIGHTS`, or in how many runs that lie side by side each half lies at
            most; 0 where more than `RUNS`, or where the processor has no registers for masks.
        runs: where the first lane of a half would lie by each of its runs, as `starts`, ``(blocks, 2, RUNS)``.
        runs_of_planes: the same as `of_planes`.
        masks: the lanes of a run, in bits, likewise.
    """

    images: int
    positions: int
    taps: int
    channels: int
    plane: int
    channel: ChannelPlaces
    offsets: Integers
    starts: Words
    of_planes: Words
    image: Integers
    place: Words
    kinds: Integers
    runs: Words
    runs_of_planes: Words
    masks: Words


class ImageMemory(NamedTuple):
    """Memory of a call.

    Attributes:
        padded: channels of a group of the images with their padding; zeros.
        planes: greatest magnitudes over channels, ``(rows of tiles, images · places)``.
        longest: inputs of a row of tiles.
        codes: of a row of tiles, by block of `TOGETHER`, ``(blocks, longest, LANES)``.
        again: of a block for a repeated read, ``(longest, LANES)``.
        z: products of a segment, by block of `TOGETHER` that waits for repeated reads, ``(blocks, outputs, LANES)``.
        z_again: the same for a repeated read, and greatest magnitudes, ``(outputs + 2, LANES)``.
        queue: codes of vectors that are read again, ``(longest, 2 · LANES)``.
        tops: greatest magnitudes in blocks that wait, ``(TOGETHER,)``.
        waiting: first vectors of these, ``(blocks,)``.
        begins: outputs that a read begins with, by round of bound management, ``(rounds,)``.
        scales: of vectors, ``(TOGETHER,)``.
        factors: 1 over the greatest magnitudes, ``(TOGETHER,)``.
        inputs: of the vectors of a group with one channel, ``(inputs, LANES)``.
        pitch: images, up to a whole vector of them.
        keys: of noise, ``(rounds of bound management, chips · rows of tiles, 2, pitch)``; one group alone keeps two.
        samples: of images, in two words, and the first counters of their noise there, ``(3, pitch)``.
        counters: of the vectors' noise, ``(TOGETHER,)``.
        words: of vectors, ``(2, LANES)``, and what noise of those that are read again needs, ``(3, 2 · LANES)``.
        noise: of a block of products, ``(ROWS, LANES)``.
    """

    padded: Floats
    planes: Floats
    longest: int
    codes: Floats
    again: Floats
    z: Floats
    z_again: Floats
    queue: Floats
    tops: Floats
    waiting: Integers
    begins: Integers
    scales: Floats
    factors: Floats
    inputs: Floats
    pitch: int
    keys: Words
    samples: Words
    counters: Words
    words: Words
    noise: Floats


def conv_places(geometry: ConvGeometry, shape: tuple[int, ...], images: int) -> ConvPlaces:
    """Places in so many images ``(groups · channels, *spatial)``."""
    return kept_places(("images", geometry, shape, images), lambda: _conv_places(geometry, shape, images))


def _conv_places(geometry: ConvGeometry, shape: tuple[int, ...], images: int) -> ConvPlaces:
    channels, channel = shape[0] // geometry.groups, channel_places(geometry, shape[1:])
    positions, plane = channel.vectors, channel.size
    count = images * len(positions)
    image, place = np.divmod(np.minimum(np.arange(-(-count // LANES) * LANES), count - 1), len(positions))
    starts = image * (channels if channel.moved else shape[0]) * plane + positions[place]
    of_planes = image * plane + positions[place]
    kinds, lanes, masks = _runs(starts, count)
    return ConvPlaces(
        images=images,
        positions=len(positions),
        taps=len(channel.offsets),
        channels=channels,
        plane=plane,
        channel=channel,
        offsets=(np.arange(channels)[:, None] * plane + channel.offsets).reshape(-1),
        starts=starts.astype(np.uint32),
        of_planes=of_planes.astype(np.uint32),
        image=image,
        place=place.astype(np.uint32),
        kinds=kinds,
        runs=(starts[lanes] - lanes % _HALF).astype(np.uint32).reshape(-1),
        runs_of_planes=(of_planes[lanes] - lanes % _HALF).astype(np.uint32).reshape(-1),
        masks=masks.reshape(-1),
    )


def _runs(starts: Integers, count: int) -> tuple[Integers, Integers, Words]:
    """Runs of vectors in a block of ``count``: their kinds, first vectors and lanes."""
    halves, lanes = starts.reshape(-1, _HALF), np.arange(starts.size).reshape(-1, _HALF)
    follows = np.pad(np.diff(halves) == 1, ((0, 0), (1, 0))) & (lanes < count)
    run = np.cumsum(~follows & (lanes < count), axis=1) - 1
    most = run.max(axis=1).reshape(-1, 2).max(axis=1) + 1
    beside, whole = np.diff(starts.reshape(-1, LANES)) == 1, lanes[1::2, -1] < count
    eights = (beside | (np.arange(1, LANES) % 8 == 0)).all(axis=1)
    in_runs = (most <= RUNS) & WIDE  # without masks it takes longer than number by number
    kinds = np.select([whole & beside.all(axis=1), whole & eights, in_runs], [SIDE_BY_SIDE, IN_EIGHTS, most], 0)
    own = (run[:, None] == np.arange(RUNS)[:, None]) & (lanes < count)[:, None]  # (halves, runs, lanes)
    first = lanes[:, :1] + own.argmax(axis=2)
    return kinds.astype(np.int64), first, (own << np.arange(_HALF)).sum(axis=2).astype(np.uint32)


class ImageCut(NamedTuple):
    """Some of the images of a call, cut into parts whose vectors are numbered together.

    Attributes:
        first: of the images.
        size: how many.
        together: how many are numbered together.
        places: in these.
    """

    first: int
    size: int
    together: int
    places: ConvPlaces


@lru_cache(maxsize=256)
def image_outputs(geometry: ConvGeometry, sizes: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
    """Spatial sizes of the output, and whether padding takes something away."""
    return geometry.output_sizes(sizes), min(min(pair) for pair in geometry.padding(sizes)) < 0


def image_cuts(geometry: ConvGeometry, shape: tuple[int, ...], images: int) -> tuple[ImageCut, ...]:
    """All images ``(groups · channels, *spatial)`` of a call."""
    together = images_together(geometry, shape, images)
    whole = images // together * together
    parts = ((0, whole, together), (whole, images - whole, images - whole))
    return tuple(ImageCut(*part, conv_places(geometry, shape, part[2])) for part in parts if part[1])


@lru_cache(maxsize=256)
def images_together(geometry: ConvGeometry, shape: tuple[int, ...], most: int) -> int:
    """Images ``(groups · channels, *spatial)`` whose vectors are numbered together, so that blocks are nearly full.

    The fewest that fill at least two blocks but for a thirtieth; where that takes too much memory for padding, those
    that fill most.
    """
    channel = channel_places(geometry, shape[1:])
    positions, moved = len(channel.vectors), 4 * shape[0] // geometry.groups * channel.size if channel.moved else 0
    fill, chosen = 0.0, 1
    for count in range(1, most + 1):
        blocks = max(2, -(-count * positions // LANES))
        share = count * positions / (blocks * LANES)
        if fill >= _FILLED or (count > 1 and count * moved > _MOVED):
            break
        if share > fill:
            fill, chosen = share, count
    return chosen


def _floats(size: int) -> Floats:
    """Numbers that begin with a line of the cache: a vector that lies on two of them takes longer."""
    room = np.empty(size + LINE, np.float32)
    first = -room.ctypes.data % (4 * LINE) // 4
    return room[first : first + size]


def image_memory(geometry: ConvGeometry, shape: tuple[int, ...], cut: ImageCut, tiles: PackedTiles) -> ImageMemory:
    """Memory of one call, or of the last: numbers are written before they are read, but for the zeros of the padding.

    Args:
        shape: of an image.
    """
    chips, rows, groups, _ = tiles.places.shape
    rounds = len(tiles.codes_per_unit)
    kept = rounds if groups > 1 else 2
    longest, outputs, places = tiles.most_inputs, tiles.most_outputs, cut.places
    large = places.images * places.plane * (places.channels + rows) + (TOGETHER + 3 * LANES) * longest
    large += (TOGETHER + LANES) * outputs
    make = _made if large > _KEPT else _kept
    sizes = (longest, outputs, rounds, 2 * kept * chips * rows)
    return make(get_ident(), geometry, shape, cut.together, rows, *sizes)


def _made(
    thread: int,
    geometry: ConvGeometry,
    shape: tuple[int, ...],
    images: int,
    rows: int,
    longest: int,
    outputs: int,
    rounds: int,
    keys: int,
) -> ImageMemory:
    """Memory that only one thread writes to; ``keys``: of an image."""
    places = conv_places(geometry, shape, images)
    codes, again = _floats(longest * TOGETHER), _floats(longest * LANES)
    deepest, pitch = -(-outputs // ROWS) * ROWS, -(-images // LANES) * LANES
    return ImageMemory(
        np.zeros(images * places.channels * places.plane if places.channel.moved else 0, np.float32),
        _floats(rows * images * places.plane),
        longest,
        codes,
        again,
        _floats(deepest * TOGETHER),
        _floats((deepest + 2) * LANES),
        _floats(longest * 2 * LANES),
        _floats(TOGETHER),
        np.empty(TOGETHER // LANES, np.int64),
        np.zeros(rounds, np.int64),
        _floats(TOGETHER),
        _floats(TOGETHER),
        _floats(longest * LANES if places.channels == 1 else 0),
        pitch,
        np.empty(keys * pitch, np.uint32),
        np.empty(3 * pitch, np.uint32),
        np.empty(TOGETHER, np.uint32),
        np.empty(8 * LANES, np.uint32),
        _floats(ROWS * LANES),
    )


_kept = lru_cache(maxsize=32)(_made)
