"""A user's own functions and objects, named ``module:name``."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from lhc.errors import UsageError


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """Let modules of the current folder be imported, as ``python -m`` does."""
    folder = str(Path.cwd())
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        if added and folder in sys.path:
            sys.path.remove(folder)


def load_object(name: str, option: str) -> object:
    """Object of that name; modules are looked for in the current folder too.

    Args:
        name: ``module:name``.

    Raises:
        UsageError: it cannot be imported.
    """
    module, _, attribute = name.partition(":")
    try:
        with current_folder_importable():
            return getattr(import_module(module), attribute)
    except Exception as error:  # a user's module can raise anything while it is imported
        raise UsageError(f"{option} {name}: cannot be imported: {type(error).__name__}: {error}") from error


def load_function(name: str, option: str) -> Callable[..., object]:
    """The function of that name; modules are looked for in the current folder too.

    Args:
        name: ``module:function``.

    Raises:
        UsageError: it cannot be imported, or is no function.
    """
    function = load_object(name, option)
    if not callable(function):
        raise UsageError(f"{option} {name}: not a function")
    found: Callable[..., object] = function
    return found
