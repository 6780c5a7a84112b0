"""What files say of operators that stand for several products."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import lhc
from lhc.canonical import canonical
from lhc.onnx_io import contradictions, load_model, read_plan
from tests.canonical import made_models as made

pytestmark = pytest.mark.analog

FEEDS = {
    "x": np.random.default_rng(0).normal(size=(8, 6, 32)).astype(np.float32),
    "mask": np.tile([1, 1, 1, 1, 0, 0], (8, 1)).astype(np.int32),
}


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("placed")
    result = lhc.partition(
        made.packed_attention(folder), FEEDS, metric="nmse", draws=2, objective="macs", strategy="all-analog",
        max_drop=5.0, force_digital=("att/k",), copies="off",
    )  # fmt: skip
    result.save(folder / "placed.onnx")
    return folder / "placed.onnx"


def test_a_node_whose_products_differ_is_mixed(placed: Path) -> None:
    node = next(node for node in onnx.load(placed).graph.node if node.name == "att")
    keys = {entry.key: entry.value for entry in node.metadata_props}
    assert node.op_type == "Attention"
    assert (keys["lhc.placement"], keys["lhc.reason"]) == ("mixed", "mixed")
    assert (keys["lhc.macs"], keys["lhc.tiles"]) == (str(3 * 6 * 32 * 32), "2")
    assert [part.partition(":")[0] for part in keys["lhc.detail"].split("; ")] == ["q", "k", "v"]


def test_the_plan_has_a_row_for_every_product_and_agrees_with_the_nodes(placed: Path) -> None:
    model = load_model(placed)
    plan = read_plan(model)
    assert plan is not None
    rows = {row.name: row for row in plan.layers if row.origin == "att"}
    assert {name: row.placement for name, row in rows.items() if row.macs} == {
        "att/q": "analog", "att/k": "digital", "att/v": "analog",
    }  # fmt: skip
    assert {row.kind for row in rows.values()} == {"com.microsoft::Attention"}
    assert contradictions(model, plan) == contradictions(canonical(model), plan) == []
    assert lhc.HybridSession(placed).analog == {"att/q", "att/v", "out"}


def test_it_is_reapplied_after_another_tool_and_has_no_differences(placed: Path, tmp_path: Path) -> None:
    rewritten = onnx.load(placed)
    for node in rewritten.graph.node:
        del node.metadata_props[:]
    onnx.save(rewritten, tmp_path / "rewritten.onnx")
    again = lhc.reapply(tmp_path / "rewritten.onnx")
    assert again.notes == ()
    assert again.plan.layers == read_plan(load_model(placed)).layers  # type: ignore[union-attr]
    nodes = {node.name: node for node in again.model.graph.node}
    assert {e.key: e.value for e in nodes["att"].metadata_props}["lhc.placement"] == "mixed"


def test_a_compiled_file_and_a_split_one_have_its_products(placed: Path, tmp_path: Path) -> None:
    compiled = lhc.compile(placed, noise="off")
    calls = {node.name for node in compiled.proto.graph.node if node.domain == "lhc.analog"}
    assert calls == {"att/q", "att/v", "out"}
    assert np.isfinite(compiled.run(None, FEEDS)[0]).all()
    index = lhc.split(placed, folder=tmp_path / "split")
    assert "att/q" in str(index)
