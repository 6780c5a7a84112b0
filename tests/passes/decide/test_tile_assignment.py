"""Which tiles of a chip hold which layer: as exhaustive search has it, and nothing twice."""

from itertools import permutations

import numpy as np
import pytest
from onnx import helper

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Faults, Hardware, Override, Tiles
from lhc.hardware.circuits.faults import tile_text
from lhc.onnx_io import load_model, read_graph
from lhc.passes import Qualify, initial_plan
from lhc.passes.decide.tile_assignment import assign_tiles
from tests.runtime.models_on_tiles import model_of

SIZES = (6, 4, 4, 14)
"""Outputs of the layers: on tiles of 16 x 8 they take 1, 1, 1 and 2 tiles."""
DAMAGES = {"a": 0.3, "b": 0.1, "c": 0.9, "d": 0.5}
NOISE = (1.0, 2.0, 0.7, 1.5, 1.2, 3.0)


@pytest.fixture(scope="module")
def graph() -> LayerGraph:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 10)).astype(np.float32)
    weights = {f"w{name}": rng.normal(size=(10, n)).astype(np.float32) for name, n in zip("abcd", SIZES, strict=True)}
    nodes = [helper.make_node("MatMul", ["x", f"w{name}"], [f"y{name}"], name) for name in "abcd"]
    outputs = dict.fromkeys(("ya", "yb", "yc", "yd"), 2)
    return read_graph(load_model(model_of(nodes, {"x": x}, outputs, weights)), {"x": (2, 10)})


def machine(count: int, overrides: tuple[Override, ...] = (), **faults: object) -> Hardware:
    update = {"tiles": Tiles(rows=16, cols=8, count=count), "faults": Faults.model_validate(faults)}
    return Hardware.load("lionheart").model_copy(update={**update, "overrides": overrides})


def homes(hardware: Hardware) -> dict[str, tuple[int, ...]]:
    return {name: hardware.for_layer(name).faults.tiles for name in "abcd"}


def test_tiles_that_are_alike_are_given_to_nobody(graph: LayerGraph) -> None:
    alike = machine(6)
    assert assign_tiles(graph, alike) is alike


def test_without_damages_layers_lie_in_the_order_of_the_file(graph: LayerGraph) -> None:
    found = assign_tiles(graph, machine(6, tile_noise=NOISE, remap=True))

    assert homes(found) == {"a": (0,), "b": (1,), "c": (2,), "d": (3, 4)}
    assert assign_tiles(graph, found) is found
    assert found.unarranged == machine(6, tile_noise=NOISE, remap=True)


def test_the_sum_of_damages_is_the_least_of_all_arrangements(graph: LayerGraph) -> None:
    found = homes(assign_tiles(graph, machine(6, tile_noise=NOISE, remap=True), DAMAGES))

    def harm(tiles: dict[str, tuple[int, ...]]) -> float:
        return sum(DAMAGES[name] / len(own) * NOISE[tile] ** 2 for name, own in tiles.items() for tile in own)

    def split(order: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return {"a": order[:1], "b": order[1:2], "c": order[2:3], "d": order[3:5]}

    assert harm(found) == pytest.approx(min(harm(split(order)) for order in permutations(range(6), 5)))
    assert len({tile for own in found.values() for tile in own}) == 5


def test_tiles_with_more_stuck_cells_are_worse(graph: LayerGraph) -> None:
    planes = [np.zeros((4, 8, 16), np.bool_) for _ in range(5)]
    for tile, cells in enumerate((3, 0, 9, 1, 5)):
        planes[tile].reshape(-1)[:cells] = True
    stuck = machine(5, map=tuple(map(tile_text, planes)), remap=True)

    assert homes(assign_tiles(graph, stuck, DAMAGES)) == {"b": (2,), "d": (4, 0), "a": (3,), "c": (1,)}
    unused = stuck.model_copy(update={"faults": stuck.faults.model_copy(update={"remap": False})})
    assert homes(assign_tiles(graph, unused, DAMAGES)) == {"b": (0,), "d": (1, 2), "a": (3,), "c": (4,)}


def test_a_user_may_say_where_a_layer_lies(graph: LayerGraph) -> None:
    mine = machine(6, (Override(layers="d", on_tiles=(5, 1)),), tile_noise=NOISE, remap=True)

    assert homes(assign_tiles(graph, mine, DAMAGES)) == {
        "d": (5, 1),
        "b": (4,),
        "a": (0,),
        "c": (2,),
    }  # the worst is left over


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((Override(layers="d", on_tiles=(5,)),), "'d' takes 2 tiles, and on_tiles gives it 1"),
        ((Override(layers="[ab]", on_tiles=(5,)),), "on_tiles gives tile 5 to 'a' and 'b'"),
        ((Override(layers="d", on_tiles=(3, 3)),), "on_tiles gives tile 3 to 'd' and 'd'"),
    ],
)
def test_tiles_cannot_be_given_twice(graph: LayerGraph, overrides: tuple[Override, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assign_tiles(graph, machine(6, overrides, tile_noise=NOISE))


def test_layers_for_which_there_is_no_tile_are_digital(graph: LayerGraph) -> None:
    plan = Qualify().run(graph, initial_plan(graph, machine(3, tile_noise=NOISE[:3]), "", "")).plan

    assert plan.eligible == ("a", "d")
    refused = next(layer for layer in plan.layers if layer.name == "b")
    assert refused.reason == "tiles"
    assert refused.detail.endswith("and other layers with more MACs a tile hold the chip's 3")
