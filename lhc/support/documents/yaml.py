"""YAML from outside: plain values only, by the rules of YAML 1.2, in bounded time and memory.

PyYAML reads YAML 1.1, in which ``yes`` is a boolean, ``0256`` is 174, ``4:0`` is 240, ``<<`` copies other mappings (a
few of which stand for more work than anyone can wait for), and the last of two equal keys wins. Here words are text,
``0256`` is 256, ``<<`` is a key like any other, and equal keys are refused (YAML 1.2.2, sections 10.2 and 3.2.1.1).
``safe_load`` makes no objects of tags, but a few aliases of aliases stand for billions of values, and whoever prints or
copies them needs as much memory. PyYAML is loaded for the first text: plans in models are JSON.
"""

from lhc.errors import ConfigError
from lhc.support.documents.nested_values import holds_more
from lhc.support.text_escaping import plain

__all__ = ["comments_in", "read_yaml", "write_yaml"]

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

    from lhc.support.documents.yaml_rules import Dumper

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

    from lhc.support.documents.yaml_rules import Loader

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
