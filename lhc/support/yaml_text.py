"""YAML from outside: plain values only, by the rules of YAML 1.2, in bounded time and memory.

PyYAML reads YAML 1.1, in which ``yes`` is a boolean, ``0256`` is 174, ``4:0`` is 240, ``<<`` copies other mappings (a
few of which stand for more work than anyone can wait for), and the last of two equal keys wins. Here words are text,
``0256`` is 256, ``<<`` is a key like any other, and equal keys are refused (YAML 1.2.2, sections 10.2 and 3.2.1.1).
``safe_load`` makes no objects of tags, but a few aliases of aliases stand for billions of values, and whoever prints or
copies them needs as much memory.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import yaml

from lhc.errors import ConfigError

__all__ = ["holds_more", "read_yaml", "unknown_key", "write_yaml"]

_Schema = Mapping[str, Any]

_NAMELESS = 'in "<unicode string>", '
"""What PyYAML calls a text; its file is named before."""
_LONGEST = 16 * 2**20
"""Most characters; a plan has about a thousand for every layer."""
_VALUES = 10**6
"""Most values, those that aliases repeat counted as often as they are repeated."""
_PREFIX = "tag:yaml.org,2002:"
_CORE = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
)
"""Plain text that is no string, by the core schema: its kind, how it is written, and what it begins with."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2, core schema, without equal keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as PyYAML declares it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a list or mapping is a key", key_node.start_mark)
            if key in found:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} twice", key_node.start_mark)
            found[key] = self.construct_object(value_node, deep=deep)
        return found

    def construct_yaml_map(self, node: yaml.MappingNode) -> Any:  # noqa: ANN401 - as PyYAML has it
        """A mapping; made in two steps, since it may hold itself."""
        found: dict[Hashable, Any] = {}
        yield found
        found.update(self.construct_mapping(node))

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Decimal, 0o octal or 0x hexadecimal."""
        text = str(self.construct_scalar(node))
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: list(found) for first, found in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }


for _kind, _written, _first in _CORE:
    for _one in (_Loader, _Dumper):
        _one.add_implicit_resolver(_PREFIX + _kind, re.compile(f"^(?:{_written})$"), list(_first))
_Loader.add_constructor(_PREFIX + "map", _Loader.construct_yaml_map)
_Loader.add_constructor(_PREFIX + "int", _Loader.construct_yaml_int)


def write_yaml(document: object, width: int = 80) -> str:
    """Plain values as YAML that `read_yaml` gives back, and so does a reader of YAML 1.1."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)
    return text


def read_yaml(text: str, where: str) -> object:
    """The document in a text.

    Raises:
        ConfigError: not YAML, with tags other than the standard ones, with a key twice, or too large.
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"{where}: longer than {_LONGEST >> 20} MiB, which no description or plan is")
    try:
        document: object = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an impossible date or number
        raise ConfigError(f"{where}: not valid YAML: {str(error).replace(_NAMELESS, '')[:500]}") from error
    if holds_more(document, _VALUES):
        raise ConfigError(f"{where}: its aliases stand for more than {_VALUES:,} values")
    return document


def fields_by_path(document: object, path: str = "") -> dict[str, object]:
    """Fields of a nested document by their path.

    >>> fields_by_path({"tiles": {"rows": 256}, "layers": [True]})
    {'tiles.rows': 256, 'layers.0': True}
    """
    if not isinstance(document, dict | list):
        return {path: document}
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    found: dict[str, object] = {}
    for key, inner in inside:
        found |= fields_by_path(inner, f"{path}.{key}" if path else str(key))
    return found


def holds_more(document: object, most: int) -> bool:
    """Whether lists and mappings hold more values than that, at every depth; what is repeated counts every time."""
    values, waiting = 0, [document]
    while waiting and values <= most:
        value = waiting.pop()
        inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        values += len(inside)
        waiting += inside
    return values > most


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
