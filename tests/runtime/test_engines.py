"""Two engines, one contract: the same bytes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lhc
from lhc.hardware import Adc, Hardware, preset_names
from lhc.models import zoo_entry
from lhc.runtime import HybridSession
from lhc.runtime.matrix import AnalogMatrix, Engine
from lhc.runtime.stream import NoiseKey
from lhc.runtime.threads import isolated

pytestmark = pytest.mark.analog

PRESETS = preset_names()


def _times(hardware: Hardware) -> list[float | None]:
    known = [None, 1.0, 86400.0]
    return known if hardware.devices is not None else [None]


def _products(hardware: Hardware, engine: Engine, t_s: float | None, seed: int, groups: int = 1) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    outputs, inputs, vectors = rng.integers(1, 9) * groups, rng.integers(2, 40), rng.integers(1, 60)
    weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
    if seed % 3 == 0:
        weight[0] = 0.0
    x = rng.normal(0.5, 1, size=(vectors, inputs)).astype(np.float32)
    x[0] = 0.0
    x[-1] = 50.0
    ranges = [1.5] * -(-int(inputs) // hardware.tiles.rows) if hardware.needs_calibration else None
    matrix = AnalogMatrix(weight, groups, hardware, "abc", ranges, engine)
    with isolated():
        matrix.program(seed, 0)
        if t_s is not None:
            matrix.drift_to(t_s, seed, 0)
        return [matrix.product(torch.from_numpy(x), group, NoiseKey(seed, 0, 3)) for group in range(groups)]


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), groups=st.sampled_from([1, 3]), rows=st.integers(3, 50), cols=st.integers(2, 20))
def test_same_bytes_on_every_preset(preset: str, seed: int, groups: int, rows: int, cols: int) -> None:
    machine = Hardware.load(preset)
    hardware = machine.model_copy(update={"tiles": machine.tiles.model_copy(update={"rows": rows, "cols": cols})})
    for t_s in _times(hardware):
        try:
            reference = _products(hardware, "reference", t_s, seed, groups)
        except lhc.LhcError:  # a tile of equal weights on devices that are not defined for it
            with pytest.raises(lhc.LhcError):
                _products(hardware, "fast", t_s, seed, groups)
            continue
        for a, b in zip(reference, _products(hardware, "fast", t_s, seed, groups), strict=True):
            assert a.numpy().tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize("bound", [0.5, 2.0, 12.0])
@pytest.mark.parametrize("managed", ["iterative", "none"])
@pytest.mark.parametrize("bits", [None, 4, 8])
def test_same_bytes_however_much_saturates(bound: float, managed: str, bits: int | None) -> None:
    machine = Hardware.load("lionheart")
    adc = Adc(bits=bits, bound=bound, noise=0.06, bound_management=managed)  # type: ignore[arg-type]
    hardware = machine.model_copy(update={"adc": adc})
    for seed in range(8):
        (a,), (b,) = (_products(hardware, engine, 3600.0, seed) for engine in ("reference", "fast"))
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_same_bytes_on_a_whole_network() -> None:
    images = np.random.default_rng(0).normal(size=(20, 1, 8, 8)).astype(np.float32)
    answers = [
        HybridSession(zoo_entry("digits").model(), placement="all-analog", engine=e)
        .run(None, {"x": images})[0]
        .tobytes()
        for e in ("reference", "fast", "auto")
    ]
    assert answers[0] == answers[1] == answers[2]


def test_programmed_weights_are_those_that_the_tiles_realise() -> None:
    """With converters and output noise off, a product is one with the realised weights."""
    machine = Hardware.load("lionheart")
    update = {
        "dac": machine.dac.model_copy(update={"bits": None}),
        "adc": Adc(bits=None, bound=None, noise=0.0),
        "tiles": machine.tiles.model_copy(update={"rows": 10, "cols": 4}),
    }
    hardware = machine.model_copy(update=update)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(9, 23)).astype(np.float32)
    matrix = AnalogMatrix(weight, 1, hardware, "abc")
    x = rng.normal(size=(30, 23)).astype(np.float32)
    with isolated():
        matrix.program(0, 0)
        matrix.drift_to(3600.0, 0, 0)
        found = matrix.product(torch.from_numpy(x), 0, NoiseKey(0, 0, 0)).numpy()
    realised = matrix.programmed().weights()
    assert found == pytest.approx(x @ realised.T, abs=1e-4)
    assert 0.05 < np.linalg.norm(realised - weight) / np.linalg.norm(weight) < 0.3
