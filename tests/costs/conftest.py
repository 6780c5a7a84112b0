"""Small networks, and those of the published figures."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef


@pytest.fixture(scope="session")
def benchmark() -> Callable[[str], ModuleType]:
    """A module of benchmarks/."""

    def load(name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(Path(__file__).parents[2])
            return importlib.import_module(f"benchmarks.{name}")

    return load


@pytest.fixture(scope="session")
def published(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    """benchmarks/published_costs.py: published gains, and networks for 32x32 images."""
    return benchmark("published_costs")


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
