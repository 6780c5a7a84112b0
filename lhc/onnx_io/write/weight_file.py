"""Weights of a model in the making that are too large to be held in memory twice: they go to a file at once.

The model refers to it as one that was read does to its data files (`lhc.onnx_io.read.external_data`), so that sessions
map it and `lhc.onnx_io.save_model` copies it beside the output.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from lhc.errors import UsageError
from lhc.onnx_io.read.external_data import SMALL
from lhc.onnx_model import store_elsewhere

__all__ = ["Store", "WeightFile", "in_memory"]

Store = Callable[[str, npt.NDArray[Any]], onnx.TensorProto]
"""Makes an initializer of a name and its values."""

_ALIGNMENT = 4096
"""Where tensors begin, in bytes: pages, so that they can be mapped."""


def in_memory(name: str, values: npt.NDArray[Any]) -> onnx.TensorProto:
    """An initializer that holds its values."""
    return numpy_helper.from_array(values, name)


class WeightFile:
    """A file that is there for as long as somebody holds this."""

    def __init__(self, folder: Path) -> None:
        """Begin a file.

        Args:
            folder: of temporary things, on a disk; made where it does not exist.

        Raises:
            UsageError: it cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            made = tempfile.mkdtemp(prefix=".weights.", dir=folder)
        except OSError as error:
            raise _refusal(folder, error) from error
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        self._path = Path(made, "weights.data").absolute()

    def put(self, name: str, array: npt.NDArray[Any]) -> onnx.TensorProto:
        """An initializer whose values are in the file; small ones are in the model, as runtimes want to have sizes.

        Raises:
            UsageError: there is no room.
        """
        if array.nbytes <= SMALL:
            return in_memory(name, array)
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = onnx.TensorProto(name=name, data_type=kind, dims=array.shape)
        try:
            with self._path.open("ab") as file:
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                entries = {"location": str(self._path), "offset": file.tell(), "length": array.nbytes}
                file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
        except OSError as error:
            raise _refusal(self._path.parent.parent, error) from error
        store_elsewhere(tensor, entries)
        return tensor


def _refusal(folder: Path, error: OSError) -> UsageError:
    why = error.strerror or error
    return UsageError(f"{folder}: cannot be written: {why}; set LHC_CACHE to a folder with room for the weights")
