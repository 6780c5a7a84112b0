"""``lhc hardware``: the presets, and descriptions as YAML."""

from lhc.cli.framework.output import check_file, hint, say, write
from lhc.options.viewing import HardwareOptions


def hardware(asked: HardwareOptions) -> None:
    """List the hardware presets, or print one as YAML, with devices of your own if asked. Start your own from it.

    $ lhc hardware lionheart -o mine.yaml
        a description to change, with the comments of the preset
    $ lhc hardware mine.yaml --measured devices.csv -o measured.yaml
        the same machine with devices as they were measured
    """
    from lhc.hardware import Hardware, preset_names, preset_text

    check_file(asked.out, asked.force)
    if asked.name is None and asked.measured is None:
        for preset in preset_names():
            say(f"{preset}: {Hardware.load(preset).description}")
        return
    as_written = asked.name in preset_names() and asked.measured is None and asked.fault_map is None
    text = preset_text(str(asked.name)) if as_written else _described(asked)
    if asked.out is None:
        say(text, end="")
    else:
        write(asked.out, text)


def _described(asked: HardwareOptions) -> str:
    """A description with all its fields, and the user's devices or stuck cells; it is told what was put in."""
    from lhc.hardware import Hardware, has_comments

    machine = Hardware.load(asked.name or "lionheart")
    if asked.measured is not None:
        from lhc.hardware.devices.measurement_csv import devices_text, with_measured_devices

        base = machine
        machine, devices = with_measured_devices(base, asked.measured, asked.fusion_targets)
        hint(str(devices))
        if told := devices_text(base, machine):
            hint(told)
        if machine.t_inference_s != base.t_inference_s:
            hint(f"t_inference_s is {machine.t_inference_s:g}: no device was measured later")
        for effect in (one for one in base.left_out if one not in machine.left_out):
            hint(f"no longer left out: {effect.name}, which the measured devices have")
    if asked.fault_map is not None:
        from lhc.hardware.circuits.fault_map_csv import with_fault_map

        machine, stuck = with_fault_map(machine, asked.fault_map)
        hint(stuck)
    if machine.absent_noise:
        hint(f"{machine.name} is without {', '.join(machine.absent_noise)}")
    if has_comments(asked.name or "lionheart"):
        hint("comments of the YAML are not carried over; values and sources are")
    return machine.to_yaml()
