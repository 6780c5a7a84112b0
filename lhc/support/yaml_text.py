"""YAML from outside: plain values only, in bounded time and memory.

``safe_load`` makes no objects of tags, but a few aliases of aliases stand for billions of values, and whoever prints or
copies them needs as much memory.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import yaml

from lhc.errors import ConfigError

__all__ = ["read_yaml", "unknown_key"]

_Schema = Mapping[str, Any]

_LONGEST = 16 * 2**20
"""Most characters; a plan has about a thousand for every layer."""
_VALUES = 10**6
"""Most values, those that aliases repeat counted as often as they are repeated."""


def read_yaml(text: str, where: str) -> object:
    """The document in a text.

    Args:
        text: YAML, or JSON.
        where: names the text in errors.

    Raises:
        ConfigError: not YAML, with tags other than the standard ones, or too large.
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"{where}: longer than {_LONGEST >> 20} MiB, which no description or plan is")
    try:
        document: object = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an impossible date or number
        raise ConfigError(f"{where}: not valid YAML: {str(error)[:500]}") from error
    values, waiting = 0, [document]
    while waiting:
        value = waiting.pop()
        inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        values += len(inside)
        if values > _VALUES:
            raise ConfigError(f"{where}: its aliases stand for more than {_VALUES:,} values")
        waiting += inside
    return document


def unknown_key(schema: _Schema, path: Sequence[str | int]) -> str:
    """What to say of a key that a document has where there is no such key: the nearest one, else all that there are.

    Args:
        schema: JSON schema of the document, as pydantic makes it.
        path: of the key, as pydantic tells it: keys, positions in lists, kinds of a section that are told by ``model``.
    """
    *above, key = path
    here = _choices(schema, schema)
    for part in above:
        here = [inner for one in here for inner in _inside(schema, one, part)]
    known = list(dict.fromkeys(name for one in here for name in one.get("properties", {})))
    near = get_close_matches(str(key), known, n=1)
    if near:
        return f"no such key; did you mean {near[0]}?"
    return f"no such key; there are {', '.join(known)}" if known else "no such key"


def _choices(schema: _Schema, one: _Schema) -> list[_Schema]:
    """What a part of a schema stands for: references followed, alternatives apart."""
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
