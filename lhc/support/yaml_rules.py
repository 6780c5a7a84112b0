"""PyYAML loader and dumper for the core schema of YAML 1.2; by itself, since few commands load PyYAML."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

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
