"""Small networks, and those of the published figures."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef


@pytest.fixture(scope="session")
def published() -> ModuleType:
    """benchmarks/published_costs.py: networks for 32x32 images and published gains."""
    path = Path(__file__).parents[2] / "benchmarks" / "published_costs.py"
    spec = importlib.util.spec_from_file_location("published_costs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def one() -> Callable[..., LayerGraph]:
    """A network of one product."""

    def build(rows: int, cols: int, groups: int = 1, positions: int = 1, kernel: tuple[int, ...] = ()) -> LayerGraph:
        shape = (cols * groups, rows // max(1, kernel[0] * kernel[1]), *kernel) if kernel else (rows, cols)
        weight = WeightRef("w", 1, shape, "float32", "w")
        matrix = MatrixShape(rows, cols, groups, positions)
        layer = Layer("product", "Conv" if kernel else "MatMul", ("x", "w"), ("y",), weight, matrix)
        return LayerGraph([layer], ["x"], ["y"])

    return build
