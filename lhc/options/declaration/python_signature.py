"""A Python function whose keywords are the options of a class: written once, typed, visible to editors."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

from lhc.options.declaration.message_translation import told_in_python
from lhc.options.declaration.option_fields import Option, options_of, refuse_unknown
from lhc.support.notebook import in_notebook, notebook_progress

__all__ = ["Keywords", "arguments_text", "keywords"]

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
    Python does (`lhc.options.declaration.message_translation`).

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
