"""Work grows with the number of layers, not with its square: counted in calls of functions, which no load changes."""

import cProfile
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lhc
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.passes import SearchOptions, search_space
from lhc.passes.strategies.base import Goal
from lhc.plan import Plan, Sensitivity
from lhc.report.document.builder import estimated_front
from lhc.report.exports.json_documents import analysis_document

WIDTH, DEPTHS = 4, (16, 32, 64)


def residual(depth: int) -> onnx.ModelProto:
    """Layers with their activations and additions, one after the other."""
    random, nodes, weights, x = np.random.default_rng(0), [], [], "x"
    for n in range(depth):
        weights.append(numpy_helper.from_array(random.normal(size=(WIDTH, WIDTH)).astype("f4"), f"w{n}"))
        nodes.append(helper.make_node("MatMul", [x, f"w{n}"], [f"h{n}"], f"blocks.{n}.product"))
        nodes.append(helper.make_node("Relu", [f"h{n}"], [f"r{n}"], f"blocks.{n}.relu"))
        nodes.append(helper.make_node("Add", [x, f"r{n}"], [f"y{n}"], f"blocks.{n}.add"))
        x = f"y{n}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in ("x", x)]
    graph = helper.make_graph(nodes, "residual", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def analysis(model: onnx.ModelProto) -> Callable[[], object]:
    """``lhc analyze`` with what it prints."""
    return lambda: (found := lhc.analyze(model), found.table(), analysis_document(found))


def search(model: onnx.ModelProto) -> Callable[[], object]:
    """The terms that placements consist of, and the trade-off of a report."""
    found = lhc.analyze(model)
    graph, names = found.facts, [layer.name for layer in found.facts.candidates]
    figure = Sensitivity(metric="kl", mean=1.0, std=0.0, interval=None)
    plan: Plan = found.plan.with_sensitivities(dict.fromkeys(names, figure))
    options = SearchOptions(goal=Goal(objective="energy"))
    return lambda: (search_space(graph, plan, options), estimated_front(plan, graph))


def executor(model: onnx.ModelProto) -> Callable[[], object]:
    """A placement of all layers, on two chips."""
    from lhc.runtime import HybridExecutor

    loaded, machine = load_model(model), Hardware.load("lionheart")
    graph = read_graph(loaded)

    def run() -> None:
        made = HybridExecutor(loaded, graph, [layer.name for layer in graph.candidates])
        made.on_chips([made.states(machine, 0, draw, 0.0) for draw in range(2)], machine, 0, range(2))

    return run


def gradients(model: onnx.ModelProto) -> Callable[[], object]:
    """Gradients at all layers at once."""
    from lhc.runtime.gradients.effects_of_all_layers import LayerEffects

    loaded = load_model(model)
    graph, x = read_graph(loaded), np.random.default_rng(1).normal(size=(2, WIDTH)).astype("f4")

    def run() -> None:
        names = [layer.name for layer in graph.candidates]
        made = LayerEffects(loaded, graph, Hardware.load("lionheart"), names, graph.outputs[0])
        made.check_parity({"x": x})
        made.aligned({"x": x}, 2)

    return run


def calls(run: Callable[[], object]) -> int:
    """Calls of functions, those of C among them."""
    profile = cProfile.Profile()
    profile.runcall(run)
    return sum(entry.callcount for entry in profile.getstats())


def growth(work: Callable[[onnx.ModelProto], Callable[[], object]]) -> float:
    """How many times more the second doubling of the depth adds than the first: 2 where work is linear, 4 if square."""
    work(residual(2))()  # imports, and what is compiled at first
    few, more, most = (calls(work(residual(depth))) for depth in DEPTHS)
    return (most - more) / (more - few)


@pytest.mark.parametrize("work", [analysis, search])
def test_work_without_an_engine_grows_with_the_layers(work: Callable[[onnx.ModelProto], Callable[[], object]]) -> None:
    assert growth(work) < 2.5


@pytest.mark.analog
@pytest.mark.parametrize("work", [executor, gradients])
def test_work_of_engines_grows_with_the_layers(work: Callable[[onnx.ModelProto], Callable[[], object]]) -> None:
    assert growth(work) < 2.5


def test_the_measure_tells_work_that_grows_with_the_square() -> None:
    def square(model: onnx.ModelProto) -> Callable[[], object]:
        count = len(model.graph.node)
        return lambda: [abs(n) for _ in range(count) for n in range(count)]

    assert growth(square) > 3.5
