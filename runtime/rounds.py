"""Rounds of bound management: by how much inputs are reduced when a vector saturates."""

__all__ = ["MAX_REDUCTION", "MAX_STEP", "reductions"]

MAX_REDUCTION = 1000.0
MAX_STEP = 0.25
"""aihwkit's defaults: inputs are reduced until this factor is passed, or a DAC step is this share of the range."""


def reductions(
    managed: bool, input_step: float, max_reduction: float = MAX_REDUCTION, max_step: float = MAX_STEP
) -> tuple[float, ...]:
    """1, 2, 4, … as far as aihwkit goes; 1 alone without bound management.

    Args:
        managed: whether saturating vectors are read again.
        input_step: step of the DAC, in units of the scaled input; 0 where it does not quantise.
        max_reduction: greatest reduction that may still be doubled.
        max_step: the same, as a share of the range that a step may be.
    """
    found = [1.0]
    while managed and found[-1] <= max_reduction and (input_step == 0 or found[-1] <= max_step / input_step):
        found.append(2 * found[-1])
    return tuple(found)
