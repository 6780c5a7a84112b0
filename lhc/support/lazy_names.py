"""Names of a package that are loaded when they are first used, so that who needs one of its rooms loads no other."""

from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["names_from"]


def names_from(package: str, rooms: Mapping[str, str]) -> Callable[[str], object]:
    """What a package has as ``__getattr__``.

    Args:
        rooms: by name, the module that defines it; no name may be that of a module of the package.
    """

    def find(name: str) -> object:
        if name not in rooms:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(rooms[name]), name)

    return find
