"""Set-up that tests of the state share."""

from typing import Any

import pytest

from lhc.hardware import Hardware


@pytest.fixture(scope="session")
def few() -> dict[str, Any]:
    """Options of a short placement: all layers on tiles, on few samples and chips, that hold a large budget."""
    return {
        "hardware": Hardware.load("lionheart").with_drift_compensation_alone(),
        "samples": 60,
        "draws": 2,
        "max_draws": 2,
        "max_drop": 0.5,
        "explain": False,
        "strategy": "all-analog",
    }
