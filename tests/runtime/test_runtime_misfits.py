"""Inputs that a product's weight does not take: every engine refuses them by shape, as onnxruntime does."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from lhc.errors import DataError
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.runtime import HybridSession
from lhc.runtime.calibration.converter_ranges import calibrate_ranges
from lhc.runtime.engines.compiled.matrix import CompiledMatrix
from lhc.runtime.engines.compiled.numba_simd.pointers import loaded, span, stored
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES
from lhc.runtime.engines.protocol import Position
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.gradients.network import DifferentiableModel
from tests.conftest import older
from tests.runtime.models_on_tiles import IDEAL, LIONHEART, Array, by_onnxruntime, normal
from tests.runtime.products import programmed

pytestmark = pytest.mark.analog

STATIC = Hardware.load("static-range")


@dataclass(frozen=True)
class Case:
    """A product and an input that does not fit it.

    Attributes:
        op: its operator.
        weight: shape.
        x: shape of what it is given.
        message: what lhc says of it.
        extra: shape of what it adds.
        left: the weight is its first input.
        attributes: of the operator.
        digital: an operator before it.
    """

    op: str
    weight: tuple[int, ...]
    x: tuple[int, ...]
    message: str
    extra: tuple[int, ...] = ()
    left: bool = False
    attributes: tuple[tuple[str, int], ...] = ()
    digital: bool = False

    def model(self) -> onnx.ModelProto:
        """All sizes are names, as far as ONNX can know them; an unknown number of axes is that of ``sizes``."""
        rng = np.random.default_rng(0)
        source = "h" if self.digital else "r"
        operands = ["w", source] if self.left else [source, "w"]
        layer = helper.make_node(self.op, [*operands, *(["e"] if self.extra else [])], ["y"], "layer")
        layer.attribute.extend(helper.make_attribute(*pair) for pair in self.attributes)
        nodes = [
            helper.make_node("Reshape", ["x", "sizes"], ["r"], "reshape"),
            *([helper.make_node("Relu", ["r"], ["h"], "relu")] if self.digital else []),
            layer,
        ]
        axes = len(self.weight) if self.op == "Conv" else 2
        shapes = [f"o{axis}" for axis in range(axes)]
        graph = helper.make_graph(
            nodes,
            "net",
            [
                helper.make_tensor_value_info("x", 1, ["n", *[f"d{axis}" for axis in range(1, len(self.x))]]),
                helper.make_tensor_value_info("sizes", 7, ["axes"]),
            ],
            [helper.make_tensor_value_info("y", 1, shapes)],
            [
                numpy_helper.from_array(normal(rng, self.weight), "w"),
                *([numpy_helper.from_array(normal(rng, self.extra), "e")] if self.extra else []),
            ],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def feeds(self) -> dict[str, Array]:
        return {"x": normal(np.random.default_rng(1), self.x), "sizes": np.array(self.x)}


GREY = Case(
    "Conv", (8, 3, 3, 3), (4, 1, 20, 20), r"shape \(4, 1, 20, 20\), its weight \(8, 3, 3, 3\) takes \(\?, 3, \?"
)
CASES = {
    "grey pictures": GREY,
    "too many channels": replace(GREY, x=(4, 4, 20, 20), message=r"takes \(\?, 3, \?, \?\)"),
    "after a digital layer": replace(GREY, digital=True),
    "groups": replace(GREY, x=(4, 3, 9, 9), attributes=(("group", 2),), message=r"takes \(\?, 6, \?, \?\) in 2 groups"),
    "a number that groups do not divide": replace(
        GREY, x=(4, 5, 9, 9), attributes=(("group", 2),), message=r"takes \(\?, 6, \?, \?\) in 2 groups"
    ),
    "one axis less": replace(GREY, x=(4, 3, 20), message=r"takes \(\?, 3, \?, \?\)"),
    "smaller than the kernel": replace(GREY, x=(4, 3, 2, 2), message=r"smaller than its kernel \(3, 3\)"),
    "bias": replace(GREY, x=(4, 3, 9, 9), extra=(4,), message=r"adds has shape \(4,\), its outputs take \(8,\)"),
    "rows of a MatMul": Case("MatMul", (8, 5), (4, 6), r"shape \(4, 6\), its weight \(8, 5\) takes \(\.\.\., 8\)"),
    "long rows": Case("MatMul", (8, 5), (4, 9), r"takes \(\.\.\., 8\)"),
    "columns of a MatMul": Case("MatMul", (5, 8), (6, 8), r"takes \(\.\.\., 8, \?\)", left=True),
    "rows of a Gemm": Case("Gemm", (5, 8), (4, 6), r"takes \(\?, 8\)", attributes=(("transB", 1),)),
    "columns of a Gemm": Case("Gemm", (8, 5), (4, 6), r"takes \(8, \?\)", attributes=(("transA", 1),)),
    "a stack for a Gemm": Case("Gemm", (8, 5), (4, 3, 8), r"takes \(\?, 8\)"),
    "C of a Gemm": Case("Gemm", (8, 5), (4, 8), r"adds has shape \(3,\), its outputs take \(4, 5\)", extra=(3,)),
}


def on_tiles(hardware: Hardware, engine: str = "fast") -> Callable[[Case], object]:
    def run(case: Case) -> object:
        session = HybridSession(case.model(), hardware, ["layer"], engine=engine)  # type: ignore[arg-type]
        return session.run(None, case.feeds())

    return run


def with_static_ranges(case: Case) -> object:
    """Convolutions of codes instead of products of windows."""
    model = load_model(case.model())
    executor = HybridExecutor(model, read_graph(model, sizes=False), ["layer"], {"layer": (1.0,)})
    chips = executor.on_chips([executor.states(STATIC, 0, 0, 0.0)], STATIC, 0, [0])
    return next(executor.finish(executor.prefix(case.feeds()), chips, Position(0, len(case.feeds()["x"]))))


def differentiated(case: Case) -> object:
    model = load_model(case.model())
    return DifferentiableModel(model, read_graph(model, sizes=False))(case.feeds())


ENGINES = {
    "fast": on_tiles(LIONHEART),
    "fast, ideal": on_tiles(IDEAL),
    "aihwkit": on_tiles(LIONHEART, "aihwkit"),
    "static ranges": with_static_ranges,
    "gradients": differentiated,
}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_inputs_that_do_not_fit_are_refused_by_shape(case: Case, engine: Callable[[Case], object]) -> None:
    with pytest.raises(DataError, match=f"{case.op} 'layer': .*{case.message}"):
        engine(case)


def test_magnitudes_of_vectors_that_do_not_fit_are_refused() -> None:
    """By which the vectors of a calibration count."""
    model = load_model(GREY.model())
    (layer,) = HybridExecutor(model, read_graph(model, sizes=False), ["layer"]).layers
    with pytest.raises(DataError, match=f"Conv 'layer': .*{GREY.message}"):
        layer.peaks(GREY.feeds()["x"])


@pytest.mark.parametrize("hidden", [False, True], ids=["input of the network", "inside"])
def test_a_calibration_refuses_the_same(hidden: bool) -> None:
    """As the layer says it, wherever in the network it is."""
    rng = np.random.default_rng(0)
    relu = [helper.make_node("Relu", ["x"], ["h"], "relu")]
    conv = helper.make_node("Conv", ["h" if hidden else "x", "w"], ["y"], "layer")
    proto = helper.make_model(
        helper.make_graph(
            [*(relu if hidden else []), conv],
            "net",
            [helper.make_tensor_value_info("x", 1, ["n", "c", "h", "w"])],
            [helper.make_tensor_value_info("y", 1, ["n", 8, "oh", "ow"])],
            [numpy_helper.from_array(normal(rng, GREY.weight), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    model = load_model(proto)
    graph = read_graph(model, sizes=False)
    with pytest.raises(DataError, match=f"Conv 'layer': .*{GREY.message}"):
        calibrate_ranges(model, graph, STATIC, ["layer"], [(4, {"x": GREY.feeds()["x"]})])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_onnxruntime_refuses_the_same(case: Case) -> None:
    if case is CASES["bias"] and older("onnxruntime", "1.30"):
        pytest.skip("this onnxruntime reads beyond a bias that is too short")
    with pytest.raises(Exception, match="ONNXRuntimeError"):
        by_onnxruntime(case.model(), case.feeds())


def test_kernels_are_not_given_vectors_that_do_not_fit() -> None:
    """Whatever asks for products: a last line of defence, in the terms of the kernel."""
    matrix = CompiledMatrix([programmed(np.ones((4, 8), np.float32), LIONHEART).programmed()], [0], 0, LIONHEART)
    assert matrix.multiply(torch.zeros(5, 8), Position(0, 5), 0).shape == (1, 5, 4)
    with pytest.raises(DataError, match="vectors of 7 inputs do not fit a matrix that takes 8"):
        matrix.multiply(torch.zeros(5, 7), Position(0, 5), 0)
    window = ConvGeometry((3,), (1,), (1,), ((1, 1),), "NOTSET", 1)
    with pytest.raises(DataError, match="vectors of 9 inputs do not fit a matrix that takes 8"):
        matrix.convolve(torch.zeros(5, 3, 6), window, Position(0, 5), 0)


@pytest.mark.skipif(not numba.config.BOUNDSCHECK, reason="make bounds runs it")  # type: ignore[attr-defined]
def test_bounds_are_checked_in_compiled_code() -> None:
    """Else the other tests of such a run say nothing."""

    def read(numbers: Array) -> None:
        stored(span(numbers), 0, loaded(span(numbers), 1))

    compiled: Any = numba.njit(read)
    with pytest.raises(IndexError):
        compiled(np.zeros(LANES, np.float32))
