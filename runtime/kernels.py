"""The fast engine's inner loops over single values, compiled by numba.

Each is one pass over what a core's cache holds; what they do with whole arrays would be several passes of torch or
numpy operations.
"""

import numpy as np
import numpy.typing as npt

from lhc.runtime.compiled_code import compiled
from lhc.runtime.normals import COUNTERS, LEVEL_SHIFT, Words, fill_words

__all__ = [
    "ROUNDS",
    "accumulate",
    "add_noise",
    "greatest_of_channels",
    "greatest_of_inputs",
    "quantise",
    "quantise_channels",
    "round_codes",
    "scale_planes",
    "unfold",
]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

ROUNDS = np.float32(1.5 * 2**23)
"""Added and taken away again in float32, this rounds half to even below 2^22, as the processor's rounding mode does."""


@compiled()
def _runs(bases: Integers, width: int, step: int, first: int, count: int) -> tuple[Integers, Integers]:
    """Vectors ``first`` to ``first + count`` as runs of one line: places of their firsts, and numbers behind them."""
    starts = np.empty(count // width + 2, np.int64)
    stops = np.empty(count // width + 2, np.int64)
    runs = 0
    done = 0
    while done < count:
        line, place = divmod(first + done, width)
        starts[runs] = bases[line] + place * step
        done = min(done + width - place, count)
        stops[runs] = done
        runs += 1
    return starts[:runs], stops[:runs]


@compiled()
def unfold(
    data: Floats,
    offsets: Integers,
    group_step: int,
    bases: Integers,
    width: int,
    step: int,
    first: int,
    factors: Floats,
    shift: np.float32,
    codes: Floats,
) -> None:
    """Inputs times factors, rounded: ``codes[g, k, n]`` of input k of vector ``first + n`` of group g.

    Args:
        data: where the vectors lie, see `Vectors`.
        offsets: of the inputs that are wanted.
        group_step: between groups.
        bases: of lines.
        width: of lines.
        step: between the vectors of a line.
        first: number of the first vector.
        factors: ``(groups, vectors)``; of one value, for all.
        shift: `ROUNDS`, or 0 to leave values as they are.
        codes: the result, ``(groups, inputs, vectors)``.
    """
    starts, stops = _runs(bases, width, step, first, codes.shape[2])
    for g in range(codes.shape[0]):
        for k in range(codes.shape[1]):
            row, factor = codes[g, k], factors[g]
            begin = 0
            for run in range(len(starts)):
                length = stops[run] - begin
                place = starts[run] + offsets[k] + g * group_step
                # Slices of equal length let the compiler use whole registers.
                factors_of_run, target = factor[begin : begin + length], row[begin : begin + length]
                if step == 1:
                    source = data[place : place + length]
                    for n in range(length):
                        target[n] = (source[n] * factors_of_run[n] + shift) - shift
                else:
                    for n in range(length):
                        target[n] = (data[place + n * step] * factors_of_run[n] + shift) - shift
                begin = stops[run]


@compiled()
def quantise(data: Floats, factor: np.float32, shift: np.float32, limit: np.float32, codes: Floats) -> None:
    """Values times one factor, rounded and clipped, ``(values,)``; ``shift`` as of `unfold`."""
    for n in range(len(data)):
        value = (data[n] * factor + shift) - shift
        codes[n] = min(max(value, -limit), limit)


@compiled()
def quantise_channels(
    x: Floats,
    first: int,
    whole_first: int,
    whole_stop: int,
    factor: np.float32,
    shift: np.float32,
    limit: np.float32,
    codes: Floats,
    driven: npt.NDArray[np.bool_],
) -> None:
    """Codes of some channels.

    Args:
        x: ``(samples, groups, channels, places)``.
        first: channel whose codes are wanted.
        whole_first: first channel that counts for what is driven.
        whole_stop: behind the last one.
        factor: as of `quantise`.
        shift: as of `quantise`.
        limit: as of `quantise`.
        codes: the result, ``(samples, groups, some channels, places)``.
        driven: the result: whether at every place one of the channels that count is not zero, ``(samples,)``.
    """
    greatest = np.empty(x.shape[3], np.float32)
    for s in range(x.shape[0]):
        driven[s] = True
        for g in range(x.shape[1]):
            greatest[:] = 0
            for c in range(codes.shape[2]):
                source, target = x[s, g, first + c], codes[s, g, c]
                for n in range(len(source)):
                    value = (source[n] * factor + shift) - shift
                    target[n] = min(max(value, -limit), limit)
                if whole_first <= first + c < whole_stop:
                    for n in range(len(source)):
                        greatest[n] = max(greatest[n], abs(source[n]))
            driven[s] = driven[s] and np.min(greatest) > 0


@compiled()
def greatest_of_channels(
    data: Floats,
    group_step: int,
    sample_step: int,
    first: int,
    count: int,
    channel_step: int,
    planes: Floats,
) -> None:
    """Greatest magnitude over some channels at every place of an image.

    Args:
        data: ``(samples, groups, channels, places)`` as one line.
        group_step: between groups.
        sample_step: between samples.
        first: channel of a group.
        count: of the channels from there on.
        channel_step: between channels: the number of places.
        planes: the result, ``(samples, groups, places)``.
    """
    for s in range(planes.shape[0]):
        for g in range(planes.shape[1]):
            target = planes[s, g]
            target[:] = 0
            for c in range(first, first + count):
                place = s * sample_step + g * group_step + c * channel_step
                source = data[place : place + channel_step]
                for n in range(channel_step):
                    target[n] = max(target[n], abs(source[n]))


@compiled()
def greatest_of_inputs(
    data: Floats,
    offsets: Integers,
    group_step: int,
    bases: Integers,
    width: int,
    step: int,
    peaks: Floats,
) -> None:
    """Raise peaks, ``(groups, vectors)``, to the greatest magnitude of some inputs; arguments as of `unfold`."""
    for g in range(peaks.shape[0]):
        for line in range(len(bases)):
            target = peaks[g, line * width : (line + 1) * width]
            for k in range(len(offsets)):
                place = bases[line] + offsets[k] + g * group_step
                if step == 1:
                    source = data[place : place + width]
                    for n in range(width):
                        target[n] = max(target[n], abs(source[n]))
                else:
                    for n in range(width):
                        target[n] = max(target[n], abs(data[place + n * step]))


@compiled()
def add_noise(
    z: Floats, key: Words, levels: Floats, first: int, begin: int, end: int, shift: np.float32, limit: np.float32
) -> int:
    """Add noise to some values of every line, and round.

    Args:
        z: ``(lines, values)``, changed in place.
        key: of the random words, ``(2,)``.
        levels: of noise.
        first: number of the first line, by which its noise is drawn.
        begin: first value of a line that noise is added to.
        end: behind the last one.
        shift: `ROUNDS`, or 0 to leave values as they are.
        limit: greatest magnitude that is not counted.

    Returns:
        How many values lie beyond the limit; those that are not finite numbers do not count.
    """
    words = np.empty(2 * COUNTERS, np.uint32)
    noise = np.empty(4 * COUNTERS, np.float32)
    beyond = 0
    for line in range(len(z)):
        for start in range(begin, end, 4 * COUNTERS):
            values = z[line, start : min(start + 4 * COUNTERS, end)]
            counters = (len(values) + 3) // 4
            drawn = words[: 2 * counters]
            fill_words(key, first + line, (start - begin) // 4, drawn)
            numbers = drawn.view(np.uint16)[: len(values)]
            # Looking levels up and adding them in one loop would keep the compiler from vectorising the rest.
            for n in range(len(values)):
                noise[n] = levels[numbers[n] >> LEVEL_SHIFT]
            beyond += _rounded(values, noise[: len(values)], shift, limit)
    return beyond


@compiled()
def _rounded(values: Floats, noise: Floats, shift: np.float32, limit: np.float32) -> int:
    # 32 bits fill the same registers as the values.
    beyond = np.int32(0)
    for n in range(len(values)):
        value = (values[n] + noise[n] + shift) - shift
        values[n] = value
        beyond += np.int32(1) if abs(value) > limit else np.int32(0)
    return int(beyond)


@compiled()
def round_codes(z: Floats, shift: np.float32, limit: np.float32) -> int:
    """The same without noise, for all values of all lines."""
    beyond = 0
    for line in range(len(z)):
        row, some = z[line], np.int32(0)
        for n in range(len(row)):
            value = (row[n] + shift) - shift
            row[n] = value
            some += np.int32(1) if abs(value) > limit else np.int32(0)
        beyond += int(some)
    return beyond


@compiled()
def accumulate(z: Floats, rows: Floats, vectors: Floats, first: int, adds: bool, result: Floats) -> None:
    """Codes times scales, into the vectors from ``first`` on.

    Args:
        z: ``(parts, groups, rows, vectors of a part)``.
        rows: their scales, ``(groups, rows)``.
        vectors: their scales, ``(groups, all vectors)``.
        first: number of the first vector.
        adds: to what is there already.
        result: ``(groups, rows, all vectors)``.
    """
    for part in range(z.shape[0]):
        begin = first + part * z.shape[3]
        for g in range(z.shape[1]):
            scales = vectors[g, begin : begin + z.shape[3]]
            for m in range(z.shape[2]):
                row, factor = z[part, g, m], rows[g, m]
                target = result[g, m, begin : begin + z.shape[3]]
                if adds:
                    for n in range(len(row)):
                        target[n] += row[n] * factor * scales[n]
                else:
                    for n in range(len(row)):
                        target[n] = row[n] * factor * scales[n]


@compiled()
def scale_planes(z: Floats, first: int, scales: Floats, driven: Floats | None, adds: bool, result: Floats) -> None:
    """Codes of one chip times scales.

    Args:
        z: ``(lines, rows, positions)``; a line is a sample and a group.
        first: of the rows that are wanted.
        scales: theirs, ``(groups, wanted rows)``.
        driven: 1 or 0 by position, ``(lines, positions)``; None where all are driven.
        adds: to what is there already.
        result: ``(lines, wanted rows, positions)``.
    """
    for line in range(len(z)):
        for m in range(scales.shape[1]):
            row, factor, target = z[line, first + m], scales[line % len(scales), m], result[line, m]
            if driven is not None:
                for n in range(len(row)):
                    row[n] *= driven[line, n]
            if adds:
                for n in range(len(row)):
                    target[n] += row[n] * factor
            else:
                for n in range(len(row)):
                    target[n] = row[n] * factor
