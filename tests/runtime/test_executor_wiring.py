"""Analog layers in any wiring, at any placement, equal onnxruntime: branches, loops, shared tiles, inner outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lhc.errors import ModelError
from lhc.hardware import Hardware
from lhc.onnx_io import Constants, load_model, read_graph
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime import HybridSession
from lhc.runtime.segments import SegmentModels, cut_graph
from lhc.runtime.tiles.analog_matrix import AnalogMatrix
from tests.runtime.models_on_tiles import (
    IDEAL,
    LIONHEART,
    TOLERANCE,
    Array,
    assert_equal,
    by_onnxruntime,
    error_of,
    model_of,
    normal,
)

pytestmark = pytest.mark.analog


def _linear(rng: np.random.Generator, *names: str, inputs: int = 6, outputs: int = 6) -> dict[str, Array]:
    return {name: normal(rng, (inputs, outputs)) for name in names}


@pytest.fixture
def programmed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices that were programmed, in order."""
    seen: list[str] = []
    reads: Callable[..., list[ProgrammedMatrix]] = AnalogMatrix.reads

    def watched(self: AnalogMatrix, *chip: Any) -> list[ProgrammedMatrix]:  # noqa: ANN401
        found = reads(self, *chip)
        seen.append(found[0].devices)
        return found

    monkeypatch.setattr(AnalogMatrix, "reads", watched)
    return seen


def test_nodes_that_share_weights_share_tiles_programmed_once(programmed: list[str]) -> None:
    """The same matrix as B of a MatMul, transposed as B of a Gemm, and once more under another name."""
    rng = np.random.default_rng(3)
    x, weight = normal(rng, (5, 6)), normal(rng, (6, 4))
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("Gemm", ["x", "V"], ["b"], transB=1),
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("MatMul", ["n", "W"], ["c"]),
        helper.make_node("MatMul", ["x", "other"], ["d"]),
    ]
    constants = {"W": weight, "V": weight.T.copy(), "other": 2 * weight}
    outputs = dict.fromkeys("abcd", 2)
    session = assert_equal(model_of(nodes, {"x": x}, outputs, constants), {"x": x}, analog=4)
    assert len(programmed) == 2
    assert len(set(programmed)) == 2
    programmed.clear()
    session.program(1)
    assert len(programmed) == 2
    # One chip holds W: what its devices get wrong is the same in every node. Devices alone, without noise of a read.
    devices = LIONHEART.model_copy(update={"adc": LIONHEART.geometry.adc, "dac": LIONHEART.geometry.dac})
    a, b, c, d = HybridSession(model_of(nodes, {"x": x}, outputs, constants), devices, "all-analog").run(None, {"x": x})
    assert np.array_equal(a, b)
    assert np.allclose(a, -c, atol=1e-6)
    assert np.abs(2 * a - d).max() > 0.01
    assert np.abs(a - x @ weight).max() > 0.01


@pytest.mark.parametrize("analog", [(), "all-analog"], ids=["digital", "analog"])
def test_an_input_that_nothing_reads_is_given_and_ignored(analog: tuple[str, ...] | str) -> None:
    rng = np.random.default_rng(5)
    feeds = {"x": normal(rng, (3, 6)), "mask": normal(rng, (3, 2))}
    model = model_of([helper.make_node("MatMul", ["x", "W"], ["y"])], feeds, {"y": 2}, {"W": normal(rng, (6, 4))})
    (result,), (expected,) = HybridSession(model, IDEAL, analog).run(None, feeds), by_onnxruntime(model, feeds)
    assert error_of(result, expected) <= TOLERANCE


def test_biases_computed_at_run_time_and_products_of_constants() -> None:
    rng = np.random.default_rng(4)
    feeds = {"x": normal(rng, (3, 2, 5, 5)), "b": normal(rng, (4,)), "z": normal(rng, (3, 6))}
    nodes = [
        helper.make_node("Exp", ["b"], ["bias"]),
        helper.make_node("Conv", ["x", "K", "bias"], ["y"]),
        helper.make_node("MatMul", ["z", "W"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["h", "V", "r"], ["g"], beta=0.5),  # C comes from an analog layer
        helper.make_node("Conv", ["X", "K", "bias"], ["c"]),
        helper.make_node("Gemm", ["V", "W"], ["v"]),
    ]
    constants = {"K": normal(rng, (4, 2, 3, 3)), "X": normal(rng, (1, 2, 4, 4)), **_linear(rng, "W", "V")}
    assert_equal(model_of(nodes, feeds, {"y": 4, "g": 2, "c": 4, "v": 2}, constants), feeds, analog=3)  # not c, v


@pytest.mark.parametrize("ir_version", [3, 10])
def test_subgraphs_capture_analog_outputs(ir_version: int) -> None:
    """An If whose branches read an analog output, a constant and, one If deeper, another analog output."""
    rng = np.random.default_rng(5)

    def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(nodes[-1].output[0], onnx.TensorProto.FLOAT, None)
        return helper.make_graph(list(nodes), name, [], [output])

    inner = helper.make_node(
        "If",
        ["deep"],
        ["i"],
        then_branch=branch("inner_then", helper.make_node("Sub", ["b", "S"], ["it"])),
        else_branch=branch("inner_else", helper.make_node("Neg", ["b"], ["ie"])),
    )
    chosen = helper.make_node(
        "If",
        ["flag"],
        ["y"],
        then_branch=branch("then", helper.make_node("Add", ["a", "S"], ["t"])),
        else_branch=branch("else", inner, helper.make_node("Mul", ["i", "a"], ["e"])),
    )
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["r", "V"], ["b"]),
        chosen,
        helper.make_node("MatMul", ["y", "W"], ["z"]),
    ]
    constants = {"S": np.array([0.5], np.float32), **_linear(rng, "W", "V")}
    x = normal(rng, (4, 6))
    for flag in (True, False):
        for deep in (True, False):
            feeds = {"x": x, "flag": np.asarray(flag), "deep": np.asarray(deep)}
            model = model_of(nodes, feeds, {"z": 2}, constants)
            model.ir_version = ir_version
            if ir_version < 4:
                known = model.graph.initializer
                model.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in known)
            assert_equal(model, feeds, analog=3)


def test_loop_body_captures_an_analog_output() -> None:
    rng = np.random.default_rng(6)
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Add", ["state", "a"], ["next"]), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [
            info("i", onnx.TensorProto.INT64, []),
            info("go", onnx.TensorProto.BOOL, []),
            info("state", onnx.TensorProto.FLOAT, None),
        ],
        [info("on", onnx.TensorProto.BOOL, []), info("next", onnx.TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("Loop", ["trips", "", "x"], ["sum"], body=body),
        helper.make_node("MatMul", ["sum", "V"], ["y"]),
    ]
    feeds = {"x": normal(rng, (4, 6))}
    constants = {"trips": np.array(3, np.int64), **_linear(rng, "W", "V")}
    assert_equal(model_of(nodes, feeds, {"y": 2}, constants), feeds, analog=2)


def test_outputs_that_are_inner_tensors_inputs_and_constants() -> None:
    rng = np.random.default_rng(7)
    x = normal(rng, (4, 6))
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),  # analog, an output, and read by two others
        helper.make_node("Relu", ["a"], ["r"]),  # digital, an output, and read by an analog layer
        helper.make_node("MatMul", ["r", "V"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    outputs = {"r": 2, "x": 2, "y": 2, "W": 2, "a": 2}
    session = assert_equal(model_of(nodes, {"x": x}, outputs, _linear(rng, "W", "V")), {"x": x}, analog=2)
    everything = dict(zip(outputs, session.run(None, {"x": x}), strict=True))
    for names in (["a"], ["y", "r"], ["x"], ["W", "y", "W"], []):
        some = session.run(names, {"x": x})
        wanted = names or list(outputs)  # no names are all, as in onnxruntime
        assert [value.tobytes() for value in some] == [everything[name].tobytes() for name in wanted]


def test_output_that_nothing_computes_is_the_input_itself() -> None:
    rng = np.random.default_rng(8)
    feeds = {"x": normal(rng, (4, 6)), "unused": normal(rng, (2, 2))}
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    model = model_of([node], feeds, {"unused": 2, "x": 2}, _linear(rng, "W"))
    assert_equal(model, feeds)


def _network(wiring: str) -> tuple[list[onnx.NodeProto], int]:
    """Operators from x to y with the weights U, V and W, and how many of them are products."""
    make = helper.make_node
    if wiring == "in sequence":
        return [make("MatMul", ["x", "U"], ["a"]), make("Gemm", ["a", "V"], ["y"], transB=1)], 2
    if wiring == "in sequence, digital between":
        return [make("MatMul", ["x", "U"], ["a"]), make("Relu", ["a"], ["r"]), make("MatMul", ["r", "V"], ["y"])], 2
    if wiring == "in parallel":
        return [make("MatMul", ["x", "U"], ["a"]), make("MatMul", ["x", "V"], ["b"]), make("Add", ["a", "b"], ["y"])], 2
    if wiring == "around a skip":
        return [
            make("MatMul", ["x", "U"], ["a"]),
            make("Add", ["a", "x"], ["s"]),
            make("MatMul", ["s", "V"], ["b"]),
            make("Add", ["b", "s"], ["t"]),
            make("MatMul", ["t", "W"], ["c"]),
            make("Sum", ["a", "b", "c", "x"], ["y"]),
        ], 3
    if wiring == "branches of unequal depth":
        return [
            make("MatMul", ["x", "U"], ["a"]),
            make("MatMul", ["a", "V"], ["b"]),
            make("Sigmoid", ["x"], ["d"]),
            make("MatMul", ["d", "W"], ["e"]),
            make("Mul", ["b", "e"], ["f"]),
            make("MatMul", ["f", "W"], ["g"]),
            make("Max", ["g", "d", "a"], ["y"]),
        ], 4
    assert wiring == "constants across cuts"
    return [
        make("Constant", [], ["shape"], value_ints=[-1, 3]),
        make("Constant", [], ["half"], value_float=0.5),
        make("Constant", [], ["two"], value=numpy_helper.from_array(np.array([2.0], np.float32))),
        make("Mul", ["x", "half"], ["m"]),
        make("Mul", ["m", "two"], ["n"]),
        make("MatMul", ["n", "U"], ["a"]),
        make("Reshape", ["a", "shape"], ["b"]),
        make("Mul", ["b", "half"], ["c"]),
        make("Mul", ["c", "two"], ["y"]),
    ], 1


WIRINGS = [
    "in sequence",
    "in sequence, digital between",
    "in parallel",
    "around a skip",
    "branches of unequal depth",
    "constants across cuts",
]


def _wired(wiring: str) -> tuple[onnx.ModelProto, dict[str, Array], int]:
    rng = np.random.default_rng(9)
    nodes, products = _network(wiring)
    x = normal(rng, (4, 6))
    return model_of(nodes, {"x": x}, {"y": 2}, _linear(rng, "U", "V", "W")), {"x": x}, products


@pytest.mark.parametrize("wiring", WIRINGS)
def test_any_wiring_and_any_placement_equals_onnxruntime(wiring: str) -> None:
    model, feeds, products = _wired(wiring)
    assert_equal(model, feeds, analog=products)
    expected = by_onnxruntime(model, feeds)[0]
    names = [node.name for node in load_model(model).proto.graph.node if node.op_type in ("MatMul", "Gemm")]
    for chosen in range(1 << products):
        placement = [name for i, name in enumerate(names) if chosen >> i & 1]
        session = HybridSession(model, IDEAL, placement)
        assert session.analog == set(placement)
        result = session.run(None, feeds)[0]
        assert error_of(result, expected) <= TOLERANCE
        if not placement:
            assert result.tobytes() == expected.tobytes()


@pytest.mark.parametrize("wiring", WIRINGS)
def test_segments_define_every_tensor_once(wiring: str) -> None:
    proto, _, _ = _wired(wiring)
    model = load_model(proto)
    graph = read_graph(model, sizes=False)
    analog = frozenset(layer.name for layer in graph.candidates)
    nodes = {node.name: node for node in model.proto.graph.node}
    tensors = (t for layer in graph.layers for t in (*layer.inputs, *layer.outputs))
    types = dict.fromkeys(tensors, onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None))
    models = SegmentModels(model, nodes, types)
    for segment, _ in cut_graph(graph, analog, Constants(model.proto.graph)):
        if segment is not None:
            part = models.of(segment).graph
            defined = [
                *(value.name for value in part.input),
                *(tensor.name for tensor in part.initializer),
                *(tensor for node in part.node for tensor in node.output),
            ]
            assert len(defined) == len(set(defined))
            assert {t for node in part.node for t in node.input} <= set(defined)


def test_sequence_between_segments_is_refused_with_the_reason() -> None:
    rng = np.random.default_rng(10)
    x = normal(rng, (4, 6))
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0),
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("ArgMax", ["a"], ["where"], axis=1),
        helper.make_node("ReduceMin", ["where"], ["index"], keepdims=0),
        helper.make_node("SequenceAt", ["parts", "index"], ["y"]),
    ]
    constants = {"W": normal(rng, (6, 4))}
    model = model_of(nodes, {"x": x}, {"y": 2}, constants)
    assert np.array_equal(HybridSession(model, IDEAL).run(None, {"x": x})[0], by_onnxruntime(model, {"x": x})[0])
    with pytest.raises(ModelError, match=r"'parts' passes between digital segments and is a seq\(tensor\(float\)\)"):
        HybridSession(model, IDEAL, "all-analog")


RESIZED = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4, H, W] x) => (float[N, 6, 8] y)
<int64[1] one = {1}, int64[2] still = {1, 8}, int64[1] two = {2}, int64[1] four = {4},
 int64[3] rows = {0, 8, 6}, int64[3] flat = {1, 6, 8}, float[1] area = {25.0}, float[1] half = {0.5}> {
  [conv] c = Conv (x, k)
  shape = Shape (c)
  columns = Reshape (c, rows)
  tokens = Transpose <perm = [0, 2, 1]> (columns)
  side = Pow (area, half)
  sides = Cast <to = 7> (side)
  channels = Slice (shape, one, two)
  image = Concat <axis = 0> (one, sides, sides, channels)
  table = Reshape (e, image)
  turned = Transpose <perm = [0, 3, 1, 2]> (table)
  spatial = Slice (shape, two, four)
  sizes = Concat <axis = 0> (still, spatial)
  resized = Resize <mode = "cubic"> (turned, , , sizes)
  back = Transpose <perm = [0, 2, 3, 1]> (resized)
  places = Reshape (back, flat)
  y = Add (tokens, places)
}"""
"""onnxruntime's Resize makes an image smaller by cubic splines where channels come first. Its optimiser moves the
transpositions past it, unless the first one is of a constant."""


@pytest.fixture
def resized() -> onnx.ModelProto:
    model = onnx.parser.parse_model(RESIZED)
    rng = np.random.default_rng(12)
    for name, shape in {"e": (1, 25, 8), "k": (8, 4, 3, 2)}.items():
        model.graph.initializer.append(numpy_helper.from_array(normal(rng, shape), name))
    return model


def test_what_follows_from_constants_is_constant_in_every_segment(resized: onnx.ModelProto) -> None:
    assert_equal(resized, {"x": normal(np.random.default_rng(13), (3, 4, 4, 4))}, analog=1)


def test_the_order_of_the_feeds_changes_nothing() -> None:
    rng = np.random.default_rng(11)
    feeds = {"x": normal(rng, (6, 5)), "scale": normal(rng, (5,))}  # x has the samples: it is the model's first input
    nodes = [helper.make_node("Mul", ["x", "scale"], ["s"]), helper.make_node("MatMul", ["s", "W"], ["y"])]
    model = model_of(nodes, feeds, {"y": 2}, {"W": normal(rng, (5, 3))})
    answers = []
    for names in (("x", "scale"), ("scale", "x")):
        session = HybridSession(model, LIONHEART, "all-analog")
        answers += [[session.run(None, {name: feeds[name] for name in names})[0].tobytes() for _ in range(2)]]
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


def test_nodes_that_share_tiles_read_them_with_noise_of_their_own() -> None:
    """Two reads of one tile: the same devices, so the same weights, but never the same noise."""
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N, 8] x) => (float[N, 8] y, float[N, 8] z) {'
    model = onnx.parser.parse_model(text + " y = MatMul (x, w) z = MatMul (x, w) }")
    weight = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    feeds = {"x": np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)}
    noisy = HybridSession(model, placement="all-analog").run(None, feeds)
    assert not np.array_equal(noisy[0], noisy[1])
    hardware = Hardware.load("lionheart")
    quiet = hardware.model_copy(update={"adc": hardware.adc.model_copy(update={"noise": 0.0})})
    same = HybridSession(model, hardware=quiet, placement="all-analog").run(None, feeds)
    assert np.array_equal(same[0], same[1])
