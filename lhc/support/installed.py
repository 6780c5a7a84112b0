"""What other installed packages add to lhc: entry points of its groups. To read them takes some 50 ms."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

__all__ = ["installed", "installed_names", "package_of"]


@cache
def _group(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def installed(group: str, name: str) -> EntryPoint | None:
    """What is called so in a group; nothing of it is imported."""
    return _group(group).get(name)


def installed_names(group: str) -> tuple[str, ...]:
    """What there is in a group; nothing of it is imported."""
    return tuple(sorted(_group(group)))


def package_of(entry: EntryPoint) -> str:
    """Who brought it, for messages."""
    return "an unknown package" if entry.dist is None else f"the package {entry.dist.name}"
