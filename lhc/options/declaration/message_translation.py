"""Translation of messages for Python: options of the command line become arguments.

``--max-drop`` is `max_drop`, ``--retrain`` is `retrain=True`, ``--no-explain`` is `explain=False`, ``--force`` is
`save(force=True)`. Command lines in a message stay as they are: 'lhc partition --retrain'.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from lhc.errors import LhcError
from lhc.options.declaration.option_fields import Option, options_of

__all__ = ["python_words", "told_in_python"]

_COMMAND_OR_FLAG = re.compile(r"'lhc [^']*'|\blhc [a-z]+ -[^),;]*|--[a-z]+(?:-[a-z]+)*(?![\w-])")


def python_words(text: str, asked: type | None = None) -> str:
    """A message in the words of Python; an option that Python has no word for stays as it is.

    Args:
        asked: options whose names go before those of the same flag elsewhere.
    """
    words = _words(asked)
    return _COMMAND_OR_FLAG.sub(lambda found: words.get(found[0], found[0]), text)


@contextmanager
def told_in_python(asked: type) -> Iterator[None]:
    """Errors and warnings of what is done here are in the words of Python."""

    def told(record: logging.LogRecord) -> bool:
        record.msg, record.args = python_words(record.getMessage(), asked), None
        return True

    log = logging.getLogger("lhc")
    log.addFilter(told)
    try:
        yield
    except LhcError as error:
        error.args = (python_words(str(error), asked),)
        raise
    finally:
        log.removeFilter(told)


@cache
def _words(asked: type | None) -> Mapping[str, str]:
    """Flag -> what stands for it in Python."""
    from lhc.options import by_command as commands  # all commands' options, for a message alone
    from lhc.options import output_by_command as terminal_options  # all commands' options, for a message alone
    from lhc.options import viewing as looking_options  # all commands' options, for a message alone

    modules = (
        getattr(module, name) for module in (commands, terminal_options, looking_options) for name in module.__all__
    )
    kinds = (one for one in modules if isinstance(one, type))
    found: dict[str, str] = {}
    for kind in (*([] if asked is None else [asked]), *kinds):
        for one in options_of(kind):
            if one.flag is not None and one.instead is None and (one.result is None or "(" in one.result):
                found.setdefault(one.flag, _word(one))
            if one.off is not None:
                found.setdefault(one.off, f"`{one.name}=False`")
    return found


def _word(one: Option) -> str:
    if one.result is not None:
        return f"`{one.result}`"
    return f"`{one.name}=True`" if isinstance(one.default, bool) else f"`{one.name}`"
