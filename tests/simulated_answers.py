"""Simulated answers of chips to samples, whose mean drop over other chips and samples is known."""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Kind:
    """A kind of chips and samples.

    Attributes:
        gain: share of samples that is right on a chip where the digital network is wrong.
        alike: of what decides whether a sample changes, the part that is the same on all chips.
        apart: deviation of chips; 0.1 makes their drops differ by a quarter.
    """

    id: str
    samples: int
    drop: float
    gain: float = 0.0
    alike: float = 0.9
    apart: float = 0.0
    draws: int = 10

    def damage(self, rng: np.random.Generator) -> np.ndarray:
        """Per chip and sample."""
        chips = rng.normal(0, self.apart, (self.draws, 1))
        risen = self._beyond(rng, self.drop + self.gain, chips)
        return risen - (self._beyond(rng, self.gain, chips) if self.gain else 0.0)

    def _beyond(self, rng: np.random.Generator, share: float, chips: np.ndarray) -> np.ndarray:
        shape, rest = (self.draws, self.samples), (1 - self.alike) ** 0.5
        risks = rng.normal(0, self.alike**0.5, self.samples) + rng.normal(0, rest, shape) + chips
        limit = float(stats.norm.isf(share)) * (1 + self.apart**2) ** 0.5
        return np.where(risks > limit, 1.0, 0.0)
