"""Tiles that differ, all the way: layers are given theirs by sensitivity, and what is written is what is run."""

from pathlib import Path
from typing import Any

import pytest

import lhc
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_plan
from lhc.runtime import HybridSession

pytestmark = pytest.mark.analog


def machine(base: Hardware, **faults: object) -> Hardware:
    return Hardware.model_validate(base.model_dump() | {"tiles": {"count": 9}, "faults": faults})


@pytest.mark.slow
def test_the_most_sensitive_layers_get_the_best_tiles(few: dict[str, Any], tmp_path: Path) -> None:
    noise = (1.0, 3.0, 0.5, 1.5, 2.5, 0.7, 2.0, 1.2, 1.8)
    few = few | {"hardware": machine(few["hardware"], tile_noise=noise, remap=True)}
    found = lhc.partition("digits-narrow", **few)
    plan = found.plan

    assert plan.hardware.arranged_by == "sensitivity"
    tiles = {name: plan.hardware.for_layer(name).faults.tiles for name in plan.eligible}
    taken = [tile for own in tiles.values() for tile in own]
    assert len(set(taken)) == len(taken)
    assert {noise[tile] for tile in taken} == set(sorted(noise)[: len(taken)])
    rows = {row.name: row for row in plan.layers if row.name in tiles}
    assert all(rows[name].tiles == len(own) for name, own in tiles.items())

    path = tmp_path / "digits.lhc.onnx"
    found.save(path)
    assert read_plan(load_model(path)) == plan
    by_file = lhc.evaluate(path, data="digits-narrow", samples=20, draws=2)[0]
    by_plan = lhc.evaluate("digits-narrow", placement=plan, samples=20, draws=2)[0]
    assert by_file.values == by_plan.values
    assert HybridSession(path).analog == plan.analog
