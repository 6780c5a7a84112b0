"""Two values of a field in words: with digits enough to tell them apart, units, and long ones cut."""

import re
from itertools import product

from lhc.plan import Sensitivity
from lhc.support.number_formatting import time_text

__all__ = ["Units", "change_text", "words"]

Units = tuple[str, str, str]
"""Of scores and of drops, empty where these are no shares, and what a drop is called."""
NO_UNITS: Units = ("", "", "drop")

_SHARES = ("chips_within", "yield_share", "spread", "confidence")
"""Fields of an outcome that are shares whatever the metric."""
_SCORES = ("baseline", "value")
_DROPS = ("drop", "interval", "chip_interval", "sample_interval", "max_drop", "predicted_drop")
_HEALED = {
    "neither": "without healing",
    "copies": "with copies",
    "calibration": "with calibration",
    "both": "with both",
}
"""Those in the metric's unit; drops may be relative."""
_DIGITS = range(4, 18)
"""Significant digits: as few as tell two values apart."""
_SHOWN, _EVERY = 4, 10**9
"""Values of a list that a line shows; of longer ones the number, the first and the last, if these tell them apart."""
_DIGEST, _SHA_256 = 12, re.compile("[0-9a-f]{64}")


def words(name: str, units: Units = NO_UNITS, of: str = "") -> str:
    """A field as people call it; ``of``: the field whose part it is."""
    if of == "healing" and name in _HEALED:
        return _HEALED[name]
    return name.replace("_", " ").replace("drop", units[2])


def change_text(one: object, two: object, field: str = "", units: Units = NO_UNITS, part: bool = False) -> str:
    """Both values, with digits enough to tell them apart; of two records, what differs.

    Args:
        field: of an outcome, where they are of one.
        units: of what a plan says.
        part: they are of a record, in whose line units are long enough once for both.
    """
    if isinstance(one, dict) and isinstance(two, dict):
        changed = [name for name in {**one, **two} if one.get(name) != two.get(name)]
        return ", ".join(
            f"{words(name, units, field)} {change_text(one.get(name), two.get(name), name, units, True)}"
            for name in changed
        )
    texts: tuple[str, ...] = ()
    for longest, digits in product((_SHOWN, _EVERY), _DIGITS):
        texts = tuple(_text(value, digits, field, units, longest) for value in (one, two))
        if one == two or texts[0] != texts[1]:
            break
    if one == two:
        return texts[0]
    unit = _unit(field, units)
    if part and unit and texts[1].endswith(unit):
        texts = texts[0].removesuffix(f" {unit}"), texts[1]
    return " -> ".join(texts)


def _text(value: object, digits: int, field: str, units: Units, longest: int) -> str:
    """A value: so many digits, hundredths where it has a unit; digests, and lists longer than ``longest``, are cut."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    unit = _unit(field, units)
    if isinstance(value, float):
        if field == "t_s":
            return time_text(value)
        return f"{100 * value:.{digits}g} {unit}" if unit else f"{value:.{digits}g}"
    if isinstance(value, Sensitivity):
        bounds = "" if value.interval is None else f" {_text(list(value.interval), digits, field, units, longest)}"
        return f"{value.mean:.{digits}g}{bounds} {value.metric}, {value.basis}"
    if isinstance(value, list):
        texts = [_text(inner, digits, field, units, longest).removesuffix(f" {unit}") for inner in value]
        cut = len(texts) > longest
        inside = f"{len(texts)}: {texts[0]}, …, {texts[-1]}" if cut else ", ".join(texts)
        return f"[{inside}] {unit}".strip()
    if isinstance(value, dict):
        return ", ".join(
            f"{words(name, units, field)} {_text(inner, digits, name, units, longest)}" for name, inner in value.items()
        )
    return str(value)[:_DIGEST] if _SHA_256.fullmatch(str(value)) else str(value)


def _unit(field: str, units: Units) -> str:
    """Of a field, where it is a share."""
    if field in _SHARES:
        return "%"
    if field in _SCORES:
        return units[0]
    return units[1] if field in (*_DROPS, *_HEALED) else ""
