"""``lhc hardware``: the presets, and descriptions as YAML."""

from pathlib import Path
from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import hint, say
from lhc.errors import UsageError
from lhc.options.declare import argument, option, options


@options
class HardwareOptions:
    """Of ``lhc hardware``."""

    PANEL: ClassVar[str] = "Machine"

    name: str | None = argument("Preset name or YAML file.", kw_only=False, default=None, metavar="NAME")
    measured: Path | None = option(
        "Devices as measured: a CSV with target_us, time_s, conductance_us, device (and chip); all else is NAME's.",
        default=None,
        metavar="FILE.csv",
    )
    fusion_targets: Path | None = option(
        "With --measured: both are aihwkit's CSVs for the Fusion chip, this one with the targets.",
        default=None,
        metavar="FILE.csv",
        rare=True,
    )
    fault_map: Path | None = option(
        "Stuck cells of one chip, as its test found them: a CSV with tile, row, column, side, stuck; NAME is the rest.",
        default=None,
        metavar="FILE.csv",
    )


def hardware(asked: HardwareOptions) -> None:
    """List the hardware presets, or print one as YAML, with devices of your own if asked. Start your own from it."""
    from lhc.hardware import Hardware, preset_names, preset_text

    if asked.fusion_targets is not None and asked.measured is None:
        raise UsageError("--fusion-targets are the targets of what --measured holds: give both")
    if asked.measured is not None or asked.fault_map is not None:
        machine = Hardware.load(asked.name or "lionheart")
        if asked.measured is not None:
            from lhc.hardware.measurements import with_measured_devices

            machine, devices = with_measured_devices(machine, asked.measured, asked.fusion_targets)
            hint(str(devices))
        if asked.fault_map is not None:
            from lhc.hardware.fault_map import with_fault_map

            machine, stuck = with_fault_map(machine, asked.fault_map)
            hint(stuck)
        say(machine.to_yaml(), end="")
    elif asked.name is None:
        for preset in preset_names():
            say(f"{preset}: {Hardware.load(preset).description}")
    elif asked.name in preset_names():
        say(preset_text(asked.name), end="")
    else:
        say(Hardware.load(asked.name).to_yaml(), end="")


command = terminal_command("hardware", hardware, HardwareOptions)
