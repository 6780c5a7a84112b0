"""Unknown keys of a document: the nearest key of its JSON schema."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

__all__ = ["unknown_key"]

_Schema = Mapping[str, Any]
_UNIT = re.compile(
    r"_(s|ms|us|ns|pj|nj|uj|mj|mw|w|mm2|um2|mhz|ghz|gb|bits|bytes?|cycles|percent|cell|scale|v|mv|ua|na|db)(?=_|$)"
)
"""The word of a key that says what its number is; a scale is a factor."""


def unknown_key(schema: _Schema, path: Sequence[str | int]) -> str:
    """Message for an unknown key: the nearest one, else all that there are.

    Where the key names a unit, the nearest two of that unit: a number that is moved to another unit would be wrong, and
    quantities of one unit are easily mistaken for each other.

    Args:
        schema: JSON schema of the document, as pydantic makes it.
        path: of the key, as pydantic tells it: keys, positions in lists, kinds of a section that are told by ``model``.
    """
    *above, key = path
    here = _choices(schema, schema)
    for part in above:
        here = [inner for one in here for inner in _inside(schema, one, part)]
    known = list(dict.fromkeys(name for one in here for name in one.get("properties", {})))
    unit = _unit(str(key))
    near = get_close_matches(str(key), [name for name in known if unit in (None, _unit(name))], n=2)
    if near:
        return f"no such key; did you mean {' or '.join(near if unit else near[:1])}?"
    return f"no such key; there are {', '.join(known)}" if known else "no such key"


def _unit(key: str) -> str | None:
    found = _UNIT.search(key)
    return found and found[1]


def _choices(schema: _Schema, one: _Schema) -> list[_Schema]:
    """Alternatives of a part of a schema, with references followed."""
    if "$ref" in one:
        return _choices(schema, schema["$defs"][one["$ref"].rpartition("/")[2]])
    alternatives = [*one.get("anyOf", ()), *one.get("oneOf", ())]
    return [inner for each in alternatives for inner in _choices(schema, each)] if alternatives else [one]


def _inside(schema: _Schema, one: _Schema, part: str | int) -> list[_Schema]:
    properties = one.get("properties", {})
    if part in properties:
        return _choices(schema, properties[part])
    if isinstance(part, int) and "items" in one:
        return _choices(schema, one["items"])
    return [one] if properties.get("model", {}).get("const") == part else []
