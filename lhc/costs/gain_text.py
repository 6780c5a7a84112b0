"""Gains of a placement over the all-digital network, in words."""

from lhc.costs.units import Cost
from lhc.support.number_formatting import ratio

__all__ = ["compared", "gains"]

_TIMES = 1.1
"""Ratio below which a difference is told in percent."""


def gains(placed: Cost, digital: Cost) -> str:
    """Energy and latency beside all digital; what is the same comes last.

    >>> gains(Cost(2e-3, 1e-6), Cost(4.8e-3, 3.1e-6))
    'energy 3.1 times less, latency 2.4 times less than all digital'
    >>> gains(Cost(1.0, 2.0), Cost(1.0, 1.9)), gains(Cost(1.0, 2.0), Cost(2.0, 2.0))
    ('energy 5 % more than all digital, latency the same', 'latency 2.0 times less than all digital, energy the same')
    >>> gains(Cost(1.0, 2.0), Cost(1.0, 2.0))
    'energy and latency the same as all digital'
    """
    found = {
        "energy": compared(digital.energy_j, placed.energy_j, "less", "more", ""),
        "latency": compared(digital.latency_s, placed.latency_s, "less", "more", ""),
    }
    other = [f"{name} {difference}" for name, difference in found.items() if difference]
    if not other:
        return "energy and latency the same as all digital"
    same = [f", {name} the same" for name, difference in found.items() if not difference]
    return f"{', '.join(other)} than all digital{''.join(same)}"


def compared(before: float, after: float, better: str, worse: str, same: str) -> str:
    """How one amount differs from another.

    >>> compared(3.1, 1, "less", "more", "the same"), compared(1, 1.04, "less", "more", "the same")
    ('3.1 times less', '4 % more')
    """
    if min(before, after) <= 0:
        return same
    word, times = (better, before / after) if before > after else (worse, after / before)
    if times >= _TIMES:
        return f"{ratio(times)} times {word}"
    percent = round(100 * abs(after / before - 1))
    return f"{percent} % {word}" if percent else same
