"""The engine fast16: what tiles compute whose weights are rounded to 16 bits, exactly."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lhc.conductances import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.errors import UsageError
from lhc.hardware import Adc, Dac, Hardware
from lhc.hardware.currents import Currents
from lhc.models import zoo_entry
from lhc.onnx_io.product import ConvGeometry
from lhc.runtime import HybridSession
from lhc.runtime.fast import FastMatrix
from lhc.runtime.paired_weights import steps_of
from lhc.runtime.stream import Position
from tests.runtime.products import programmed

pytestmark = pytest.mark.analog

LIONHEART = Hardware.load("lionheart")
EXACT = LIONHEART.model_copy(
    update={"adc": Adc(bits=None, bound=None, noise=0.0, bound_management="none"), "devices": None}
)
"""Codes of a DAC times weights, and nothing else."""


@pytest.fixture(params=["rows", "images"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which kernel multiplies; small matrices are images of a point by default."""
    monkeypatch.setattr("lhc.runtime.fast.LEAST_BY_ROWS", 0 if request.param == "rows" else 2**30)
    return str(request.param)


def _tiles(hardware: Hardware, rows: int, cols: int) -> Hardware:
    return hardware.model_copy(update={"tiles": hardware.tiles.model_copy(update={"rows": rows, "cols": cols})})


def _rounded(state: ProgrammedMatrix) -> ProgrammedMatrix:
    """The same with weights that are whole steps."""
    steps = steps_of([tile for row in state.tiles for tile in row])

    def whole(tile: ProgrammedTile) -> ProgrammedTile:
        weights = np.rint(tile.weights.astype(np.float64) * steps) / steps
        return replace(tile, weights=weights.astype(np.float32))

    return replace(state, tiles=tuple(tuple(map(whole, row)) for row in state.tiles))


def _drawn(seed: int, outputs: int, inputs: int, vectors: int) -> tuple[Floats, torch.Tensor]:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
    return weight, torch.from_numpy(rng.normal(0.3, 1, size=(vectors, inputs)).astype(np.float32))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    outputs=st.integers(1, 70),
    inputs=st.integers(1, 90),
    vectors=st.integers(1, 70),
    rows=st.integers(3, 64),
    by_rows=st.booleans(),
)
def test_products_are_those_of_integers(
    seed: int, outputs: int, inputs: int, vectors: int, rows: int, by_rows: bool
) -> None:
    weight, x = _drawn(seed, outputs, inputs, vectors)
    machine = _tiles(EXACT, rows, 20)
    state = programmed(weight, machine).programmed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lhc.runtime.fast.LEAST_BY_ROWS", 0 if by_rows else 2**30)
        found = FastMatrix([state], [0], 0, machine, pairs=True).multiply(x, Position(0, vectors), 0)[0].numpy()
    steps = steps_of([tile for row in state.tiles for tile in row])
    expected = np.zeros((vectors, outputs))
    for start, tiles in zip(state.starts, state.tiles, strict=True):
        part = x[:, start : start + tiles[0].weights.shape[1]].numpy()
        peak = np.abs(part).max(1, keepdims=True)
        # As the kernel computes it: on an edge the last bit decides.
        factor = np.float32(1) / (np.where(peak == 0, np.float32(1), peak) * np.float32(1 / 127))
        codes = np.rint(part * factor).astype(np.int64)
        whole = np.concatenate([np.rint(t.weights.astype(np.float64) * steps) for t in tiles]).astype(np.int64)
        scales = np.concatenate([tile.scales for tile in tiles])
        expected += (codes @ whole.T) / steps / 127 * scales * peak
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=3e-6 * np.abs(expected).max())


@pytest.mark.parametrize("preset", ["lionheart", "hermes", "static-range"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), groups=st.sampled_from([1, 3]), copies=st.integers(1, 4), rows=st.integers(5, 90))
def test_it_is_the_fast_engine_with_rounded_weights(
    preset: str, seed: int, groups: int, copies: int, rows: int
) -> None:
    """Noise, ADCs, repeated reads and all: codes differ only where a sum lies on an edge to the last bit."""
    machine = _tiles(Hardware.load(preset), rows, 20)
    rng = np.random.default_rng(seed)
    channels, outputs = int(rng.integers(1, 8)), int(rng.integers(2, 12))
    weight = rng.normal(size=(groups * outputs, channels * 9)).astype(np.float32)
    x = torch.from_numpy(rng.normal(0.4, 1, size=(3, groups * channels, 9, 7)).astype(np.float32))
    geometry = ConvGeometry((3, 3), (1, 2), (1, 1), ((1, 1), (0, 1)), "NOTSET", groups)
    ranges = [1.5] * -(-channels * 9 // rows) if machine.needs_calibration else None
    state = programmed(weight, machine, 3600.0, groups, ranges, copies=copies).programmed()
    found, expected = (
        FastMatrix([one], [0], 0, machine, pairs).convolve(x, geometry, Position(0, 3), 0).numpy()
        for one, pairs in ((state, True), (_rounded(state), False))
    )
    different = np.abs(found - expected) > 1e-5 * np.abs(expected).max()
    assert different.sum() <= 1 + 0.002 * different.size


@pytest.mark.usefixtures("by")
@pytest.mark.parametrize("bound", [0.5, 2.0])
@pytest.mark.parametrize("managed", ["iterative", "none"])
def test_it_is_so_however_much_saturates(bound: float, managed: str) -> None:
    adc = Adc(bits=8, bound=bound, noise=0.02, bound_management=managed)  # type: ignore[arg-type]
    machine = LIONHEART.model_copy(update={"adc": adc})
    weight, x = _drawn(1, 40, 61, 150)
    state = programmed(weight, machine, 3600.0).programmed()
    found, expected = (
        FastMatrix([one], [0], 0, machine, pairs).multiply(x, Position(0, 150), 0).numpy()
        for one, pairs in ((state, True), (_rounded(state), False))
    )
    assert (np.abs(found - expected) > 1e-5 * np.abs(expected).max()).mean() < 0.005


@pytest.mark.usefixtures("by")
@pytest.mark.parametrize("inputs", [516, 2048, 5000])
def test_sums_fit_however_many_inputs_a_tile_has(inputs: int) -> None:
    machine = _tiles(EXACT, 8192, 64)
    weight = np.ones((3, inputs), np.float32)
    weight[1], weight[2, ::2] = -1, 0.25
    x = torch.ones(4, inputs)
    state = programmed(weight, machine).programmed()
    found = FastMatrix([state], [0], 0, machine, pairs=True).multiply(x, Position(0, 4), 0)[0].numpy()
    np.testing.assert_allclose(found, np.tile(weight.sum(1), (4, 1)), rtol=2e-4)


@pytest.mark.usefixtures("by")
@pytest.mark.parametrize("preset", ["lionheart", "static-range"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_spoils_the_outputs_that_it_spoils_with_the_fast_engine(preset: str, bad: float) -> None:
    machine = Hardware.load(preset)
    weight, x = _drawn(2, 12, 33, 70)
    x[3, 5] = x[40, 32] = bad
    state = programmed(weight, machine, ranges=[2.0] if machine.needs_calibration else None).programmed()
    found, expected = (
        np.isfinite(FastMatrix([state], [0], 0, machine, pairs).multiply(x, Position(0, 70), 0)[0].numpy())
        for pairs in (True, False)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("by")
def test_one_of_some_chips_multiplies_as_if_it_were_the_only_one() -> None:
    weight, x = _drawn(3, 30, 50, 9)
    chips = [programmed(weight, LIONHEART, 3600.0, draw=draw).programmed() for draw in range(3)]
    together = FastMatrix(chips, [0, 1, 2], 0, LIONHEART, pairs=True)
    expected = together.multiply(x, Position(2, 9), 0)
    for draw, chip in enumerate(chips):
        for one in (together.alone(draw), FastMatrix([chip], [draw], 0, LIONHEART, pairs=True)):
            assert torch.equal(one.multiply(x, Position(2, 9), 0)[0], expected[draw])


def test_depthwise_convolutions_are_those_of_the_fast_engine() -> None:
    rng = np.random.default_rng(4)
    state = programmed(rng.normal(size=(6, 9)).astype(np.float32), LIONHEART, 3600.0, groups=6).programmed()
    x = torch.from_numpy(rng.normal(size=(2, 6, 8, 8)).astype(np.float32))
    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)), "NOTSET", 6)
    found, expected = (
        FastMatrix([state], [0], 0, LIONHEART, pairs).convolve(x, geometry, Position(0, 2), 0)
        for pairs in (True, False)
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("update", "why"),
    [
        ({"dac": Dac(bits=None)}, "quantises nothing"),
        ({"dac": Dac(bits=10)}, "has 10 bits"),
        ({"currents": Currents(read_noise=0.01)}, "single currents"),
    ],
)
def test_a_machine_that_integers_cannot_stand_for_is_refused(update: dict[str, object], why: str) -> None:
    model = zoo_entry("digits-narrow").model()
    with pytest.raises(UsageError, match=f"engine fast16, hardware 'lionheart': .*{why}.*; choose the engine fast"):
        HybridSession(model, LIONHEART.model_copy(update=update), "all-analog", engine="fast16")


def _answers(model: onnx.ModelProto, engine: str) -> npt.NDArray[np.float32]:
    x = np.random.default_rng(5).normal(size=(200, 1, 8, 8)).astype(np.float32)
    session = HybridSession(model, LIONHEART, "all-analog", engine=engine)  # type: ignore[arg-type]
    return np.asarray(session.run(None, {"x": x})[0])


def test_answers_of_a_network_change_little() -> None:
    """Far less than from one read to the next, which differ by output noise."""
    model = zoo_entry("digits-narrow").model()
    found, expected = _answers(model, "fast16"), _answers(model, "fast")
    assert (found != expected).any()
    assert np.abs(found - expected).mean() < 0.02 * np.abs(expected).mean()
