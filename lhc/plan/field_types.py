"""Bounds of what a plan may say: those of single fields, as types, and those that fields set for each other.

A plan in a file is input from outside. What no measurement can have given is refused with the name of its field,
before anything is reported as found or computed with.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

T = TypeVar("T")

MOST = 2**63 - 1
"""Of anything that is counted, such as MACs."""
MOST_SAMPLES = 10**12
MOST_CHIPS = 10**6
"""Programmings that a test can have taken; a chip of a small network takes milliseconds."""
ROUNDING = 1e-6
"""By which figures that follow from each other may differ, relative to the greatest: sums in another order."""


def _ordered(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError(f"its lower bound {interval[0]:g} is above its upper bound {interval[1]:g}")
    return interval


def _made_of(characters: str, lengths: tuple[int, ...], words: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if len(text) not in lengths or not set(text) <= set(characters):
            raise ValueError(words)
        return text

    return check


Count = Annotated[int, Field(ge=0, le=MOST)]
"""Of what may be none."""
Samples = Annotated[int, Field(ge=1, le=MOST_SAMPLES)]
"""Of what was measured on: some at least."""
Chips = Annotated[int, Field(ge=1, le=MOST_CHIPS)]
"""Programmings that something was measured on."""
Number = Annotated[int, Field(ge=0, le=MOST)]
"""One of several, counted from 0."""
Seed = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
"""Of a whole, and a chance."""
Level = Annotated[float, Field(gt=0, lt=1)]
"""Two-sided level of intervals."""
Seconds = Annotated[float, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
"""Of what there cannot be less than none: seconds or joules of a sample, mm², watts, a factor on noise."""
Spread = Annotated[float, Field(ge=0)]
"""A standard deviation, in the unit of what it is of."""
Name = Annotated[str, Field(min_length=1)]
Interval = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Lower and upper bound."""
Digest = Annotated[
    str, AfterValidator(_made_of("0123456789abcdef", (0, 64), "write a SHA-256: 64 digits and letters from a to f"))
]
"""SHA-256; empty where it is not known."""
Version = Annotated[
    str,
    AfterValidator(
        _made_of(
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.+!_-",
            tuple(range(65)),
            "write a version such as 0.1.0",
        )
    ),
]
"""Of lhc; empty where it is not known."""


def alike(one: float, other: float, scale: float = 0.0) -> bool:
    """Whether two figures differ by rounding alone; ``scale``: magnitude of what they were computed from."""
    return abs(one - other) <= ROUNDING * max(abs(one), abs(other), scale)


def check_drop(
    baseline: float, value: float, drop: float, higher_is_better: bool | None, percent: bool, relative: bool = False
) -> None:
    """Refuse a share beyond 0 and 1, and a drop that is not that of a value from the digital one.

    Args:
        higher_is_better: None where it is not known.
        percent: the metric is a share.
        relative: the drop is a share of the magnitude of the digital value.

    Raises:
        ValueError: with the name of the field.
    """
    if percent and not (min(baseline, value) >= -ROUNDING and max(baseline, value) <= 1 + ROUNDING):
        raise ValueError(f"value: {value:g}, and {baseline:g} digital, of a metric that is a share")
    unit = abs(baseline) if relative else 1.0
    if unit == 0:
        raise ValueError("drop_type: relative to a baseline of 0")
    signs = {True: (1,), False: (-1,), None: (1, -1)}[higher_is_better]
    scale = max(abs(baseline), abs(value)) / unit
    if not any(alike(drop, sign * (baseline - value) / unit, scale) for sign in signs):
        raise ValueError(f"drop: {drop:g} is not that of {value:g} from {baseline:g} digital")


def check_verdict(within_budget: bool, drop: float, interval: tuple[float, float] | None, max_drop: float) -> None:
    """Refuse an interval that is not around its drop, and a budget that holds by word and not by figures.

    Raises:
        ValueError: with the name of the field.
    """
    check_interval("interval", interval, drop, "drop")
    greatest = drop if interval is None else interval[1]
    if within_budget and greatest > max_drop:
        raise ValueError(f"within_budget: the drop may be {greatest:g}, and {max_drop:g} is allowed (max_drop)")


def check_interval(name: str, interval: tuple[float, float] | None, figure: float, of: str) -> None:
    """Refuse an interval that does not hold the figure that it is around.

    Raises:
        ValueError: with the name of the field.
    """
    if interval is None or interval[0] <= figure <= interval[1]:
        return
    if not any(alike(figure, bound) for bound in interval):
        raise ValueError(f"{name}: [{interval[0]:g}, {interval[1]:g}] does not hold the {of}, {figure:g}")


def first_double(found: Iterable[T]) -> T | None:
    """The first that is there twice; None where each is there once."""
    seen: set[T] = set()
    for one in found:
        if one in seen:
            return one
        seen.add(one)
    return None
