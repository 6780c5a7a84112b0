"""Presets: YAML files that ship with lhc, or with other installed packages.

A package brings presets by entry points in the group ``lhc.presets``: the name is the preset's, and the value a package
that holds ``NAME.yaml``. A preset of lhc's own is never replaced.
"""

from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path

from lhc.errors import ConfigError, UsageError
from lhc.support.documents import comments_in
from lhc.support.installed_packages import installed, installed_names, package_of

_GROUP = "lhc.presets"


@cache
def _shipped() -> tuple[str, ...]:
    files = resources.files("lhc").joinpath("presets").iterdir()
    return tuple(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def preset_names() -> tuple[str, ...]:
    """Names of the presets that there are."""
    return tuple(sorted({*_shipped(), *installed_names(_GROUP)}))


def nearest_presets(name: str) -> str:
    """Message for an unknown preset: the nearest name, and all that there are."""
    near = get_close_matches(name, preset_names(), n=1)
    return "".join(f"nearest: {one}; " for one in near) + f"presets: {', '.join(preset_names())}"


def preset_text(name: str) -> str:
    """The YAML of a preset, with its comments.

    Raises:
        UsageError: no such preset.
        ConfigError: the package that brings it is at fault.
    """
    if name in _shipped():
        return resources.files("lhc").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
    entry = installed(_GROUP, name)
    if entry is None:
        raise UsageError(f"unknown hardware {name!r}; {nearest_presets(name)}")
    try:
        return resources.files(entry.module).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    except Exception as error:  # a package can raise anything while it is imported
        raise ConfigError(
            f"{package_of(entry)}: its preset {name!r} cannot be read: {type(error).__name__}: {error}"
        ) from error


def has_comments(where: str) -> bool:
    """Whether the YAML of a preset, or of a file that was read before, has comments; an object has none."""
    if where in preset_names():
        return comments_in(preset_text(where))
    path = Path(where)
    return path.is_file() and comments_in(path.read_text(encoding="utf-8"))
