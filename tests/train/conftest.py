"""Small networks for training."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.model import OnnxModel
from lhc.onnx_io import load_model

Build = Callable[..., OnnxModel]


@pytest.fixture
def build() -> Build:
    """A checked model from ONNX's text form and initializers by name."""

    def make(text: str, **weights: np.ndarray) -> OnnxModel:
        proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
        proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
        return load_model(proto)

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
