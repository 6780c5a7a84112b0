"""What devices of a unit cell are to hold, by formulas of their own."""

from typing import Any

import numpy as np
import numpy.typing as npt

from lhc.hardware import Hardware

Floats = npt.NDArray[np.float64]
PAIRS: list[dict[str, Any]] = [
    {"g_min_us": 0.0, "pair": "one-sided"},
    {"g_min_us": 5.0, "pair": "one-sided"},
    {"g_min_us": 0.0, "pair": "two-sided"},
    {"g_min_us": 5.0, "pair": "two-sided"},
]
G_MAX = 25.0


def noise_model(devices: Any) -> Any:  # noqa: ANN401 - aihwkit is untyped
    return Hardware(name="x", devices=devices).to_rpu_config().noise_model


def held(cell: dict[str, Any], weights: Floats) -> tuple[Floats, Floats, float]:
    """What the devices of a pair are to hold, a reference in one row, and their difference for a weight of 1."""
    low = cell.get("g_min_us", 0.0)
    middle, half = (low + G_MAX) / 2, (G_MAX - low) / 2
    if cell.get("pair") == "reference-column":
        return middle + half * weights, np.full((1, weights.shape[1]), middle), half
    if cell.get("pair") == "two-sided":
        return middle + half * weights, middle - half * weights, 2 * half
    return low + 2 * half * np.maximum(weights, 0), low + 2 * half * np.maximum(-weights, 0), 2 * half
