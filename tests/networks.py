"""Small networks in ONNX's text form, and weights for them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Array = npt.NDArray[Any]


def parsed(text: str, weights: Mapping[str, Array]) -> onnx.ModelProto:
    """The network of a text, with initializers by name."""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items())
    return model


def drawn(
    shapes: Mapping[str, Sequence[int]], rng: int | np.random.Generator = 0
) -> dict[str, npt.NDArray[np.float32]]:
    """Normal weights by name, drawn one after the other by a generator or one of that seed."""
    rng = np.random.default_rng(rng)
    return {name: rng.normal(size=tuple(shape)).astype(np.float32) for name, shape in shapes.items()}
