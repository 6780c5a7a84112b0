"""Every operator that multiplies by stored weights is known, and what cannot be counted is listed."""

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lhc.graph import CANDIDATE_OPS
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_io.operators.operator_names import OPAQUE, WEIGHTLESS
from lhc.onnx_io.operators.operator_table import COUNTED, LARGE
from tests.onnx_io.one_operator import MICROSOFT, Counted, built, checked, u8


def schemas() -> Iterator[tuple[str, str]]:
    """Domain and name of every operator that onnx or onnxruntime knows."""
    from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime

    for schema in (*onnx.defs.get_all_schemas_with_history(), *onnxruntime.get_all_operator_schema()):
        yield ("" if schema.domain == "ai.onnx" else schema.domain), schema.name


def test_every_operator_of_onnx_and_onnxruntime_is_in_one_table() -> None:
    """A new release with a new operator fails here: find out whether it multiplies by weights, and put it in."""
    tables = (set(COUNTED), set(WEIGHTLESS), set(OPAQUE))
    assert not tables[0] & tables[1] | tables[0] & tables[2] | tables[1] & tables[2]
    known = set().union(*tables)
    assert sorted(set(schemas()) - known) == []


def test_every_candidate_is_in_the_table() -> None:
    assert {("", name) for name in CANDIDATE_OPS} <= set(COUNTED)


def test_what_sums_over_nothing_or_is_no_product_is_not_listed() -> None:
    node = helper.make_node("Einsum", ["x", "w"], ["y"], equation="bi,i->bi")
    assert built(node, {"x": (1, 4)}, {"w": np.ones(4, np.float32)}).multiplying == ()
    node = helper.make_node("GatedAdd", ["x", "x", "g"], ["y"], domain=MICROSOFT)
    assert built(node, {"x": (1, 4), "g": (1, 1)}, {}).multiplying == ()
    data: dict[str, np.ndarray] = {"d": np.zeros((64, 32), np.uint8), "s": np.ones((64, 2), np.float32)}
    node = helper.make_node("GatherBlockQuantized", ["d", "x", "s"], ["y"], domain=MICROSOFT)
    assert built(node, {"x": (1, 4)}, data).multiplying == ()


def test_an_operator_that_lhc_does_not_know_is_listed_where_it_reads_many_numbers() -> None:
    node = helper.make_node("Twist", ["x", "w"], ["y"], name="twist", domain="acme")
    (layer,) = built(node, {"x": (1, 4)}, {"w": np.ones((LARGE // 4, 4), np.float32)}).multiplying
    assert layer.work is not None
    assert (layer.work.macs, layer.work.parameters, layer.work.missing) == (0, LARGE, "operator")
    assert layer.refusal is not None
    assert layer.refusal.detail.startswith("lhc does not know acme::Twist; it reads 1,024 stored numbers")
    assert built(node, {"x": (1, 4)}, {"w": np.ones((LARGE // 4 - 1, 4), np.float32)}).multiplying == ()


def test_a_new_operator_of_a_known_domain_is_not_known_either() -> None:
    node = helper.make_node("MatMulOfNextYear", ["x", "w"], ["y"], name="new", domain=MICROSOFT)
    (layer,) = built(node, {"x": (1, 64)}, {"w": np.ones((64, 64), np.float32)}).multiplying
    assert layer.work is not None
    assert layer.work.missing == "operator"


def test_a_compiled_network_is_listed_whatever_it_reads() -> None:
    node = helper.make_node("EPContext", ["x"], ["y"], name="blob", domain=MICROSOFT, ep_cache_context="abc")
    (layer,) = built(node, {"x": (1, 4)}, {}).multiplying
    assert layer.refusal is not None
    assert "holds a network that cannot be looked into" in layer.refusal.detail


def test_sizes_that_are_not_known_leave_an_operator_to_be_observed() -> None:
    proto = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Twist", ["x"], ["h"], name="twist", domain="acme"),
                helper.make_node("LSTM", ["h", "w", "r"], ["", "last"], name="lstm", hidden_size=4),
            ],
            "net",
            [helper.make_tensor_value_info("x", 1, [1, 4])],
            [helper.make_tensor_value_info("last", 1, None)],
            [numpy_helper.from_array(np.ones((1, 16, n), np.float32), name) for name, n in (("w", 5), ("r", 4))],
        ),
        opset_imports=[helper.make_opsetid("", 22), helper.make_opsetid("acme", 1)],
        ir_version=10,
    )
    model = checked(proto)
    (layer,) = read_graph(model).unresolved
    assert layer.name == "lstm"
    assert layer.work is not None
    assert (layer.work.macs, layer.work.parameters) == (0, 16 * 9)
    observed = read_graph(model, observed={"h": (7, 1, 5)})
    assert observed.unresolved == ()
    assert [layer.work.macs for layer in observed.multiplying if layer.work] == [7 * 16 * 9]


NONSENSE = [
    Counted("negative sizes", "MatMulNBits", ((1, 6, 40), "w", "s"), {"w": u8(3, 2, 16), "s": (3, 2)}, 0, 0,
            attributes={"K": -40, "N": 3, "block_size": 32}),
    Counted("no sizes", "MatMulFpQ4", ((1, 6, 32), "w", "n"), {"w": u8(60), "n": np.array(32)}, 0, 0),
    Counted("no bits", "QMoE", ((1, 6, 8), (6, 4), "w", "", "", "v"), {"w": u8(4, 32, 4), "v": u8(4, 8, 8)}, 0, 0,
            attributes={"expert_weight_bits": 16}),
    Counted("too few axes", "DynamicQuantizeLSTM", ((7,), "w", "r"), {"w": u8(1, 5, 16), "r": u8(1, 4, 16)}, 0, 0),
    Counted("another number of labels", "Attention", ((1, 6, 8), "w"), {"w": (8, 24)}, 0, 0,
            attributes={"qkv_hidden_sizes": [8, 8]}),
    Counted("empty weights", "CDist", ((1, 0), "w"), {"w": (3,)}, 0, 0),
]  # fmt: skip


@pytest.mark.parametrize("case", NONSENSE, ids=lambda case: case.id)
def test_what_makes_no_sense_is_listed_and_not_counted(case: Counted) -> None:
    (layer,) = case.graph().multiplying
    assert layer.work is not None
    assert (layer.work.macs, layer.work.missing) == (0, "sizes")


def test_a_sparse_weight_multiplies_as_often_as_it_stores_entries() -> None:
    values = numpy_helper.from_array(np.ones(5, np.float32), "w")
    indices = numpy_helper.from_array(np.array([0, 3, 7, 9, 20]), "w_indices")
    node = helper.make_node("SparseToDenseMatMul", ["w", "x"], ["y"], name="layer", domain=MICROSOFT)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", 1, [6, 3])],
        [helper.make_tensor_value_info("y", 1, [4, 3])],
        sparse_initializer=[helper.make_sparse_tensor(values, indices, [4, 6])],
    )
    imports = [helper.make_opsetid("", 22), helper.make_opsetid(MICROSOFT, 1)]
    (layer,) = read_graph(load_model(helper.make_model(graph, opset_imports=imports, ir_version=10))).multiplying
    assert layer.work is not None
    # Its input's first axis counts samples, so that at most one of 3 columns is a sample's.
    assert (layer.work.macs, layer.work.parameters) == (5, 5)
