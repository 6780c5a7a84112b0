"""Installed packages: versions, and entry points that other packages add to lhc (some 50 ms)."""

from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version


@cache
def _group(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def installed(group: str, name: str) -> EntryPoint | None:
    """Entry point of this name in a group; nothing of it is imported."""
    return _group(group).get(name)


def installed_names(group: str) -> tuple[str, ...]:
    """Names of the entry points in a group; nothing of them is imported."""
    return tuple(sorted(_group(group)))


def installed_values(group: str) -> frozenset[str]:
    """Values of the entry points of a group, ``module:name``; none is imported."""
    return frozenset(entry.value for entry in _group(group).values())


def package_of(entry: EntryPoint) -> str:
    """Package that brought an entry point, for messages."""
    return "an unknown package" if entry.dist is None else f"the package {entry.dist.name}"


def version_of(package: str) -> str:
    """The version of a package, by the name of its distribution; ``none`` where it is not known."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
