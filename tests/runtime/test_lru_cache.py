"""What is kept: reads of a calibration, which are the same bytes as reads that are made anew."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from lhc.hardware import Hardware, preset_names
from lhc.models import zoo_entry
from lhc.onnx_io import load_model, read_graph
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.lru_cache import LruCache, single
from lhc.runtime.tiles.analog_matrix import AnalogMatrix

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
def test_a_chip_does_not_depend_on_chips_before_it(preset: str, groups: int) -> None:
    hardware = Hardware.load(preset)
    hardware = hardware.model_copy(update={"tiles": hardware.tiles.model_copy(update={"rows": 17, "cols": 9})})
    weight = np.random.default_rng(0).normal(size=(12, 40)).astype(np.float32)
    weight[3] = 0.0
    ranges = [1.0, 2.0, 3.0] if hardware.needs_calibration else None

    def mapped() -> AnalogMatrix:
        return AnalogMatrix(weight, groups, hardware, "abc", ranges)

    again = mapped()
    for chip in CHIPS:
        assert list(_arrays(again.read(*chip))) == list(_arrays(mapped().read(*chip)))


def test_reads_of_a_calibration_are_made_once_for_all_placements(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    reads = AnalogMatrix.reads

    def counting(
        self: AnalogMatrix, seed: int, draw: int, t_s: float, numbers: Sequence[int]
    ) -> list[ProgrammedMatrix]:
        found = reads(self, seed, draw, t_s, numbers)
        made.append(found[0].devices)
        return found

    monkeypatch.setattr(AnalogMatrix, "reads", counting)
    model = load_model(zoo_entry("digits-narrow").model())
    graph = read_graph(model)
    names = [layer.name for layer in graph.candidates]
    hardware, bank = Hardware.load("lionheart"), LruCache[ProgrammedMatrix](2**24)

    for placement in (names, names[1:], names[:-1]):
        executor = HybridExecutor(model, graph, placement, reads=bank)
        kept = executor.reads(hardware, 0, 1, 86400.0, (1, 2))
        anew = HybridExecutor(model, graph, placement).reads(hardware, 0, 1, 86400.0, (1, 2))
        for one, other in zip(kept, anew, strict=True):
            assert {name: list(_arrays(m)) for name, m in one.items()} == {
                n: list(_arrays(m)) for n, m in other.items()
            }

    assert len(made) == 2 * len(names) + 2 * (len(names) - 1)


class _Sized:
    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def test_a_cache_forgets_what_was_not_used_for_longest() -> None:
    bank: LruCache[_Sized] = LruCache(100)
    first = bank.get("a", lambda: _Sized(40))
    second = bank.get("b", lambda: _Sized(40))
    assert bank.get("a", lambda: _Sized(0)) is first
    bank.get("c", lambda: _Sized(40))
    assert bank.get("a", lambda: _Sized(0)) is first
    assert bank.get("b", lambda: _Sized(10)) is not second
    large = bank.get("d", lambda: _Sized(200))
    assert bank.get("d", lambda: _Sized(200)) is not large


def test_what_is_not_needed_goes_where_it_does_not_fit_beside_what_comes() -> None:
    bank: LruCache[_Sized] = LruCache(100)
    kept = {key: bank.get(key, lambda: _Sized(30)) for key in ("a", "b", "c")}

    bank.make_room(40, lambda key: key == "b")  # 30 of which are here
    assert all(bank.get(key, lambda: _Sized(0)) is value for key, value in kept.items())

    bank.make_room(70, lambda key: key == "b")
    assert bank.get("b", lambda: _Sized(0)) is kept["b"]
    assert bank.fits(70)
    assert not bank.fits(71)
    assert bank.get("a", lambda: _Sized(40)) is not kept["a"]


def test_a_cache_of_a_number_of_values_makes_room_before_the_next_is_made() -> None:
    cache: LruCache[str] = LruCache(2, single)
    kept = [cache.get(key, lambda: "value") for key in "ab"]
    assert kept == ["value", "value"]

    def made() -> str:
        assert "a" not in cache, "it is forgotten before"
        return "third"

    assert cache.get("c", made) == "third"
    assert "b" in cache
    cache.forget(1)
    assert "b" not in cache
    assert "c" in cache
