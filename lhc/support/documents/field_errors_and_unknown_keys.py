"""Errors of a field in a document, and what to write instead of an unknown key: the nearest one of its JSON schema."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

__all__ = ["field_problem", "unknown_key"]


_KINDS = {
    "a whole number": ("int_parsing", "int_type", "int_from_float"),
    "a number": ("float_parsing", "float_type"),
    "a finite number": ("finite_number",),
    "true or false": ("bool_parsing", "bool_type"),
    "a text": ("string_type",),
    "a list": ("list_type", "tuple_type"),
    "fields with their values": ("dict_type", "model_type", "model_attributes_type"),
}
_SAID = {kind: f"write {what}" for what, kinds in _KINDS.items() for kind in kinds} | {
    "missing": "is missing",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "choose {expected}",
}


def field_problem(detail: ErrorDetails) -> str:
    """One problem that pydantic found; in pydantic's words where there are no better ones.

    >>> field_problem({"type": "greater_than", "loc": (), "msg": "Input should be …", "input": 0, "ctx": {"gt": 1}})
    'must be above 1'
    """
    try:
        return _SAID[detail["type"]].format(**detail.get("ctx", {}))
    except KeyError:  # another kind of problem, or one that was moved without what it is about
        return detail["msg"].removeprefix("Value error, ").replace("Input should be ", "must be ")


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
