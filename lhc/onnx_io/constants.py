"""Values that a model holds as constants: initializers and Constant nodes."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from lhc.errors import ModelError

__all__ = ["Constants"]


def _constant_value(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node; None for the forms that hold scalars, lists or strings."""
    return next((a.t for a in node.attribute if a.name == "value"), None)


class Constants:
    """Constant tensors of a graph by name; decoded when asked for."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                value = _constant_value(node)
                if value is not None:
                    self._tensors[node.output[0]] = value

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a constant."""
        return tuple(self._tensors[name].dims)

    def dtype(self, name: str) -> str:
        """numpy name of a constant's element type (``bfloat16`` and the like keep ONNX's name)."""
        try:
            return str(onnx.helper.tensor_dtype_to_np_dtype(self._tensors[name].data_type))
        except KeyError:
            return str(onnx.TensorProto.DataType.Name(self._tensors[name].data_type)).lower()

    def value(self, name: str) -> npt.NDArray[np.generic]:
        """The array.

        Raises:
            ModelError: the stored bytes do not fit the stated shape.
        """
        try:
            return np.asarray(numpy_helper.to_array(self._tensors[name]))
        except (ValueError, TypeError) as error:
            raise ModelError(f"initializer {name!r}: its data does not fit its shape and type ({error})") from error

    def values(self, names: Iterable[str]) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays of those names that are constants."""
        return {name: self.value(name) for name in names if name in self}
