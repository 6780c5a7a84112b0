"""The block grid: every layer once, nothing overlaps, and about 100 layers are legible."""

import itertools
from collections.abc import Callable

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhc.hardware import Hardware
from lhc.plan import LayerPlan, Plan, Sensitivity
from lhc.report.charts.layer_grid_by_block import Cell, block_grid, short_names
from lhc.report.document.report import Report


def layer(name: str, sensitivity: float | None = None, **fields: object) -> LayerPlan:
    return LayerPlan(
        **{  # type: ignore[arg-type]
            "name": name,
            "op_type": "MatMul",
            "weight": "w",
            "output": "y",
            "placement": "analog",
            "reason": "budget",
            "detail": "",
            "macs": 10,
            "parameters": 10,
            "tiles": 1,
            "sensitivity": None
            if sensitivity is None
            else Sensitivity(metric="kl", mean=sensitivity, std=0.0, interval=None),
            **fields,
        }
    )


def plan_of(*layers: LayerPlan) -> Plan:
    return Plan(lhc_version="0", source="", hardware=Hardware.load("lionheart"), layers=layers)


def overlap(one: Cell, other: Cell) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


@settings(max_examples=30)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=40))
def test_every_layer_has_a_cell_of_its_own(sizes: list[int]) -> None:
    layers = [layer(f"blocks.{b}.part{i}") for b, size in enumerate(sizes) for i in range(size)]
    grid = block_grid(plan_of(*layers))
    assert sorted(cell.index for cell in grid.cells) == list(range(len(layers)))
    assert [row.full for row in grid.rows] == [f"blocks.{b}" for b in range(len(sizes))]
    for cell in grid.cells:
        assert cell.x >= 0
        assert cell.x + cell.width <= grid.width + 1e-6
        assert cell.y >= 0
        assert cell.y + cell.height <= grid.height + 1e-6
        assert min(cell.width, cell.height) >= 8
    by_row = sorted(grid.cells, key=lambda cell: (cell.y, cell.x))
    for one, other in itertools.pairwise(by_row):
        assert not overlap(one, other)


def test_a_hundred_layers_show_name_and_figure(
    make_judged: Callable[[onnx.ModelProto], tuple[onnx.ModelProto, Plan]],
    make_transformer: Callable[..., onnx.ModelProto],
) -> None:
    _, plan = make_judged(make_transformer(12))
    grid = block_grid(plan)
    assert len(grid.cells) == 98
    assert grid.height <= 480
    assert grid.lines == 2
    assert grid.font >= 10
    assert all(cell.name and not cell.name.startswith("…") for cell in grid.cells)
    assert all(cell.figure for cell in grid.cells)
    heads = {cell.index: cell.x for cell in grid.cells if cell.name == "q_proj"}
    assert len(set(heads.values())) == 1, "layers of one role stand below each other"


@pytest.mark.slow
def test_five_hundred_layers_end_on_the_first_screen(large: Report) -> None:
    grid = block_grid(large.plan)
    assert len(grid.cells) > 500
    assert grid.height <= 500
    assert all(cell.figure for cell in grid.cells if large.plan.layers[cell.index].sensitivity is not None)
    assert not grid.has_bars


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["layer1.0.conv1", "layer1.0.conv2", "conv1"], ["conv1", "conv2", "conv1"]),
        (["/blocks.0/attn/q/MatMul", "/blocks.0/mlp/q/MatMul"], ["attn.q", "mlp.q"]),
        (["/blocks.0/attn/MatMul", "/blocks.0/attn/MatMul_1"], ["MatMul", "MatMul_1"]),
        (["a", "b"], ["a", "b"]),
    ],
    ids=["ends", "as long as needed", "operators told apart", "no path"],
)
def test_short_names(names: list[str], expected: list[str]) -> None:
    assert short_names([layer(name) for name in names]) == expected


def test_operators_of_one_module_are_told_apart() -> None:
    module = "blocks.0.attn"
    names = short_names([layer("/x/MatMul", module=module), layer("/x/MatMul_1", module=module)])
    assert names == ["MatMul", "MatMul_1"]


def test_layers_outside_of_blocks_stay_where_they_are() -> None:
    grid = block_grid(plan_of(layer("stem"), layer("b.0.x"), layer("b.0.y"), layer("head")))
    assert [row.full for row in grid.rows] == ["", "b.0", ""]


def test_kinds_figures_and_bars() -> None:
    layers = (
        layer("a", 0.5),
        layer("b", 0.005, placement="digital", reason="sensitivity"),
        layer("c", 0.0),
        layer("d", placement="digital", reason="no-static-weight"),
        layer("e", placement="digital", reason="eligible"),
    )
    cells = block_grid(plan_of(*layers)).cells
    assert [cell.kind for cell in cells] == ["analog", "digital", "analog", "never", "open"]
    assert [cell.figure for cell in cells] == ["0.500", "0.005", "0.000", "no weight", ""]
    assert [cell.bar for cell in cells] == [1.0, 0.0, 0.0, None, None]
    assert {cell.share for cell in cells} == {"20.0 % MACs"}
