"""Samples in a folder: one ``.npy`` per input, or ``.npz`` shards with the same keys; never all in memory.

Of ``.npy`` files only the rows asked for are read. Of shards, one is held per input: the last one asked for.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from lhc.errors import DataError
from lhc.samples.npy_files import FileState, NpyHeader, npz_headers, open_npy, read_npz_array
from lhc.samples.task import Array, LazyArray, Samples, unequal_lengths


class Shards(LazyArray):
    """One input that lies in several ``.npz`` files, end to end."""

    def __init__(self, paths: Sequence[Path], key: str, headers: Sequence[NpyHeader]) -> None:
        """Shards in this order.

        Args:
            headers: what each shard holds; types, and shapes but for the first axis, are the same.
        """
        ends = list(accumulate(header.shape[0] for header in headers))
        super().__init__((ends[-1], *headers[0].shape[1:]), headers[0].dtype)
        self._paths, self._key, self._headers = paths, key, headers
        self._ends = np.array(ends)
        self._states = [FileState.of(path) for path in paths]
        self._held: tuple[int, Array] | None = None

    def _rows(self, start: int, stop: int) -> Array:
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        done = start
        while done < stop:
            number = int(np.searchsorted(self._ends, done, side="right"))
            end = int(self._ends[number])
            first = end - self._headers[number].shape[0]
            upto = min(stop, end)
            rows[done - start : upto - start] = self._shard(number)[done - first : upto - first]
            done = upto
        return rows

    def _shard(self, number: int) -> Array:
        held = self._held
        if held is not None and held[0] == number:
            return held[1]
        held = self._held = None  # two are never held at once
        array = read_npz_array(self._paths[number], self._key, self._headers[number])
        self._states[number].check()
        self._held = (number, array)
        return array


def read_folder(folder: Path) -> dict[str, Samples]:
    """Arrays by name: the stem of a ``.npy``, or the key in ``.npz`` shards, which are sorted by name.

    Hidden files, and files of other kinds, are left alone.

    Raises:
        DataError: no arrays, both kinds of file, files that cannot be read, or shards that do not fit each other.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from error
    arrays, shards = ([path for path in paths if path.suffix == kind] for kind in (".npy", ".npz"))
    if arrays and shards:
        raise DataError(
            f"{folder}: holds both {arrays[0].name} and {shards[0].name}; give one .npy per input, or .npz shards"
        )
    if not arrays and not shards:
        raise DataError(f"{folder}: holds no .npy or .npz files; give one .npy per input, or .npz shards")
    return _read_shards(shards) if shards else {path.stem: open_npy(path) for path in arrays}


def _read_shards(paths: Sequence[Path]) -> dict[str, Samples]:
    found = [npz_headers(path) for path in paths]
    for path, headers in zip(paths, found, strict=True):
        _check_like(path, headers, paths[0], found[0])
    return {key: _joined(paths, key, [headers[key] for headers in found]) for key in found[0]}


def _check_like(path: Path, headers: Mapping[str, NpyHeader], first_path: Path, first: Mapping[str, NpyHeader]) -> None:
    if headers.keys() != first.keys():
        raise DataError(
            f"{path}: has keys {', '.join(sorted(headers))}, {first_path.name} has {', '.join(sorted(first))}; every"
            " shard needs the same keys"
        )
    for key, header in headers.items():
        same = len(header.shape) == len(first[key].shape) and header.shape[1:] == first[key].shape[1:]
        if not same or header.dtype != first[key].dtype:
            raise DataError(
                f"{path}: {key!r} is {header}, in {first_path.name} it is {first[key]}; shards may differ in the first"
                " axis only"
            )
    lengths = {key: header.shape[0] for key, header in headers.items() if header.shape}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: {unequal_lengths(lengths)}")


def _joined(paths: Sequence[Path], key: str, headers: Sequence[NpyHeader]) -> Samples:
    if headers[0].shape:
        return Shards(paths, key, headers)
    values = [read_npz_array(path, key, header) for path, header in zip(paths, headers, strict=True)]
    for path, value in zip(paths, values, strict=True):
        if value.tobytes() != values[0].tobytes():
            raise DataError(
                f"{path}: {key!r} is {value}, in {paths[0].name} it is {values[0]}; an input without axes has one value"
            )
    return values[0]
