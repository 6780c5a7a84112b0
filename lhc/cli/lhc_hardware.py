"""``lhc hardware``: the presets, and descriptions as YAML."""

from lhc.cli.output import hint, say
from lhc.options.terminal_options import HardwareOptions


def hardware(asked: HardwareOptions) -> None:
    """List the hardware presets, or print one as YAML, with devices of your own if asked. Start your own from it."""
    from lhc.hardware import Hardware, preset_names, preset_text

    if asked.measured is not None or asked.fault_map is not None:
        machine = Hardware.load(asked.name or "lionheart")
        if asked.measured is not None:
            from lhc.hardware.measurements import with_measured_devices

            base = machine
            machine, devices = with_measured_devices(base, asked.measured, asked.fusion_targets)
            hint(str(devices))
            if machine.t_inference_s != base.t_inference_s:
                hint(f"t_inference_s is {machine.t_inference_s:g}: no device was measured later")
        if asked.fault_map is not None:
            from lhc.hardware.fault_map import with_fault_map

            machine, stuck = with_fault_map(machine, asked.fault_map)
            hint(stuck)
        say(machine.to_yaml(), end="")
    elif asked.name is None:
        for preset in preset_names():
            say(f"{preset}: {Hardware.load(preset).description}")
    else:
        known = asked.name in preset_names()
        say(preset_text(asked.name) if known else Hardware.load(asked.name).to_yaml(), end="")
