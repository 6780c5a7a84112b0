"""Presets: YAML files that ship with lhc."""

from importlib import resources

from lhc.errors import UsageError

__all__ = ["preset_names", "preset_text"]


def preset_names() -> tuple[str, ...]:
    """Names of the presets that ship with lhc."""
    files = resources.files("lhc").joinpath("presets").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def preset_text(name: str) -> str:
    """The YAML of a preset, with its comments.

    Raises:
        UsageError: no such preset.
    """
    if name not in preset_names():
        raise UsageError(f"unknown hardware {name!r}; presets: {', '.join(preset_names())}")
    return resources.files("lhc").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
