"""YAML from outside: plain values only, in bounded time and memory.

``safe_load`` makes no objects of tags, but a few aliases of aliases stand for billions of values, and whoever prints or
copies them needs as much memory.
"""

import yaml

from lhc.errors import ConfigError

__all__ = ["read_yaml"]

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
