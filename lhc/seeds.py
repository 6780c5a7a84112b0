"""Seeds: every random number of lhc comes from (run seed, devices, draw, purpose) and nothing else.

Two nodes that share weights share devices and seeds; a candidate placement sees the same devices as every other one
(common random numbers).

PyTorch has one global generator: whoever seeds it and draws from it holds `GENERATOR_LOCK`.
"""

import threading
from functools import lru_cache
from typing import Literal

import numpy as np

Purpose = Literal["program", "drift", "noise", "faults", "adc"]
_CODES: dict[Purpose, int] = {"program": 1, "drift": 2, "noise": 3, "faults": 4, "adc": 5}


def device_entropy(seed: int, devices: str, draw: int, purpose: Purpose, *indices: int) -> np.random.SeedSequence:
    """Entropy of a device generator.

    Args:
        devices: hexadecimal number that stands for the matrix (``WeightRef.devices``).
        purpose: what the random numbers are for.
        indices: what else tells the numbers apart: the tile for programming, faults and ADCs; tile and time in
            milliseconds for drift; for drift and noise also the number of the read, where it is not that of inference.
            What tells the noise of products apart further is in `lhc.runtime.engines.counter_rng`.
    """
    numbers = (seed, int(devices, 16), draw, _CODES[purpose], *indices)
    return np.random.SeedSequence(np.frombuffer(b"".join(map(_words, numbers)), "<u4"))


def device_seed(seed: int, devices: str, draw: int, purpose: Purpose, *indices: int) -> int:
    """Seed of a device generator as one 64-bit number, for generators of other libraries."""
    return int(device_entropy(seed, devices, draw, purpose, *indices).generate_state(1, np.uint64)[0])


@lru_cache(maxsize=256)
def _words(number: int) -> bytes:
    """A number as numpy's sequence takes it, of 32 bits each; made by it they take as long as all the rest."""
    return int(number).to_bytes(4 * max(1, -(-int(number).bit_length() // 32)), "little")


GENERATOR_LOCK = threading.RLock()
"""Training holds it too, while devices are programmed for its steps."""
