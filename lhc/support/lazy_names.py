"""Names of a package that are loaded when they are first used, so that who needs one of its rooms loads no other."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType


def names_from(package: str, rooms: Mapping[str, str]) -> Callable[[str], object]:
    """``__getattr__`` of a package whose names are loaded lazily.

    Args:
        rooms: by name, the module that defines it; where a name is also that of a package inside, which takes its place
            once it is imported, that package is made callable (`make_callable`).
    """

    def find(name: str) -> object:
        if name not in rooms:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(rooms[name]), name)

    return find


def make_callable(package: str, function: str) -> None:
    """Let a package be called like the function that has its name: ``lhc.report(…)`` is ``lhc report``.

    Python sets a package as an attribute of the one around it when it is imported, and so hides the function.

    Args:
        function: ``module:name``, imported when it is called.
    """
    module, _, name = function.partition(":")

    class CalledPackage(ModuleType):
        def __call__(self, *args: object, **kwargs: object) -> object:
            return getattr(import_module(module), name)(*args, **kwargs)

    sys.modules[package].__class__ = CalledPackage
