"""Pickles of arrays, read by an unpickler that knows these and nothing else, so that a file cannot run code.

They may hold dictionaries, lists, texts, numbers, numpy's arrays and those of ``array``. A pickle makes an array by
calls that it names (Python's documentation, ``object.__reduce__``). Here they give an empty array, and no class of
numpy: ``numpy.ndarray`` itself would make an array over memory of the pickle's choice.
"""

import array
import io
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt


class _Kind:
    """Stands for a class that a pickle names as an argument, and never calls."""


def unpickled(content: bytes, encoding: str = "ASCII") -> Any:  # noqa: ANN401 - whatever it holds
    """What a pickle of arrays holds.

    Args:
        encoding: of texts that Python 2 wrote.

    Raises:
        pickle.UnpicklingError: it names anything else, or it is damaged.
        ValueError, EOFError, KeyError, IndexError, AttributeError, TypeError, OverflowError: it is damaged.
    """
    return _ArrayUnpickler(io.BytesIO(content), encoding=encoding).load()


def _empty(kind: object, shape: object, code: object) -> npt.NDArray[Any]:
    """An array that the pickle then fills."""
    return np.zeros(0)


def _from_machine_format(kind: object, code: str, form: int, values: bytes) -> "array.array[Any]":
    """An array of ``array``, whose values are in one of the formats of its documentation."""
    return array._array_reconstructor(array.array, code, form, values)  # type: ignore[attr-defined,no-any-return]


def _latin1(text: str, encoding: str) -> bytes:
    """The one use of ``_codecs.encode`` in a pickle of protocol 2: bytes written as text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"refused encoding {encoding!r}")
    return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    """The few things that a pickled array is made of."""

    def find_class(self, module: str, name: str) -> object:
        """What stands for a name."""
        known: dict[tuple[str, str], object] = {
            ("numpy", "ndarray"): _Kind(),
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): _empty,
            ("numpy._core.multiarray", "_reconstruct"): _empty,
            ("array", "array"): _Kind(),
            ("array", "_array_reconstructor"): _from_machine_format,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"refused {module}.{name}: not part of a file of arrays")
        return known[module, name]
