"""Normal deviates for output noise, from a seeded generator that can be asked for any place of its stream.

A deviate is one of 65,536 levels, chosen by 16 bits of numpy's PCG64DXSM: the means of the normal distribution between
its quantiles k / 65,536, scaled to unit variance. Its distribution function differs from the normal one by at most
2^-17, and no deviate lies beyond 4.4 standard deviations; the noise is rounded to ADC codes of about that deviation
afterwards. A deviate takes 1 ns on one core; Box and Muller's transform in vectorised torch operations took 4.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from lhc.conductances import Floats

__all__ = ["LevelStream", "normal_levels"]

_PERIOD = 2**128
_LEVELS = 2**16


@lru_cache(maxsize=64)
def normal_levels(std: float) -> Floats:
    """The levels of a standard deviation, ``(65536,)``."""
    quantiles = ndtri(np.linspace(0, 1, _LEVELS + 1))
    # The mean between two quantiles is the difference of the densities there over the share between them.
    means = -np.diff(np.exp(-(quantiles**2) / 2)) * _LEVELS / np.sqrt(2 * np.pi)
    return np.asarray(means * (std / np.sqrt(np.mean(means**2))), np.float32)


class LevelStream:
    """A stream of numbers of levels."""

    def __init__(self, entropy: np.random.SeedSequence) -> None:
        """``entropy`` fixes all of them."""
        self._bits = np.random.PCG64DXSM(entropy)
        self._position = 0

    def at(self, address: int, count: int) -> npt.NDArray[np.uint16]:
        """Numbers of one place, ``(count,)``.

        Args:
            address: the place, of up to 100 bits; every place has 2^30 numbers of its own.
            count: how many.
        """
        place = address << 28
        self._bits.advance((place - self._position) % _PERIOD)
        drawn = -(-count // 4)
        self._position = place + drawn
        return self._bits.random_raw(drawn).view(np.uint16)[:count]
