"""A machine by name or file."""

from pathlib import Path

from lhc.hardware import Hardware


def hardware(name: str | Path = "lionheart") -> Hardware:
    """The machine that a preset, a YAML file, or ``module:name`` of an aihwkit configuration describes.

    Raises:
        UsageError: none of these.
        ConfigError: the description cannot be read; the message names the field.
    """
    return Hardware.load(name)
