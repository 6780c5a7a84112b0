"""Weights in cells of few bits: what is held, counted by hand."""

import numpy as np
import pytest

from lhc.errors import ConfigError
from lhc.hardware import EFFECTS, Hardware, Mapping, Tiles, effects_of, without
from lhc.hardware.devices.weight_slices import slice_factors, weight_slices
from lhc.support.documents import write_yaml

RNG = np.random.default_rng(20261126)


def machine(bits: int | None, slices: int, columnwise: bool = True) -> Hardware:
    mapping = Mapping(cell_bits=bits, slices=slices, columnwise=columnwise)
    return Hardware(name="x", tiles=Tiles(rows=10, cols=4), mapping=mapping)


def test_whole_weights_stay_as_they_are() -> None:
    matrix = RNG.normal(size=(3, 5))
    (found,) = weight_slices(matrix, machine(None, 1))
    assert found is matrix
    assert slice_factors(machine(None, 1)) == (1.0,)


def test_two_slices_by_hand() -> None:
    # Three bits each: 63 steps; 1.0 is 7 · 8 + 7, -0.5 is rounded to 32 = 4 · 8 + 0, 0.02 to 1.
    high, low = weight_slices(np.array([[1.0, -0.5, 0.02, 0.0]]), machine(3, 2))
    np.testing.assert_allclose(high * 63 / 8, [[7, -4, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(low * 63, [[7, 0, 1, 0]], atol=1e-5)
    assert slice_factors(machine(3, 2)) == pytest.approx((56 / 63, 7 / 63))


def test_bits_of_twos_complement_by_hand() -> None:
    # Four bits: 7 steps; 1.0 is 0111, -0.5 is -4 or 1100, 0.2 is 1, -1.0 is -7 or 1001.
    mapping = Mapping(cell_bits=1, slices=4, code="twos-complement")
    hardware = Hardware(name="x", tiles=Tiles(rows=10, cols=4), mapping=mapping)
    parts = weight_slices(np.array([[1.0, -0.5, 0.2, -1.0]]), hardware)
    bits = [part[0] * 7 / worth for part, worth in zip(parts, (-8, 4, 2, 1), strict=True)]
    np.testing.assert_allclose(bits, [[0, 1, 0, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 1]], atol=1e-6)
    assert slice_factors(hardware) == pytest.approx((8 / 7, 4 / 7, 2 / 7, 1 / 7))
    assert without(hardware, ["weights"]).mapping == Mapping()


@pytest.mark.parametrize("columnwise", [True, False])
def test_twos_complement_sums_to_the_rounded_weight(columnwise: bool) -> None:
    matrix = RNG.normal(size=(7, 23))
    mapping = Mapping(cell_bits=1, slices=8, code="twos-complement", columnwise=columnwise)
    parts = weight_slices(matrix, Hardware(name="x", tiles=Tiles(rows=10, cols=4), mapping=mapping))
    whole = weight_slices(matrix, machine(7, 1, columnwise))
    np.testing.assert_allclose(sum(parts), whole[0], atol=2e-6)


@pytest.mark.parametrize("columnwise", [True, False])
@pytest.mark.parametrize(("bits", "slices"), [(1, 8), (2, 3), (4, 2), (7, 1)])
def test_the_sum_of_slices_is_the_rounded_weight_and_each_fills_its_range(
    bits: int, slices: int, columnwise: bool
) -> None:
    matrix = RNG.normal(size=(7, 23))  # tiles of 4 + 3 outputs and 8 + 8 + 7 inputs
    matrix[5] = 0
    hardware = machine(bits, slices, columnwise)
    parts = weight_slices(matrix, hardware)
    assert len(parts) == slices
    for outputs in (slice(0, 4), slice(4, 7)):
        for inputs in (slice(0, 8), slice(8, 16), slice(16, 23)):
            block = np.abs(matrix[outputs, inputs])
            full = block.max(axis=1 if columnwise else None, keepdims=True)
            step = np.where(full > 0, full, 1) / (2 ** (bits * slices) - 1)
            held = sum(part[outputs, inputs] for part in parts)
            np.testing.assert_allclose(held, np.rint(matrix[outputs, inputs] / step) * step, atol=2e-6)
            for part, factor in zip(parts, slice_factors(hardware), strict=True):
                greatest = np.abs(part[outputs, inputs]).max(axis=1 if columnwise else None, keepdims=True)
                np.testing.assert_allclose(greatest, factor * full, rtol=1e-6)
                levels = np.abs(part[outputs, inputs]) / np.where(full > 0, factor * full, 1) * (2**bits - 1)
                np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mapping": {"slices": 2}}, "slices need cell_bits"),
        ({"mapping": {"slices": 3, "cell_bits": 6}}, "at most 16 bits"),
        ({"mapping": {"slices": 2, "cell_bits": 2}, "costs": {"model": "diana"}}, "'diana' does not count slices"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(write_yaml({"name": "x", **fields}), "x")


def test_tiles_copies_and_effects_follow() -> None:
    lionheart = Hardware.load("lionheart")
    sliced = lionheart.model_copy(update={"mapping": Mapping(cell_bits=4, slices=2)})
    assert sliced.tiles_for(600, 300) == 2 * lionheart.tiles_for(600, 300)
    assert sliced.free_copies("x", 20) == 1
    assert "slices" in str(sliced.copies_obstacle)
    assert effects_of(sliced) == (*effects_of(lionheart), "weights")
    assert without(sliced, ["weights"]) == lionheart
    assert sliced.geometry == lionheart.geometry

    some = Hardware.parse(
        write_yaml({"name": "x", "overrides": [{"layers": "c*", "mapping": {"slices": 2, "cell_bits": 3}}]}), "x"
    )
    assert [some.for_layer(name).tiles_for(10, 10) for name in ("conv", "fc")] == [2, 1]
    with pytest.raises(ConfigError, match="for_layer"):
        some.tiles_for(10, 10)
    assert without(some, EFFECTS).for_layer("conv").mapping == Mapping()
