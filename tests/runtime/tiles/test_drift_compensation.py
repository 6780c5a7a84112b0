"""Read-outs of drift compensation against aihwkit's own product of the read-out vectors."""

import numpy as np
import pytest

from lhc.hardware import Adc, Hardware
from lhc.hardware.circuits.currents import Currents

pytestmark = pytest.mark.analog


@pytest.mark.parametrize("bound", [12.0, 1.0, 0.8, 0.4], ids=lambda bound: f"bound {bound:g}")
@pytest.mark.parametrize("management", ["iterative", "none"])
def test_a_read_out_beyond_the_bound_of_the_adc_is_that_of_aihwkit(bound: float, management: str) -> None:
    """Weights that fade to 0.6 need a gain of 1.67; bound management reads again what the ADC cuts."""
    import torch
    from aihwkit.simulator.tiles.analog_mvm import AnalogMVM

    from lhc.runtime.tiles.drift_compensation import TileReadOut

    adc = Adc.model_validate({"bound": bound, "bits": 8, "noise": 0.0, "bound_management": management})
    config = Hardware(name="h", adc=adc).to_rpu_config()
    weights = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (64, 64)).astype(np.float32))
    tile = TileReadOut(config, weights, None, None, None, False, None)
    baseline = tile.baseline()
    tile.weights = 0.6 * weights
    outputs = [AnalogMVM.matmul(w, torch.eye(64), config.forward, is_test=True) for w in (weights, tile.weights)]
    first, later = (float(one.abs().mean()) for one in outputs)
    assert float(tile.gain(baseline)) == pytest.approx(first / later, rel=1e-3)
    if management == "iterative":
        assert first / later == pytest.approx(1 / 0.6, rel=0.02)


@pytest.mark.parametrize("kind", ["current", "constant"])
def test_a_read_out_with_currents_is_the_same_in_blocks_of_any_size(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit matrix of all inputs would be larger than the weights of a tile with many rows."""
    import torch

    from lhc.runtime.tiles.drift_compensation import TileReadOut

    currents = Currents.model_validate({"read_noise": 0.05, "read_noise_kind": kind, "ir_drop": 1.0})
    config = Hardware(name="h", adc=Adc(noise=0.04)).to_rpu_config()
    weights = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (10, 100)).astype(np.float32))
    baselines = []
    for together in (100, 32, 1):
        monkeypatch.setattr("lhc.runtime.tiles.drift_compensation._TOGETHER", together)
        torch.manual_seed(0)
        baselines.append(float(TileReadOut(config, weights, None, None, None, False, currents).baseline()))
    assert baselines[0] == baselines[1] == baselines[2]
    without = TileReadOut(config, weights, None, None, None, False, None)
    torch.manual_seed(0)
    assert float(without.baseline()) != baselines[0]
