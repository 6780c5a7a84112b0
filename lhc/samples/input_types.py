"""Samples in the type that an input of a network takes, where nothing is lost by it."""

from typing import Any

import numpy as np

from lhc.errors import DataError
from lhc.samples.task import Array, Indices, LazyArray, Samples

_DTYPES = {"float": "float32", "double": "float64", "string": "object"}
_LOOKED_AT = 1024
"""Samples that are looked through at once."""


def converted(array: Samples, input_name: str, type_: str, where: str) -> Samples:
    """Floats of another width are converted, and so are integers, and text to the objects that strings are."""
    kind = type_.removeprefix("tensor(").removesuffix(")")
    try:
        wanted = np.dtype(_DTYPES.get(kind, kind))
    except TypeError as error:
        raise DataError(
            f"{where}: input {input_name!r} of the model is {kind}, which arrays of samples cannot hold; export it with"
            " an input of float32"
        ) from error
    if array.dtype == wanted:
        return array
    kinds = array.dtype.kind, wanted.kind
    if kinds[0] != kinds[1] and kinds != ("U", "O") and not set(kinds) <= {"i", "u"}:
        takes = "strings" if wanted.hasobject else str(wanted)
        scaled = " and scale it as in training (pixels often by 1 / 255)" if kinds == ("u", "f") else ""
        raise DataError(f"{where}: {input_name!r} is {array.dtype}, the model takes {takes}; convert it{scaled}")
    name = repr(input_name)
    return Converted(array, wanted, name) if array.ndim else _cast(np.asarray(array), wanted, f"{where}: {name}")


class Converted(LazyArray):
    """Samples in another type, converted as they are read; what that type cannot hold is refused, not wrapped."""

    def __init__(self, array: Samples, dtype: np.dtype[Any], name: str) -> None:
        """Samples to convert."""
        super().__init__(array.shape, dtype)
        self._array = array
        self._name = name

    def look_through(self, samples: int | None) -> None:
        """Find now what cannot be converted in the first samples, all by default; floats are looked through anyway."""
        if self._array.dtype.kind in "iu" and not np.can_cast(self._array.dtype, self.dtype):
            stop = len(self) if samples is None else min(samples, len(self))
            for start in range(0, stop, _LOOKED_AT):
                self[start : min(start + _LOOKED_AT, stop)]

    def _rows(self, start: int, stop: int) -> Array:
        return _cast(self._array[start:stop], self.dtype, self._name, np.arange(start, stop))

    def _pick(self, indices: Indices) -> Array:
        return _cast(self._array[indices], self.dtype, self._name, indices)


def _cast(array: Array, dtype: np.dtype[Any], name: str, samples: Indices | None = None) -> Array:
    """Values in another type of the same sort."""
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if dtype.kind not in "iuf" or np.can_cast(array.dtype, dtype) or array.size == 0:
        return cast
    limits: np.finfo[Any] | np.iinfo[Any] = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    if dtype.kind == "f":
        lost = np.isinf(cast) & np.isfinite(array)
    else:
        lost = (array < int(limits.min)) | (array > int(limits.max))
    if not lost.any():
        return cast
    place = tuple(np.argwhere(lost)[0])
    where = name if samples is None else f"{name}, sample {samples[place[0]]}"
    least, greatest = (f"{limit:.4g}" if dtype.kind == "f" else str(limit) for limit in (limits.min, limits.max))
    raise DataError(
        f"{where}: {array[place]} is beyond the range of {dtype}, which the model takes ({least} to {greatest})"
    )
