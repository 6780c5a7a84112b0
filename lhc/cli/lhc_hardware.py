"""``lhc hardware``: the presets, and descriptions as YAML."""

from typing import ClassVar

import typer

from lhc.cli.build import terminal_command
from lhc.options.declare import argument, options

__all__ = ["command"]


@options
class HardwareOptions:
    """Of ``lhc hardware``."""

    PANEL: ClassVar[str] = "Machine"

    name: str | None = argument("Preset name or YAML file.", kw_only=False, default=None, metavar="NAME")


def hardware(asked: HardwareOptions) -> None:
    """List the hardware presets, or print one as YAML. Start your own from it."""
    from lhc.hardware import Hardware, preset_names, preset_text

    if asked.name is None:
        for preset in preset_names():
            typer.echo(f"{preset}: {Hardware.load(preset).description}")
    elif asked.name in preset_names():
        typer.echo(preset_text(asked.name), nl=False)
    else:
        typer.echo(Hardware.load(asked.name).to_yaml(), nl=False)


command = terminal_command("hardware", hardware, HardwareOptions)
