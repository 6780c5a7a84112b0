"""Damage of layers by themselves, where a network does not stand it."""

import numpy as np
import pytest

import lhc
from lhc.errors import DataError
from tests.networks import parsed

ROOTS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4] x) => (float[N, 4] y) {
  [power] p = MatMul (x, w)
  [root] y = Sqrt (p)
}"""


@pytest.mark.analog
def test_a_layer_whose_errors_the_network_does_not_stand_is_named() -> None:
    """Powers that are 0 are below it with noise, and have no root."""
    x = np.zeros((16, 4), np.float32)
    x[:, 0] = 1
    model = parsed(ROOTS, {"w": np.eye(4, dtype=np.float32)})
    with pytest.raises(DataError, match=r"with .power. alone on tiles, .* gives NaN .*keep these digital"):
        lhc.sensitivity(model, {"x": x}, draws=2, metric="nmse", method="measure")
