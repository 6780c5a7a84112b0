"""ADCs whose codes are weighed by capacitors that are not all alike.

The sign of an output is told first; its magnitude, in codes, is compared with the levels of an array of N = bits - 1
binary-weighted capacitors and a terminating unit. Those of unit capacitors of relative deviation s are

    C_k = 2^k + s 2^(k/2) N(0, 1),   C_t = 1 + s N(0, 1),   level of code n:  2^N Σ_k n_k C_k / (C_t + Σ_k C_k)

with n_k the bits of n. Code n is the one that successive approximation finds: from the highest bit on, a bit is kept
where the magnitude and a half is not below the level. So the error is frozen, greatest where many bits change, and in
the middle of the range has the deviation s 2^(N/2) / 2 codes (Saberi et al., IEEE TCAS-I 58, 1736, 2011); ends are
exact. A SAR ADC has an array of its own, or shares it with neighbouring columns; ADCs with a ramp compare with levels
that one array makes for all columns of a tile, and each has a comparator, whose offset is ``faults.column_offset``
(Spear et al., IEEE JXCDC 9, 2023).
"""

import numpy as np
import numpy.typing as npt

from lhc.hardware.description.tiles_and_converters import Adc

__all__ = ["capacitor_levels", "found_codes"]

Floats = npt.NDArray[np.float32]


def capacitor_levels(adc: Adc, columns: int, entropy: np.random.SeedSequence) -> Floats | None:
    """Level of every capacitor in the ADCs of one tile, in codes, ``(bits - 1, columns)``.

    The least significant one first; None where all are alike.

    Args:
        columns: of the tile that are used, the first ones.
        entropy: of the tile.
    """
    if adc.capacitor_mismatch == 0 or adc.bits is None:
        return None
    count, generator = adc.bits - 1, np.random.default_rng(entropy)
    shared_by = columns if adc.kind == "ramp" else adc.columns_per_adc
    arrays = -(-columns // shared_by)
    units = np.append(2.0 ** np.arange(count), 1.0)[:, None]
    capacitors = units + adc.capacitor_mismatch * np.sqrt(units) * generator.standard_normal((count + 1, arrays))
    levels = 2**count * capacitors[:-1] / capacitors.sum(axis=0)
    return np.repeat(levels, shared_by, axis=1)[:, :columns].astype(np.float32)


def found_codes(values: Floats, levels: Floats) -> Floats:
    """The codes of values in units of a code.

    Args:
        values: ``(..., columns)``.
        levels: see `capacitor_levels`.
    """
    magnitude, reached, codes = np.abs(values) + np.float32(0.5), np.zeros_like(values), np.zeros_like(values)
    for k, level in reversed(list(enumerate(levels))):
        kept = reached + level <= magnitude
        reached, codes = np.where(kept, reached + level, reached), np.where(kept, codes + np.float32(2**k), codes)
    return np.asarray(np.where(np.isnan(values), values, np.copysign(codes, values)), np.float32)
