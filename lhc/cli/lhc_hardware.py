"""``lhc hardware``: the presets, and descriptions as YAML."""

from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import say
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
            say(f"{preset}: {Hardware.load(preset).description}")
    elif asked.name in preset_names():
        say(preset_text(asked.name), end="")
    else:
        say(Hardware.load(asked.name).to_yaml(), end="")


command = terminal_command("hardware", hardware, HardwareOptions)
