"""The columns that are worst for what they cost are digital, within a share, of layers that may be analog."""

import numpy as np
import pytest

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware, Tiles
from lhc.options.shared import ColumnsOptions
from lhc.passes import ChooseDigitalColumns, Qualify, initial_plan
from lhc.plan import Plan
from tests.passes.costly_networks import product

MACHINE = Hardware(name="small", tiles=Tiles(rows=64, cols=64))
DAMAGES = {"many": np.array([1.0, 5.0, 0.0, 2.0]), "few": np.array([3.0, 0.5])}


def network(shared: bool = False) -> tuple[LayerGraph, Plan]:
    """A product of 20 rows at 100 positions, and one of 40 rows at one; 160 weights, 8,080 MACs."""
    layers = [product("many", "x", 20, 4, 100, "a"), product("few", "x", 40, 2, 1, "b")]
    if shared:
        layers.append(product("again", "x", 20, 4, 100, "a"))
    graph = LayerGraph(layers, ["x"], ["few"])
    return graph, Qualify().run(graph, initial_plan(graph, MACHINE, "", "0")).plan


@pytest.mark.parametrize(
    ("share", "by", "expected"),
    [
        (0.0, "weights", {}),
        (0.13, "weights", {"many": (1,)}),  # 5 / 20 comes before 2 / 20 and 3 / 40
        (0.5, "weights", {"many": (1, 3), "few": (0,)}),
        (0.99, "weights", {"many": (0, 1, 3), "few": (0,)}),  # what does nothing, and the last of a layer, stay
        (0.24, "macs", {"few": (0,)}),  # 3 / 40, and one of 2,000 MACs does not fit
        (0.26, "macs", {"few": (0,), "many": (1,)}),
    ],
)
def test_the_worst_for_their_cost(share: float, by: str, expected: dict[str, tuple[int, ...]]) -> None:
    graph, plan = network()
    chosen = ChooseDigitalColumns(share, by, DAMAGES).run(graph, plan).plan  # type: ignore[arg-type]
    assert chosen.digital_columns == expected
    assert plan.digital_columns == {}
    assert ChooseDigitalColumns(share, by, DAMAGES).run(graph, chosen).plan == chosen  # type: ignore[arg-type]


def test_layers_that_share_weights_lose_the_same_columns_and_cost_macs_each() -> None:
    graph, plan = network(shared=True)
    chosen = ChooseDigitalColumns(0.26, "macs", DAMAGES).run(graph, plan).plan
    assert chosen.digital_columns == {"many": (1,), "few": (0,), "again": (1,)}
    assert ChooseDigitalColumns(0.2, "macs", DAMAGES).run(graph, plan).plan.digital_columns == {"few": (0,)}


def test_a_share_of_each_layer() -> None:
    graph, plan = network(shared=True)
    halves = ChooseDigitalColumns(0.5, damages=DAMAGES, each=True).run(graph, plan).plan
    assert halves.digital_columns == {"many": (1, 3), "few": (0,), "again": (1, 3)}
    tenths = ChooseDigitalColumns(0.1, damages=DAMAGES, each=True).run(graph, plan).plan
    assert tenths.digital_columns == {"many": (1,), "few": (0,), "again": (1,)}


def test_layers_that_are_digital_are_left_alone() -> None:
    graph, plan = network()
    plan = plan.decide({"many": ("digital", "excluded", "left out")})
    only = {"few": DAMAGES["few"]}
    assert ChooseDigitalColumns(0.5, "weights", only).run(graph, plan).plan.digital_columns == {"few": (0,)}
    assert ChooseDigitalColumns(0.5).run(graph, plan).plan == plan


@pytest.mark.parametrize("given", ["-1", "1", "100%", "half", 1.5])
def test_what_is_no_share_is_refused_by_name(given: float | str) -> None:
    with pytest.raises(UsageError, match="--digital-columns"):
        ColumnsOptions(digital_columns=given)
    assert ColumnsOptions(digital_columns="5%").columns_share == pytest.approx(0.05)


def test_a_layer_whose_stated_shapes_make_it_cost_nothing_keeps_its_columns() -> None:
    layers = [product("many", "x", 20, 4, 0, "a"), product("few", "x", 40, 2, 1, "b")]
    graph = LayerGraph(layers, ["x"], ["few"])
    plan = Qualify().run(graph, initial_plan(graph, MACHINE, "", "0")).plan
    chosen = ChooseDigitalColumns(0.9, "macs", DAMAGES).run(graph, plan).plan
    assert chosen.digital_columns == {"few": (0,)}


def test_a_layer_without_damage_gives_none_of_its_columns() -> None:
    """Behind an operator that has no gradient, no column is worse than another."""
    graph, plan = network()
    none = {"many": np.zeros(4), "few": DAMAGES["few"]}
    assert ChooseDigitalColumns(0.5, damages=none, each=True).run(graph, plan).plan.digital_columns == {"few": (0,)}
