"""Products by matrices that are picked from a stack, as transformers writes experts."""

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.canonical import canonical
from lhc.hardware import Hardware
from lhc.onnx_io import load_model
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.runtime import parity_errors
from lhc.runtime.gradients.network import DifferentiableModel, parity
from lhc.runtime.onnxruntime.sessions import Array, create_session, must_run

MATRICES, INPUTS, OUTPUTS, ROWS = 3, 8, 4, 6
RNG = np.random.default_rng(5)
STACK = RNG.normal(size=(MATRICES, OUTPUTS, INPUTS)).astype(np.float32)
FEEDS = {"x": RNG.normal(size=(ROWS, INPUTS)).astype(np.float32), "at": np.array([2, 0, -1, -3, 1, 0])}


@dataclass(frozen=True)
class Case:
    id: str
    stack: Array
    nodes: str
    """Computes ``p`` from ``c``, the columns ``(rows, inputs, 1)``, or ``r``, the rows ``(rows, 1, inputs)``."""


SWAPPED = STACK.transpose(0, 2, 1)
CASES = [
    Case("columns", STACK, "m = Gather<axis = 0>(w, at) [mm] p = MatMul(m, c)"),
    Case("columns by GatherND", STACK, "i = Unsqueeze(at, one) m = GatherND(w, i) [mm] p = MatMul(m, c)"),
    Case("rows", SWAPPED, "m = Gather(w, at) [mm] p = MatMul(r, m)"),
    Case("rows by transposes", STACK, "g = Gather(w, at) m = Transpose<perm = [0, 2, 1]>(g) [mm] p = MatMul(r, m)"),
    Case(
        "columns by transposes", SWAPPED, "g = Gather(w, at) m = Transpose<perm = [0, 2, 1]>(g) [mm] p = MatMul(m, c)"
    ),
]


def file(case: Case, at: str = "int64[N] at") -> onnx.ModelProto:
    proto = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
    net (float[N, {INPUTS}] x, {at}) => (float[N, {OUTPUTS}] y) {{
      c = Unsqueeze(x, two)
      r = Unsqueeze(x, one)
      {case.nodes}
      y = Reshape(p, size)
    }}""")
    stored = {"w": case.stack, "one": np.array([1]), "two": np.array([2]), "size": np.array([-1, OUTPUTS])}
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in stored.items())
    return proto


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_rows_go_through_the_matrix_that_they_pick(case: Case) -> None:
    proto = file(case)
    model = canonical(load_model(proto, runs=must_run))
    (expected,) = create_session(proto, "file").run(None, FEEDS)
    (found,) = create_session(model.proto, "form").run(None, FEEDS)
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()

    layers = LoadedModel(model, None).graph({"x": (ROWS, INPUTS), "at": (ROWS,)}).multiplying
    assert [layer.name for layer in layers] == ["mm/0", "mm/1", "mm/2"]
    macs = [layer.work.macs for layer in layers if layer.work is not None]
    assert sum(macs) == INPUTS * OUTPUTS  # a row, whichever it picks


@pytest.mark.analog
@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case.id)
def test_the_parity_gate_compares_both_forms(case: Case) -> None:
    model = canonical(load_model(file(case), runs=must_run))
    graph = LoadedModel(model, None).graph()
    errors = parity_errors(model, graph, Hardware.load("ideal"), ["mm/0", "mm/1", "mm/2"], FEEDS, ROWS)
    assert max(errors.values()) < 1e-5


@pytest.mark.analog
def test_every_matrix_has_a_gradient() -> None:
    model = canonical(load_model(file(CASES[0]), runs=must_run))
    module = DifferentiableModel(model, LoadedModel(model, None).graph())
    assert max(parity(module, FEEDS).values()) < 1e-5
    module(FEEDS)["y"].square().sum().backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    assert len(gradients) == MATRICES
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def test_matrices_for_every_row_of_a_table_stay_a_product_of_activations() -> None:
    case = Case("table", STACK, "j = Unsqueeze(at, one) m = Gather(w, j) s = Squeeze(m, one) [mm] p = MatMul(s, c)")
    (layer,) = LoadedModel(canonical(load_model(file(case))), None).graph().multiplying
    assert (layer.name, layer.weight) == ("mm", None)
