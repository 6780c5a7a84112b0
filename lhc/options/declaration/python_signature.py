"""Options as keywords of a Python function: its signature, and messages that name its arguments.

The keywords are the fields of a class of options: written once, typed, visible to editors.

In messages options of the command line become arguments (`python_words`). ``--max-drop`` is `max_drop`, ``--retrain``
is `retrain=True`, ``--no-explain`` is `explain=False`, ``--force`` is `save(force=True)`. Command lines in a message
stay as they are: 'lhc partition --retrain'.
"""

import inspect
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, Protocol, TypeVar

from lhc.errors import LhcError
from lhc.options.declaration.option_fields import Option, options_of, refuse_unknown
from lhc.support.notebook import in_notebook, notebook_progress

__all__ = ["Keywords", "arguments_text", "keywords", "python_words", "told_in_python"]

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
    from lhc.options import output_options as terminal_options  # all commands' options, for a message alone
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


P = ParamSpec("P")
C = TypeVar("C")
R = TypeVar("R")


class Keywords(Protocol[P, C, R]):
    """A function that takes options as arguments, and with ``of`` as an object."""

    of: Callable[[C], R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it with options as arguments."""
        ...


def keywords(options: Callable[P, C]) -> Callable[[Callable[[C], R]], Keywords[P, C, R]]:
    """Let a function that takes an options object be called with the options as arguments.

    In a notebook, what takes a ``progress`` shows one unless it is given another. Errors and warnings name options as
    Python does (`lhc.options.declaration.python_signature`).

    Args:
        options: a class of options (`lhc.options.declaration.option_fields.options`).
    """
    made_of: Any = options
    has_progress = "progress" in inspect.signature(options).parameters

    def decorate(function: Callable[[C], R]) -> Keywords[P, C, R]:
        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            refuse_unknown(function.__name__, made_of, kwargs)
            if has_progress and "progress" not in kwargs and in_notebook():
                kwargs["progress"] = notebook_progress()
            with told_in_python(made_of):
                return function(options(*args, **kwargs))

        signature = inspect.signature(options)
        returns = inspect.signature(function).return_annotation
        made: Any = called
        made.__signature__ = signature.replace(return_annotation=returns)
        made.__doc__ = _with_arguments(function.__doc__ or "", options)
        made.of = function
        found: Keywords[P, C, R] = made
        return found

    return decorate


def _with_arguments(text: str, options: Any) -> str:  # noqa: ANN401 - a class of options
    """A docstring with its section of arguments, before what it says of results and errors."""
    text = inspect.cleandoc(text)
    args = "Args:\n" + arguments_text(options)
    for section in ("Returns:", "Raises:"):
        before, found, after = text.partition(f"\n{section}\n")
        if found:
            return f"{before}\n{args}\n\n{section}\n{after}"
    return f"{text}\n\n{args}\n"


def arguments_text(options: type) -> str:
    """One line an option, as Google style writes arguments."""
    return "\n".join(f"    {one.name}: {_sentence(one)}" for one in options_of(options))


def _sentence(one: Option) -> str:
    return one.help if one.unit is None else f"{one.help.removesuffix('.')}; in {one.unit}."
