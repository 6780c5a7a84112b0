"""Small networks for training."""

from collections.abc import Callable

import numpy as np
import pytest

from lhc.onnx_io import load_model
from lhc.onnx_model import OnnxModel
from tests.networks import parsed

Build = Callable[..., OnnxModel]


@pytest.fixture
def build() -> Build:
    """A checked model from ONNX's text form and initializers by name."""

    def make(text: str, **weights: np.ndarray) -> OnnxModel:
        proto = parsed(f'<ir_version: 8, opset_import: ["" : 17]> {text}', weights)
        return load_model(proto)

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
