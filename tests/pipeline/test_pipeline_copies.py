"""What copies are predicted to bring against what they are measured to bring."""

from collections.abc import Callable

import numpy as np
import pytest

import lhc
from lhc.hardware import DigitalCores, Hardware

pytestmark = pytest.mark.analog

LAYERS = ("layer1.0.conv1", "layer1.1.conv2", "layer2.0.conv2")
"""Whose damage is small enough to be of second order in the errors; conv1's, with nine rows, is not."""
DRAWS, COPIES = 60, 4
QUANTILE = 2.576
"""Of 99 %, two-sided: each of three layers is wrong in one of a hundred seeds; this seed is none of them."""


@pytest.mark.slow
def test_damage_falls_as_one_over_the_copies_and_not_more_slowly() -> None:
    preset = Hardware.load("lionheart")
    on = preset.compensation.model_copy(update={"copies": True, "outputs": "none"})
    # What int8 takes from the others would not fall with the copies.
    exact = DigitalCores(precision="as-file")
    machine = preset.model_copy(update={"compensation": on, "digital": exact})
    found = lhc.sensitivity(
        "digits-narrow",
        hardware=machine,
        copies=COPIES,
        include=LAYERS,
        samples=100,
        draws=DRAWS,
        method="measure",
        metric="kl",
    )
    one, several = found.layers, found.with_copies

    def apart(name: str, law: Callable[[float], float]) -> float:
        """Standard errors between the damage with one, and that with several made good for their number."""
        a, b = one[name], several[name]
        assert (a.copies, b.copies) == (1, COPIES)
        factor = law(COPIES)
        return float(abs(a.mean - factor * b.mean) / np.hypot(a.std, factor * b.std) * DRAWS**0.5)

    for name in LAYERS:
        assert apart(name, lambda k: k) < QUANTILE
        assert apart(name, lambda k: k**0.5) > QUANTILE, "the test would see another law"
