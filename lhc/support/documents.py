"""YAML and JSON documents from outside: read in bounded time and memory, fields by path, and errors of fields.

YAML is plain values only, by the rules of YAML 1.2. PyYAML reads YAML 1.1, in which ``yes`` is a boolean, ``0256`` is
174, ``4:0`` is 240, ``<<`` copies other mappings (a few of which stand for more work than anyone can wait for), and the
last of two equal keys wins. Here words are text, ``0256`` is 256, ``<<`` is a key like any other, and equal keys are
refused (YAML 1.2.2, sections 10.2 and 3.2.1.1). ``safe_load`` makes no objects of tags, but a few aliases of aliases
stand for billions of values, and whoever prints or copies them needs as much memory. PyYAML is loaded for the first
text: plans in models are JSON.

An unknown key is told with the nearest one of the document's JSON schema.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from lhc.errors import ConfigError
from lhc.support.text_escaping import plain


def fields_by_path(document: object, path: str = "") -> dict[str, object]:
    """Fields of a nested document by their path; a list of values, or a table of them, is one field.

    >>> fields_by_path({"tiles": {"rows": 256}, "layers": [{"dac": 8}], "times": [1, 2], "none": []})
    {'tiles.rows': 256, 'layers.0.dac': 8, 'times': [1, 2]}
    """
    values = isinstance(document, list) and document and not any(isinstance(inner, dict) for inner in document)
    if values or not isinstance(document, dict | list):
        return {path: document}
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    found: dict[str, object] = {}
    for key, inner in inside:
        found |= fields_by_path(inner, f"{path}.{key}" if path else str(key))
    return found


def set_by_path(document: dict[str, Any], path: str, value: object) -> None:
    """Set a field of a nested document that has the mapping it lies in.

    >>> document = {"adc": {"bits": 8}}
    >>> set_by_path(document, "adc.bits", 6)
    >>> document
    {'adc': {'bits': 6}}
    """
    *sections, name = path.split(".")
    inside = document
    for section in sections:
        inside = inside[section]
    inside[name] = value


def holds_more(document: object, most: int) -> bool:
    """Whether lists and mappings hold more values than that, at every depth; what is repeated counts every time."""
    values, waiting = 0, [document]
    while waiting and values <= most:
        value = waiting.pop()
        inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        values += len(inside)
        waiting += inside
    return values > most


_NAMELESS = 'in "<unicode string>", '
"""What PyYAML calls a text; its file is named before."""
_LONGEST = 16 * 2**20
"""Most characters; a plan has about a thousand for every layer."""
_VALUES = 10**6
"""Most values, those that aliases repeat counted as often as they are repeated."""


def write_yaml(document: object, width: int = 80) -> str:
    """Plain values as YAML that `read_yaml` gives back, and so does a reader of YAML 1.1.

    Where it holds characters that are not shown as they are, all but ASCII is written by number.
    """
    import yaml

    from lhc.support.yaml_rules import Dumper

    def written(unicode: bool) -> str:
        text: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=unicode, width=width)
        return text

    text = written(unicode=True)
    return text if plain(text) == text else written(unicode=False)


def read_yaml(text: str, where: str) -> object:
    """The document in a text.

    Raises:
        ConfigError: not YAML, with tags other than the standard ones, with a key twice, or too large.
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"{where}: longer than {_LONGEST >> 20} MiB, which no description or plan is")
    import yaml

    from lhc.support.yaml_rules import Loader

    try:
        document: object = yaml.load(text, Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an impossible date or number
        raise ConfigError(f"{where}: not valid YAML: {str(error).replace(_NAMELESS, '')[:500]}") from error
    if holds_more(document, _VALUES):
        raise ConfigError(f"{where}: its aliases stand for more than {_VALUES:,} values")
    return document


def comments_in(text: str) -> bool:
    """Whether a text that `read_yaml` takes has comments: a ``#`` that is in no token."""
    import yaml

    end = 0
    for token in yaml.scan(text):
        if "#" in text[end : token.start_mark.index]:
            return True
        end = max(end, token.end_mark.index)
    return "#" in text[end:]


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
