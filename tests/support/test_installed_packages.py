"""Cost models and presets of other installed packages: entry points, and nothing but these."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lhc.costs import assumptions, cost_of
from lhc.errors import ConfigError, LhcError
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware, preset_names
from lhc.support import installed_packages as installed

MODEL = """
from dataclasses import dataclass
from typing import Annotated, Literal

from lhc.costs import Cost, LayerCost, formulas
from lhc.graph import LayerGraph
from lhc.hardware import Assumed, CostSection, Hardware


class FlatCosts(CostSection):
    model: Literal["flat"] = "flat"
    product_ns: Annotated[float, Assumed("ns", "a guess")] = 50.0
    simplifications = (("energy", "not counted"),)


@dataclass(frozen=True)
class Flat:
    costs: FlatCosts
    crossing: Cost = Cost()

    def analog(self, layer, matrix, copies, sums):
        return LayerCost({"product": Cost(matrix.positions * self.costs.product_ns * 1e-9)})

    def digital(self, layer, work, numbers):
        return LayerCost({"product": Cost(work.macs * 1e-9)})

    def other(self, layer, handling):
        return None


@formulas.register
def _(costs: FlatCosts, hardware: Hardware, graph: LayerGraph, numbers) -> Flat:
    return Flat(costs)


class Silent(CostSection):
    model: Literal["silent"] = "silent"
"""
ENTRIES = """[lhc.costs]
flat = outside_lab.costs:FlatCosts
silent = outside_lab.costs:Silent
alpine = outside_lab.costs:FlatCosts
wrong = outside_lab.costs:Flat
gone = outside_lab.nothing:FlatCosts

[lhc.presets]
lab-chip = outside_lab
lionheart = outside_lab
lost = outside_lab
"""
MATRIX = MatrixShape(rows=4, cols=3, groups=1, positions=7)


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    files = {
        "outside_lab/__init__.py": "",
        "outside_lab/costs.py": MODEL,
        "outside_lab/lab-chip.yaml": "name: lab-chip\ncosts: {model: flat, product_ns: 20}\n",
        "outside_lab/lionheart.yaml": "name: another\n",
        "outside_lab-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: outside-lab\nVersion: 1\n",
        "outside_lab-1.dist-info/entry_points.txt": ENTRIES,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    installed._group.cache_clear()
    yield
    installed._group.cache_clear()


def described(costs: str) -> Hardware:
    return Hardware.parse(f"name: x\ncosts: {costs}\n", "x.yaml")


def test_a_preset_of_another_package_and_its_cost_model() -> None:
    machine = Hardware.load("lab-chip")
    weight = WeightRef("w", 1, (4, 3), "float32", "w")
    graph = LayerGraph([Layer("product", "MatMul", ("x", "w"), ("y",), weight, MATRIX)], ["x"], ["y"])
    assert cost_of(graph, frozenset({"product"}), machine).latency_s == pytest.approx(7 * 20e-9)
    assert cost_of(graph, frozenset(), machine).latency_s == pytest.approx(7 * 12e-9)
    told = [str(one) for one in assumptions(machine)]
    assert "costs.product_ns = 20.0 ns: as the hardware description has it" in told
    assert "energy: not counted" in told
    assert Hardware.parse(machine.to_yaml(), "again") == machine


def test_what_lhc_ships_is_not_replaced() -> None:
    assert Hardware.load("lionheart").name == "lionheart"
    assert type(described("{model: alpine}").costs).__module__ == "lhc.hardware.description.costs"
    assert preset_names().count("lionheart") == 1


def test_a_field_that_a_model_does_not_have_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml: costs\.prodct_ns: no such key; did you mean product_ns\?"):
        described("{model: flat, prodct_ns: 3}")


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: described("{model: gone}"), "package outside-lab: its cost model 'gone' cannot be loaded: ModuleNotF"),
        (
            lambda: described("{model: wrong}"),
            "outside-lab: outside_lab.costs:Flat is no CostSection whose model",
        ),
        (lambda: Hardware.load("lost"), "the package outside-lab: its preset 'lost' cannot be read: FileNotFoundError"),
        (lambda: described("{model: 'os:system'}"), "costs: choose a cost model: 'alpine', 'diana', 'flat'"),
    ],
)
def test_what_is_wrong_is_said_to_be_of_its_package(read: Callable[[], Hardware], message: str) -> None:
    with pytest.raises(LhcError, match=message):
        read()


def test_a_model_without_formulas_is_told_when_costs_are_asked_for() -> None:
    with pytest.raises(ConfigError, match="cost model 'silent' has no formulas: Silent registers none"):
        cost_of(LayerGraph([], ["x"], []), frozenset(), described("{model: silent}"))
