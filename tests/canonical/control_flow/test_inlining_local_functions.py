# mypy: disable-error-code="name-defined, no-any-return, no-untyped-call, no-untyped-def, type-arg, valid-type"
"""Products in local functions are parts of their calls."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxscript import FLOAT, script
from onnxscript import opset18 as op
from onnxscript.values import Opset

import lhc
from lhc.canonical import canonical
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph, read_plan
from lhc.runtime.onnxruntime.sessions import Array, create_session

pytestmark = pytest.mark.analog

IDEAL = Hardware.load("lionheart").geometry
X = {"x": np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32)}
own = Opset("own", 1)


@script(own, default_opset=op)
def dense(x, w, b, alpha: float = 0.1):  # noqa: ANN001, ANN201
    return op.LeakyRelu(op.Add(op.MatMul(x, w), b), alpha=alpha)


@script(own, default_opset=op)
def block(x, w, b, v, c):  # noqa: ANN001, ANN201
    h = dense(x, w, b, alpha=0.3)
    return dense(h, v, c)


@script(default_opset=op)
def net(x: FLOAT["N", 12], w: FLOAT[12, 16], b: FLOAT[16], v: FLOAT[16, 12], c: FLOAT[12]) -> FLOAT["N", 12]:  # noqa: F821
    y = block(x, w, b, v, c)
    return block(y, w, b, v, c)


@pytest.fixture(scope="module")
def file() -> onnx.ModelProto:
    proto: onnx.ModelProto = net.to_model_proto()
    rng = np.random.default_rng(0)
    shapes = {"w": (12, 16), "b": (16,), "v": (16, 12), "c": (12,)}
    for name, shape in shapes.items():
        proto.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32) / 3, name))
    kept = [value for value in proto.graph.input if value.name not in shapes]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    return proto


def outputs(file: onnx.ModelProto) -> Array:
    found: Array = create_session(file, "file").run(None, X)[0]
    return found


def test_their_products_are_parts_of_the_call(file: onnx.ModelProto) -> None:
    graph = read_graph(canonical(load_model(file)))
    origins = [layer.origin for layer in graph.candidates]
    assert [(o.node, o.kind) for o in origins if o] == [(n.name, "own::block") for n in file.graph.node for _ in "12"]
    assert len({layer.name for layer in graph.candidates}) == 4
    assert len(graph.tied(layer.name for layer in graph.candidates)) == 2
    assert graph.nested == ()


def test_they_are_placed_run_and_compiled_with_the_attributes_of_the_call(file: onnx.ModelProto) -> None:
    expected = outputs(file)
    result = lhc.partition(
        file, X, metric="nmse", draws=2, objective="macs", strategy="all-analog", hardware=IDEAL, max_drop=1.0,
        copies="off",
    )  # fmt: skip
    annotated = result.model
    keys = [{entry.key: entry.value for entry in node.metadata_props} for node in annotated.graph.node]
    assert [(k["lhc.placement"], k["lhc.macs"], k["lhc.tiles"]) for k in keys] == [("analog", "384", "2")] * 2
    plan = read_plan(load_model(annotated))
    assert plan is not None
    for found in (
        lhc.HybridSession(annotated).run(None, X)[0],
        lhc.HybridSession(annotated, placement=sorted(plan.analog)[:1]).run(None, X)[0],
        outputs(lhc.compile(annotated, noise="off").proto),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    np.testing.assert_array_equal(lhc.HybridSession(annotated, placement=[]).run(None, X)[0], expected)


def test_a_function_that_does_not_compute_what_it_returns(file: onnx.ModelProto) -> None:
    """onnxruntime refuses such a file; it is read like any other up to there."""
    other = onnx.ModelProto()
    other.CopyFrom(file)
    other.functions[0].output[0] = "nothing"
    assert len(read_graph(canonical(load_model(other))).candidates) > 0


def test_a_function_for_another_opset_stays_a_call(file: onnx.ModelProto) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(file)
    for entry in (entry for function in other.functions for entry in function.opset_import if not entry.domain):
        entry.version = 17
    graph = read_graph(canonical(load_model(other)))
    assert graph.candidates == ()
    assert [layer.op_type for layer in graph.nested] == ["own::dense"] * 4
    assert all(layer.refusal and "for other versions of operators" in layer.refusal.detail for layer in graph.nested)
