"""Facts that a result depends on, and the fingerprint that stands for them.

A fingerprint is the SHA-256 of canonical JSON: sorted names, no spaces, ASCII, and one form for every number (1 and
1.0 are one number). Facts can lie *within* others, so that what all results of a run or of a placement share is said
once; a fingerprint of facts within others covers those too (a Merkle chain).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

__all__ = ["Entry", "Facts", "Group", "JsonValue", "canonical", "fingerprint", "group", "matches", "parse_facts"]

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
Facts: TypeAlias = Mapping[str, JsonValue]

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: JsonValue) -> str:
    """The value as JSON, always in the same form.

    Args:
        value: what JSON can say; tuples count as lists.

    Raises:
        TypeError: it holds what JSON cannot say, such as numpy's integers.
        ValueError: it holds NaN or an infinite number.
    """
    return _ENCODER.encode(_plain(value))


def _plain(value: JsonValue) -> JsonValue:
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError(f"names of facts must be text, got {list(value)}")
        return {name: _plain(inner) for name, inner in value.items()}
    raise TypeError(f"facts are what JSON can say, got {type(value).__name__}")


def fingerprint(facts: Facts, within: str | None = None) -> str:
    """SHA-256 of facts, 64 hexadecimal digits; facts that are equal have equal ones.

    Args:
        facts: names and values.
        within: fingerprint of the facts that these add to.

    Raises:
        TypeError: a fact is not what JSON can say.
        ValueError: a fact is NaN or infinite.
    """
    text = canonical(facts)
    return sha256((text if within is None else f"{within}\n{text}").encode()).hexdigest()


def parse_facts(text: bytes) -> dict[str, JsonValue]:
    """Facts from JSON that may come from anywhere.

    Raises:
        ValueError: it is not an object in JSON, or holds NaN, infinite numbers or too deep a nesting.
    """
    try:
        facts = json.loads(text)
        canonical(facts)  # refuses what JSON lacks and Python reads: NaN, 1e999
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(facts, dict):
        raise ValueError("not an object")  # noqa: TRY004
    return facts


def matches(facts: Facts, wanted: Facts) -> bool:
    """Whether the facts hold all that is wanted; 1 and 1.0 are the same, 1 and true are not."""
    return all(name in facts and canonical(facts[name]) == canonical(value) for name, value in wanted.items())


@dataclass(frozen=True)
class Entry:
    """A result without its value.

    Attributes:
        key: its fingerprint.
        facts: its own and those of all contexts that it lies within.
        dtype: element type, as numpy writes it.
        shape: of the array.
        bytes: on disk, without the contexts.
    """

    key: str
    facts: Facts
    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Group:
    """Results that agree in some facts.

    Attributes:
        facts: those, as far as the results have them.
        results: how many.
        bytes: on disk, without the contexts.
    """

    facts: Facts
    results: int
    bytes: int


def group(entries: Iterable[Entry], names: Sequence[str]) -> list[Group]:
    """How many results there are for each combination of some facts, in the order in which these are met.

    Args:
        entries: the results.
        names: of the facts.
    """
    groups: dict[str, Group] = {}
    for entry in entries:
        facts = {name: entry.facts[name] for name in names if name in entry.facts}
        text = canonical(facts)
        so_far = groups.get(text, Group(facts, 0, 0))
        groups[text] = Group(so_far.facts, so_far.results + 1, so_far.bytes + entry.bytes)
    return list(groups.values())
