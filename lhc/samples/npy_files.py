"""Arrays in ``.npy`` files and ``.npz`` archives from anywhere, checked before memory is taken for them.

What an array's header declares is believed only where the file, or the directory of the archive, is as large as that.
Headers are parsed by numpy (a literal, never code) and are at most `MAX_HEADER_BYTES` long. An archive that unpacks to
more than `MAX_RATIO` times its own size is refused above `RATIO_FREE_BYTES`. Nothing is ever unpickled.
"""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from lhc.errors import DataError, LhcError
from lhc.samples.task import Array, LazyArray

MAX_HEADER_BYTES = 10_000
"""numpy's own limit; the header of a plain array has 128."""
MAX_RATIO = 100
"""Data to measure on rarely packs better than 20 to 1; zeros pack 1000 to 1."""
RATIO_FREE_BYTES = 2**30
"""Unpacked size that is harmless whatever the ratio."""

PLAIN_KINDS = "biufcSU"
"""Kinds of types whose values are their bytes: numbers, truth values and strings of fixed length."""

_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class NpyHeader:
    """Header of a ``.npy`` file.

    Attributes:
        fortran_order: the first axis runs fastest.
        offset: bytes before the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int

    @property
    def size(self) -> int:
        """Bytes of header and values together."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


def _read_header(stream: IO[bytes], where: str) -> NpyHeader:
    start = stream.read(len(_MAGIC) + 2)
    if len(start) < len(_MAGIC) + 2 or not start.startswith(_MAGIC):
        raise DataError(f"{where}: not an array in .npy format; save arrays with numpy.save or numpy.savez")
    version_1 = start[len(_MAGIC)] == 1
    size = stream.read(2 if version_1 else 4)
    length = int.from_bytes(size, "little")
    if length > MAX_HEADER_BYTES:
        raise DataError(f"{where}: has a header of {length} bytes, a plain array has 128; save it with numpy.save")
    header = BytesIO(size + stream.read(length))
    parse = np.lib.format.read_array_header_1_0 if version_1 else np.lib.format.read_array_header_2_0
    try:
        shape, fortran_order, dtype = parse(header, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # text made up to fail can do so in many ways
        raise DataError(f"{where}: the header is damaged ({error}); save the array again") from error
    if dtype.hasobject:
        raise DataError(
            f"{where}: holds pickled objects, which can run code when loaded and are refused; save plain arrays"
        )
    if dtype.kind not in PLAIN_KINDS or dtype.itemsize == 0:
        raise DataError(f"{where}: holds values of type {dtype}; save plain arrays of numbers")
    if any(size < 0 for size in shape):
        raise DataError(f"{where}: the header is damaged (shape {shape}); save the array again")
    return NpyHeader(tuple(map(int, shape)), dtype, fortran_order, len(start) + len(header.getvalue()))


@dataclass(frozen=True)
class FileState:
    """A file as it was when lhc first looked at it: rows that are read later belong to the same samples or are refused.

    Attributes:
        identity: its number, size and time of last change.
    """

    path: Path
    identity: tuple[int, int, int]

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """The present state of a file.

        Raises:
            DataError: there is no such file, or it is out of reach.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        return cls(path, (status.st_ino, status.st_size, status.st_mtime_ns))

    def check(self) -> None:
        """See that the file is still the same; called after reading, so that it also was while it was read.

        Raises:
            DataError: it is not; names it.
        """
        if FileState.of(self.path) != self:
            raise DataError(
                f"{self.path}: has changed while lhc was reading it; nothing is kept of what was measured on changed"
                " samples: leave the data alone during a run, and start again"
            )


class FileArray(LazyArray):
    """An array whose values lie in a file one after the other, in row order; read block by block."""

    def __init__(self, path: Path, header: NpyHeader, owner: object = None) -> None:
        """An array in a file.

        Args:
            owner: kept as long as the array, where the file is temporary.
        """
        super().__init__(header.shape, header.dtype)
        self._path = path
        self._state = FileState.of(path)
        self._offset = header.offset
        self._owner = owner

    def _rows(self, start: int, stop: int) -> Array:
        row = math.prod(self.shape[1:])
        offset = self._offset + start * row * self.dtype.itemsize
        try:
            values = np.fromfile(self._path, self.dtype, count=(stop - start) * row, offset=offset)
        except OSError as error:
            raise DataError(f"{self._path}: cannot be read: {error.strerror or error}") from error
        if len(values) != (stop - start) * row:
            raise DataError(f"{self._path}: was cut short while lhc was reading it; leave the data alone during a run")
        self._state.check()
        return values.reshape(stop - start, *self.shape[1:])


def open_npy(path: Path) -> FileArray | Array:
    """An array in a ``.npy`` file, to be read block by block; one without axes is read at once.

    Raises:
        DataError: not a plain array in row order, or shorter than its header says.
    """
    with _reading(path, "a .npy file"), path.open("rb") as file:
        header = _read_header(file, str(path))
        size = path.stat().st_size
        if size < header.size:
            raise DataError(f"{path}: declares {header}, {header.size} bytes, but has {size}; it was cut short")
        if header.fortran_order and len(header.shape) > 1:
            raise DataError(
                f"{path}: is in Fortran order, so that its samples lie scattered; save numpy.ascontiguousarray(array)"
            )
        return FileArray(path, header) if header.shape else np.fromfile(file, header.dtype, count=1).reshape(())


def npz_headers(path: Path) -> dict[str, NpyHeader]:
    """Key -> shape and type of every array of an archive, none of them read.

    Raises:
        DataError: not a sound archive of plain arrays.
    """
    with _reading(path, "an .npz file"), zipfile.ZipFile(path) as archive:
        return {key: header for key, _, header in _members(archive, path)}


def read_npz_array(path: Path, key: str, expected: NpyHeader) -> Array:
    """One array of an archive.

    Raises:
        DataError: it cannot be read, or is not the one that was expected.
    """
    with _reading(path, "an .npz file"), zipfile.ZipFile(path) as archive:
        for name, member, header in _members(archive, path):
            if name == key and header == expected:
                return _read(archive, member)
    raise DataError(f"{path}: has changed while lhc was reading it; leave the data alone during a run")


def read_npz(path: Path) -> dict[str, Array]:
    """All arrays of an archive, in memory.

    Raises:
        DataError: not a sound archive of plain arrays.
    """
    with _reading(path, "an .npz file"), zipfile.ZipFile(path) as archive:
        return {key: _read(archive, member) for key, member, _ in _members(archive, path)}


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=MAX_HEADER_BYTES)
        return array


def _members(archive: zipfile.ZipFile, path: Path) -> list[tuple[str, zipfile.ZipInfo, NpyHeader]]:
    """Key, entry and header of every array, checked against the directory of the archive."""
    members = archive.infolist()
    unpacked, packed = sum(member.file_size for member in members), path.stat().st_size
    if unpacked > max(RATIO_FREE_BYTES, MAX_RATIO * packed):
        raise DataError(
            f"{path}: would unpack from {packed} bytes to {unpacked}, which may be meant to exhaust memory; save the"
            " arrays with numpy.savez, which does not pack"
        )
    found: dict[str, tuple[str, zipfile.ZipInfo, NpyHeader]] = {}
    for member in members:
        key = member.filename.removesuffix(".npy")
        if key in found:
            raise DataError(f"{path}: holds {key!r} twice; save it again with numpy.savez")
        with archive.open(member) as stream:
            header = _read_header(stream, f"{path}: {key!r}")
        if header.size != member.file_size:
            raise DataError(f"{path}: {key!r} declares {header}, {header.size} bytes, but has {member.file_size}")
        found[key] = (key, member, header)
    return list(found.values())


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a damaged file makes its reader raise into a `DataError`."""
    try:
        if not path.is_file():  # a device or a pipe would never end
            raise DataError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        yield
    except LhcError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise DataError(
            f"{path}: does not fit into memory; save each array with numpy.save, and give their folder"
        ) from error
    except Exception as error:  # zipfile and what it unpacks with raise many kinds
        raise DataError(f"{path}: not {kind}, or a damaged one ({error})") from error
