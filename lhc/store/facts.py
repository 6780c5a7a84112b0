"""Facts that a result depends on, and the fingerprint that stands for them.

A fingerprint is the SHA-256 of canonical JSON: sorted names, no spaces, ASCII, and one form for every number (1 and
1.0 are one number). Facts lie *within* others, so that what all results of a run or of a placement share is kept once;
the fingerprint of facts within others covers those too (a Merkle chain).
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TypeAlias

__all__ = ["Facts", "JsonValue", "chain", "fingerprint"]

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
Facts: TypeAlias = Mapping[str, JsonValue]


def chain(*facts: Facts) -> list[tuple[str, str, str]]:
    """Fingerprint, that of those before it (none: empty), and canonical JSON of facts that lie within each other.

    Raises:
        TypeError, ValueError: JSON cannot say what they hold, such as numpy's integers, or NaN.
    """
    links: list[tuple[str, str, str]] = []
    for one in facts:
        within = links[-1][0] if links else ""
        text = json.dumps(_plain(one), sort_keys=True, separators=(",", ":"), allow_nan=False)
        links.append((sha256(f"{within}\n{text}".encode()).hexdigest(), within, text))
    return links


def fingerprint(*facts: Facts) -> str:
    """64 hexadecimal digits that stand for facts within each other, as `chain` takes them."""
    return chain(*facts)[-1][0]


def _plain(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("names of facts are text")
        return {name: _plain(inner) for name, inner in value.items()}
    return value
