"""What can be analog on a machine, and the reasons, with their numbers, of what cannot."""

from dataclasses import dataclass

import pytest

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware, Tiles
from lhc.passes import Qualify, initial_plan
from lhc.plan import LayerPlan


def weight(shape: tuple[int, ...] = (4, 3), dtype: str = "float32") -> WeightRef:
    return WeightRef("w", 1, shape, dtype, "ab")


@dataclass(frozen=True)
class Case:
    id: str
    op: str
    weight: WeightRef | None
    matrix: MatrixShape | None
    reason: str
    detail: str
    tiles: int = 0
    macs: int = 0
    parameters: int = 0
    activations: int = 0
    count: int | None = None


CASES = [
    Case(
        "one tile",
        "Gemm",
        weight(),
        MatrixShape(64, 10, 1, 1),
        "eligible",
        "64 x 10 weights take 1 tile of 256x255",
        tiles=1,
        macs=640,
        parameters=640,
    ),
    Case(
        "several tiles",
        "Conv",
        weight(shape=(1200, 512, 1, 1)),
        MatrixShape(512, 1200, 1, 49),
        "eligible",
        "512 x 1200 weights take 10 tiles of 256x255",
        tiles=10,
        macs=512 * 1200 * 49,
        parameters=512 * 1200,
    ),
    Case(
        "groups are packed",
        "Conv",
        weight(shape=(300, 1, 3, 3)),
        MatrixShape(9, 1, 300, 196),
        "eligible",
        "9 x 300 x 1 weights take 2 tiles of 256x255",
        tiles=2,
        macs=9 * 300 * 196,
        parameters=2700,
    ),
    Case(
        "just enough tiles",
        "MatMul",
        weight(),
        MatrixShape(257, 256, 1, 2),
        "eligible",
        "257 x 256 weights take 4 tiles of 256x255",
        tiles=4,
        macs=257 * 512,
        parameters=257 * 256,
        count=4,
    ),
    Case(
        "too few tiles",
        "MatMul",
        weight(),
        MatrixShape(257, 256, 1, 2),
        "tiles",
        "257 x 256 weights take 4 tiles of 256x255, the machine has 3",
        tiles=4,
        macs=257 * 512,
        parameters=257 * 256,
        count=3,
    ),
    Case(
        "two activations",
        "MatMul",
        None,
        MatrixShape(64, 128, 1, 128),
        "no-static-weight",
        "both operands are computed at run time (x and w); tiles hold constants",
        activations=64 * 128 * 128,
    ),
    Case(
        "transposed conv",
        "ConvTranspose",
        weight(),
        MatrixShape(4, 12, 1, 25),
        "unsupported",
        "ConvTranspose goes on tiles as a convolution over its spread input, where its attributes tell how it is"
        " padded; here they do not",
        tiles=1,
        macs=1200,
        parameters=48,
    ),
    Case(
        "integers",
        "Gemm",
        weight(dtype="int32"),
        MatrixShape(4, 3, 1, 1),
        "unsupported",
        "weight w is int32; tiles take float weights",
        tiles=1,
        macs=12,
        parameters=12,
    ),
    Case(
        "stack of matrices",
        "MatMul",
        weight(shape=(8, 4, 3)),
        MatrixShape(4, 3, 1, 8),
        "unsupported",
        "weight w is a stack of matrices (8x4x3); one is supported",
        tiles=1,
        macs=96,
        parameters=12,
    ),
    Case("unknown size", "MatMul", weight(), None, "unsupported", "its matrix size is not known"),
]


def qualified(case: Case) -> LayerPlan:
    layer = Layer("layer", case.op, ("x", "w"), ("y",), case.weight, case.matrix)
    graph = LayerGraph([layer, Layer("relu", "Relu", ("y",), ("z",))], ["x"], ["z"])
    hardware = Hardware(name="fake", tiles=Tiles(rows=256, cols=255, count=case.count))
    before = initial_plan(graph, hardware, "", "0.1.0")
    (row,) = Qualify().run(graph, before).plan.layers
    assert [layer.reason for layer in before.layers] == ["eligible"]
    return row


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_verdict_on_a_candidate(case: Case) -> None:
    row = qualified(case)
    assert (row.placement, row.reason, row.detail) == ("digital", case.reason, case.detail)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_costs_of_a_candidate(case: Case) -> None:
    row = qualified(case)
    assert (row.tiles, row.macs, row.parameters) == (case.tiles, case.macs, case.parameters)
    assert row.activation_macs == case.activations
    assert (row.name, row.op_type, row.output) == ("layer", case.op, "y")
    assert row.weight == (None if case.weight is None else "w")


def test_the_plan_names_what_it_was_made_from() -> None:
    graph = LayerGraph([Layer("relu", "Relu", ("x",), ("y",))], ["x"], ["y"])
    hardware = Hardware.load("lionheart")
    plan = initial_plan(graph, hardware, "ab" * 32, "0.1.0")
    assert (plan.source, plan.lhc_version, plan.hardware, plan.layers) == ("ab" * 32, "0.1.0", hardware, ())
    assert Qualify().run(graph, plan).plan == plan


def test_layers_with_one_matrix_say_with_whom_they_share_tiles() -> None:
    layers = [
        Layer(
            name,
            "MatMul",
            (f"x{i}", "w"),
            (f"x{i + 1}",),
            WeightRef("w", 1, (4, 4), "float32", tiles),
            MatrixShape(4, 4, 1, 1),
        )
        for i, (name, tiles) in enumerate({"a": "w", "b": "v", "c": "w", "d": "w"}.items())
    ]
    graph = LayerGraph(layers, ["x0"], ["x4"])
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), "", "0.1.0")).plan
    need = "4 x 4 weights take 1 tile of 256x255"
    assert [row.detail for row in plan.layers] == [need, need, f"{need}, shared with a", f"{need}, shared with a"]
