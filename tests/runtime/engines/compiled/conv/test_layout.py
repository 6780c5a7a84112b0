"""Places of convolutions: what is kept of them."""

import numpy as np
import pytest

from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.runtime.engines.compiled.conv import layout
from lhc.runtime.lru_cache import LruCache

pytestmark = pytest.mark.analog


def test_places_of_many_sizes_are_kept_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is given images of ever new sizes does not grow."""
    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)), "NOTSET", 1)
    cache = LruCache(200_000, layout._nbytes)
    monkeypatch.setattr(layout, "_PLACES", cache)
    first = layout.conv_places(geometry, (3, 40, 40), 1)
    assert layout.conv_places(geometry, (3, 40, 40), 1) is first
    assert layout._nbytes(first) > 40 * 40 * 20
    for size in range(41, 60):
        layout.image_cuts(geometry, (3, size, size), 1)
        assert sum(map(layout._nbytes, cache._kept.values())) <= 200_000
    again = layout.conv_places(geometry, (3, 40, 40), 1)
    assert again is not first
    np.testing.assert_array_equal(again.starts, first.starts)
