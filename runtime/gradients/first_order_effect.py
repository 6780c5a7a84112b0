"""First-order effect of a layer's errors on the answer of its network, without PyTorch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Effects:
    """Sums over answers and directions, of one block of samples.

    Attributes:
        weights: per draw, Σ (Σ g·d_r)², shape ``(draws,)``: programmed weights and the DAC.
        outputs: per draw, Σ E (Σ g·d)², shape ``(draws,)``: output noise and the ADC's rounding.
        reached: whether the answer depends on the layer at all.
    """

    weights: Floats
    outputs: Floats
    reached: bool
