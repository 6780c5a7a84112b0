"""Tiles are mapped once and programmed for every chip: the same bytes as tiles that are mapped anew."""

from collections.abc import Iterator

import numpy as np
import pytest

from lhc.conductances import ProgrammedMatrix
from lhc.hardware import Hardware, preset_names
from lhc.models import zoo_entry
from lhc.onnx_io import load_model, read_graph
from lhc.runtime.bank import Bank
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.matrix import AnalogMatrix
from lhc.runtime.threads import isolated

pytestmark = pytest.mark.analog

PROGRAMMABLE = [preset for preset in preset_names() if Hardware.load(preset).devices is not None]
CHIPS = ((0, 0, 86400.0), (0, 1, 86400.0), (0, 0, 1.0), (5, 0, 86400.0), (0, 1, 86400.0))
"""Seed, draw and time, in an order in which every one follows another."""


def _arrays(matrix: ProgrammedMatrix) -> Iterator[bytes]:
    for row in matrix.tiles:
        for tile in row:
            yield from (tile.weights.tobytes(), tile.scales.tobytes())
            yield repr((tile.gain, tile.input_range)).encode()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("preset", PROGRAMMABLE)
def test_programming_again_is_programming_anew(preset: str, groups: int) -> None:
    hardware = Hardware.load(preset)
    hardware = hardware.model_copy(update={"tiles": hardware.tiles.model_copy(update={"rows": 17, "cols": 9})})
    weight = np.random.default_rng(0).normal(size=(12, 40)).astype(np.float32)
    weight[3] = 0.0
    ranges = [1.0, 2.0, 3.0] if hardware.needs_calibration else None

    def programmed(matrix: AnalogMatrix, seed: int, draw: int, t_s: float) -> list[bytes]:
        with isolated():
            matrix.program(seed, draw)
            matrix.drift_to(t_s)
        return list(_arrays(matrix.programmed()))

    def mapped() -> AnalogMatrix:
        return AnalogMatrix(weight, groups, hardware, "abc", ranges)

    again = mapped()
    for chip in CHIPS:
        assert programmed(again, *chip) == programmed(mapped(), *chip)


@pytest.fixture
def mappings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tile sets that are mapped, one entry each time."""
    found: list[str] = []
    original = AnalogMatrix.__init__

    def counting(self: AnalogMatrix, *arguments: object) -> None:
        found.append(str(arguments[3]))
        original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(AnalogMatrix, "__init__", counting)
    return found


def test_an_executor_maps_a_layer_once_and_chips_are_those_of_executors_of_their_own(mappings: list[str]) -> None:
    model = load_model(zoo_entry("digits-narrow").model())
    graph = read_graph(model)
    names = [layer.name for layer in graph.candidates]
    hardware = Hardware.load("lionheart")
    executor = HybridExecutor(model, graph, names)
    states = [executor.states(hardware, *chip) for chip in CHIPS]
    assert len(mappings) == len(set(mappings)) == len(names)
    for chip, state in zip(CHIPS, states, strict=True):
        alone = HybridExecutor(model, graph, names).states(hardware, *chip)
        assert {name: list(_arrays(matrix)) for name, matrix in alone.items()} == {
            name: list(_arrays(matrix)) for name, matrix in state.items()
        }


class _Sized:
    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def test_a_bank_forgets_what_was_not_used_for_longest() -> None:
    bank: Bank[_Sized] = Bank(100)
    first = bank.get("a", lambda: _Sized(40))
    second = bank.get("b", lambda: _Sized(40))
    assert bank.get("a", lambda: _Sized(0)) is first
    bank.get("c", lambda: _Sized(40))
    assert bank.get("a", lambda: _Sized(0)) is first
    assert bank.get("b", lambda: _Sized(10)) is not second
    large = bank.get("d", lambda: _Sized(200))
    assert bank.get("d", lambda: _Sized(200)) is not large


def test_what_is_not_needed_goes_where_it_does_not_fit_beside_what_comes() -> None:
    bank: Bank[_Sized] = Bank(100)
    kept = {key: bank.get(key, lambda: _Sized(30)) for key in ("a", "b", "c")}

    bank.make_room(40, lambda key: key == "b")  # 30 of which are here
    assert all(bank.get(key, lambda: _Sized(0)) is value for key, value in kept.items())

    bank.make_room(70, lambda key: key == "b")
    assert bank.get("b", lambda: _Sized(0)) is kept["b"]
    assert bank.keeps(70)
    assert not bank.keeps(71)
    assert bank.get("a", lambda: _Sized(40)) is not kept["a"]
