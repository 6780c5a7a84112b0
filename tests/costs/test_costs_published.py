"""lhc's figures of systems that describe themselves, beside the published ones."""

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def systems(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    """benchmarks/published_systems.py."""
    return benchmark("published_systems")


def test_figures_of_systems_that_describe_themselves_agree_within_a_tenth(systems: ModuleType) -> None:
    found = [figure for figure in systems.figures() if figure.whole]
    assert {figure.system.split(",")[0] for figure in found} == {"3D-CiM", "DIANA", "ISAAC-CE"}
    assert {f"{figure.system}: {figure.what}": figure.ratio for figure in found} == {
        f"{figure.system}: {figure.what}": pytest.approx(1, abs=0.1) for figure in found
    }


def test_tiles_and_links_of_a_decoder_are_exact(systems: ModuleType) -> None:
    # Ten nJ for each of twelve parts of matrices; four products of 100 ns, one after the other.
    cost, _ = systems.placed(systems.decoder(1), systems.Hardware.load(systems.SYSTEMS / "3d-cim.yaml"))
    products = sum(one.parts["product"].energy_j for one in cost.layers.values())
    assert products == pytest.approx(120e-9)
    assert sum(one.busy["tiles"] for one in cost.layers.values()) == pytest.approx(400e-9)


def test_mobilenetv2s_gain_lies_between_its_depthwise_layers_on_tiles_and_digital(published: ModuleType) -> None:
    gains = [float(row[1].removesuffix("x")) for row in published.bracket().rows]
    assert gains == sorted(gains)
    assert gains[1] < published.GAINS[2].time < gains[2]
