"""Layers for people: the blocks that `lhc analyze` groups them by."""

import pytest

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.passes import Qualify, initial_plan
from lhc.pipeline.analysis_and_partition_results import Analysis

NAMES = ("embed.project", "layers.0.attn.q", "layers.0.attn.scores", "layers.0.mlp", "layers.1.mlp", "head")


def _analysis(names: tuple[str, ...] = NAMES) -> Analysis:
    """MatMuls side by side; what ends in ``scores`` has no constant operand."""
    layers = [
        Layer(
            name,
            "MatMul",
            ("x", f"{name}.w"),
            (f"{name}.out",),
            None if name.endswith("scores") else WeightRef(f"{name}.w", 1, (300, 4), "float32", name),
            MatrixShape(300, 4, 1, 2),
        )
        for name in names
    ]
    graph = LayerGraph(layers, ["x"], [f"{name}.out" for name in names])
    machine = Hardware.load("lionheart").model_copy(update={"costs": None})
    return Analysis(Qualify().run(graph, initial_plan(graph, machine, "", "0")).plan, graph)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("encoder.layer.3.attention.query", "encoder.layer.3"),
        ("layer1.0.conv1", "layer1.0"),
        ("encoder.layer.3.0.up", "encoder.layer.3"),
        ("features.0", "features"),
        ("stem.conv", "stem"),
        ("head", ""),
        ("/model/layer.2/fc/Gemm", "model.layer.2"),
    ],
)
def test_a_block_ends_at_the_first_number(name: str, block: str) -> None:
    assert list(_analysis((name,)).blocks()) == [block]


def test_products_of_activations_are_in_the_block_whose_module_computes_them() -> None:
    row = _analysis(("layers.0.scores",)).plan.layers[0]
    assert row.reason == "no-static-weight"
    cases = {"layers.0": "layers.0", "layers.0.attn": "layers.0", "encoder.attn": "encoder", "attn": ""}
    assert {module: row.model_copy(update={"module": module}).block for module in cases} == cases
    weighted = _analysis(("features.0",)).plan.layers[0]
    assert weighted.model_copy(update={"module": "features.0"}).block == "features"


def test_blocks_hold_their_layers_in_the_order_of_the_file() -> None:
    blocks = {block: [layer.name for layer in layers] for block, layers in _analysis().blocks().items()}

    assert blocks == {
        "embed": ["embed.project"],
        "layers.0": ["layers.0.attn.q", "layers.0.attn.scores", "layers.0.mlp"],
        "layers.1": ["layers.1.mlp"],
        "": ["head"],
    }


def test_the_table_sums_a_block_of_several_layers_and_says_why_one_stays_digital() -> None:
    analysis = _analysis()

    rows = {row[0]: row for row in analysis.as_table().rows}

    assert list(rows) == [
        "embed.project", "layers.0", "  layers.0.attn.q", "  layers.0.attn.scores", "  layers.0.mlp", "layers.1.mlp",
        "head",
    ]  # fmt: skip
    # MACs by weights, their share, those of two activations beside; 300 rows take two tiles.
    assert rows["layers.0"][2:8] == ["2 of 3", "4,800", "40.0 %", "2,400", "2,400", "4"]
    assert analysis.tiles_among(analysis.blocks()["layers.0"]) == 4
    assert rows["  layers.0.attn.scores"][-1].startswith("no-static-weight: both operands are computed at run time")


def test_rows_for_machines_are_not_grouped_and_name_the_block() -> None:
    table = _analysis().as_table(grouped=False)

    assert [(row[0], row[-1]) for row in table.rows][:3] == [
        ("embed.project", "embed"),
        ("layers.0.attn.q", "layers.0"),
        ("layers.0.attn.scores", "layers.0"),
    ]
