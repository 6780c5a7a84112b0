"""Bounds of numbers that users give: magnitudes, levels of confidence, copies of a layer."""

from lhc.errors import UsageError

SMALLEST, GREATEST = 1e-15, 1e15
"""Magnitudes of numbers that users give, unless 0: their squares and products stay within single precision."""
MOST_COPIES = 4096
"""Of a layer; with as many, errors of devices are a 64th of what they are with one. Bounds what a file may ask for."""


def in_range(value: float) -> bool:
    """Whether a number is one that lhc takes; NaN and infinity are none.

    >>> [in_range(value) for value in (0, -1e-15, 10**15, 5e-324, 10**30, float("nan"))]
    [True, True, True, False, False, False]
    """
    return value == 0 or SMALLEST <= abs(value) <= GREATEST


def check_confidence(confidence: float) -> None:
    """Refuse a level that does not lie between 0 and 1.

    Raises:
        UsageError: so it is.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"--confidence must lie between 0 and 1, got {confidence}")
