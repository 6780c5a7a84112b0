"""Read-outs of drift compensation against aihwkit's own product of the read-out vectors."""

import numpy as np
import pytest

from lhc.hardware import Adc, Hardware

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
