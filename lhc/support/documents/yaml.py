"""YAML from outside: plain values only, by the rules of YAML 1.2, in bounded time and memory.

PyYAML reads YAML 1.1, in which ``yes`` is a boolean, ``0256`` is 174, ``4:0`` is 240, ``<<`` copies other mappings (a
few of which stand for more work than anyone can wait for), and the last of two equal keys wins. Here words are text,
``0256`` is 256, ``<<`` is a key like any other, and equal keys are refused (YAML 1.2.2, sections 10.2 and 3.2.1.1).
``safe_load`` makes no objects of tags, but a few aliases of aliases stand for billions of values, and whoever prints or
copies them needs as much memory. PyYAML is loaded for the first text: plans in models are JSON.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from lhc.errors import ConfigError
from lhc.support.documents.nested_values import holds_more
from lhc.support.text_escaping import plain

__all__ = ["Dumper", "Loader", "comments_in", "read_yaml", "write_yaml"]


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

_MOST_DIGITS = 100
"""Of an integer: more than any seed has, and few enough to be printed in decimal."""


class Loader(yaml.SafeLoader):
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
        if len(text) > _MOST_DIGITS:
            problem = f"an integer of {len(text)} digits"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


class Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: list(found) for first, found in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }


for _kind, _written, _first in _CORE:
    for _one in (Loader, Dumper):
        _one.add_implicit_resolver(_PREFIX + _kind, re.compile(f"^(?:{_written})$"), list(_first))
Loader.add_constructor(_PREFIX + "map", Loader.construct_yaml_map)
Loader.add_constructor(_PREFIX + "int", Loader.construct_yaml_int)


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
