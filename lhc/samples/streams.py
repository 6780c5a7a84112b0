"""Samples from a function that yields them in blocks.

The function is called once. Its blocks are written to a temporary folder, one file per input, and read from there in
any order, as often as needed: on disk they take the room of all samples in the types that the function yields, in
memory that of one block. The folder is removed when the samples are no longer used, at the latest when the program
ends. It lies in ``TMPDIR``, else in ``/var/tmp``, which is a disk where ``/tmp`` may be memory.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from lhc.errors import DataError, LhcError
from lhc.samples.npy_files import PLAIN_KINDS, FileArray, NpyHeader
from lhc.samples.task import Array, Samples, Task, count_samples, unequal_lengths
from lhc.support.load_by_name import current_folder_importable


def from_function(function: Callable[[], object], name: str, samples: int | None) -> Task | Mapping[str, Samples]:
    """Samples from a user's function: a task, arrays by name, or blocks of them.

    Args:
        samples: no more blocks are taken once there are so many; the function may never end.

    Raises:
        DataError: it fails, yields nothing, or yields blocks that do not fit each other.
    """
    try:
        with current_folder_importable():
            result = function()
            if isinstance(result, Task | Mapping):
                return result
            if not isinstance(result, Iterable) or isinstance(result, str | bytes | np.ndarray):
                raise DataError(
                    f"{name}: gives a {type(result).__name__}; it must yield blocks, each a dict of input name ->"
                    " array, or return one dict or an lhc.Task"
                )
            return _spool(result, name, samples)
    except LhcError:
        raise
    except Exception as error:  # a user's function can raise anything
        raise DataError(f"{name} fails: {type(error).__name__}: {error}") from error


class _Folder:
    """A temporary folder that is removed with the last array that keeps it."""

    def __init__(self) -> None:
        on_disk = Path("/var/tmp")
        parent = on_disk if "TMPDIR" not in os.environ and os.access(on_disk, os.W_OK) else None
        self.path = Path(tempfile.mkdtemp(prefix="lhc-data-", dir=parent))
        self.remove = weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:  # not by a fork
        shutil.rmtree(path, ignore_errors=True)


def _spool(blocks: Iterable[object], name: str, samples: int | None) -> dict[str, Samples]:
    try:
        folder = _Folder()
    except OSError as error:
        raise DataError(f"{name}: no temporary folder ({error}); set TMPDIR to one that can be written") from error
    try:
        return _written(blocks, name, samples, folder)
    except BaseException:
        folder.remove()
        raise


def _written(blocks: Iterable[object], name: str, samples: int | None, folder: _Folder) -> dict[str, Samples]:
    like: dict[str, Array] = {}
    done = 0
    for number, block in enumerate(blocks, start=1):
        arrays = _arrays(block, f"{name}: block {number}")
        like = like or {key: _empty(array) for key, array in arrays.items()}
        _check_like(arrays, like, f"{name}: block {number}")
        wanted = slice(None if samples is None else samples - done)
        for key, array in arrays.items():
            if array.ndim:
                _append(_path(folder, like, key), array[wanted])
        done += len(range(count_samples(arrays))[wanted])
        if done == samples:
            break
    if not like:
        raise DataError(f"{name}: yields no blocks; each must be a dict of input name -> array")
    found: dict[str, Samples] = {}
    for key, empty in like.items():
        header = NpyHeader((done, *empty.shape[1:]), empty.dtype, fortran_order=False, offset=0)
        found[key] = FileArray(_path(folder, like, key), header, folder) if empty.ndim else empty
    return found


def _path(folder: _Folder, like: Mapping[str, Array], key: str) -> Path:
    return folder.path / str(list(like).index(key))  # a key can hold what a file name cannot


def _empty(array: Array) -> Array:
    """No rows of this shape and type; a scalar whole."""
    return np.empty((0, *array.shape[1:]), array.dtype) if array.ndim else array


def _append(path: Path, rows: Array) -> None:
    try:
        with path.open("ab") as file:
            file.write(np.ascontiguousarray(rows).data)
    except OSError as error:
        raise DataError(
            f"{path}: samples cannot be written: {error.strerror or error}; set TMPDIR to a folder with room for all of"
            " them, or ask for fewer (--samples)"
        ) from error


def _arrays(block: object, where: str) -> dict[str, Array]:
    if not isinstance(block, Mapping):
        raise DataError(f"{where} is of type {type(block).__name__}; it must be a dict of input name -> array")
    arrays = {str(key): np.asarray(value) for key, value in block.items()}
    lengths = {key: len(array) for key, array in arrays.items() if array.ndim}
    if not lengths:
        raise DataError(f"{where} holds no array with an axis; the first axis of every array counts samples")
    if len(set(lengths.values())) > 1:
        raise DataError(f"{where} has {unequal_lengths(lengths)}")
    for key, array in arrays.items():
        if array.dtype.kind not in PLAIN_KINDS:
            raise DataError(f"{where}: {key!r} holds values of type {array.dtype}; give plain arrays of numbers")
    return arrays


def _check_like(arrays: Mapping[str, Array], like: Mapping[str, Array], where: str) -> None:
    """All blocks are like the first, but for their length."""
    if arrays.keys() != like.keys():
        raise DataError(f"{where} has keys {', '.join(sorted(arrays))}, the first has {', '.join(sorted(like))}")
    for key, array in arrays.items():
        empty = _empty(array)
        if (empty.shape, empty.dtype) != (like[key].shape, like[key].dtype):
            kinds = [f"{a.shape[1:]} {a.dtype} a sample" if a.ndim else f"one {a.dtype}" for a in (array, like[key])]
            raise DataError(f"{where}: {key!r} holds {kinds[0]}, in the first block {kinds[1]}")
        if array.ndim == 0 and array.tobytes() != like[key].tobytes():
            raise DataError(
                f"{where}: {key!r} is {array}, in the first block {like[key]}; an input without axes has one value"
            )
