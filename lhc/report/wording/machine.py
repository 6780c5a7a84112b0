"""A machine in words: its cells, its converters, the faults of its chips."""

from lhc.hardware import AihwkitDevices, Hardware
from lhc.hardware.devices.device_model import PairedDevices
from lhc.support.number_formatting import count, counted, share_text

__all__ = ["cells_text", "converters_text", "faults_text"]


def cells_text(machine: Hardware) -> str:
    """What holds a weight, where that is more than one pair of devices; nothing elsewhere."""
    devices, mapping = machine.devices, machine.mapping
    found = []
    if isinstance(devices, AihwkitDevices):
        found.append(f"aihwkit noise model {devices.noise_model}")
    if isinstance(devices, PairedDevices):
        if devices.pair == "reference-column":
            found.append("one device a weight and a reference column a tile")
        elif devices.pair == "digital-offset":
            found.append("one device a weight, whose offset is subtracted digitally")
        elif devices.pairs_per_weight > 1 or devices.pair == "two-sided":
            found.append(f"{counted(devices.pairs_per_weight, f'{devices.pair} pair')} of devices a weight")
    if mapping.cell_bits is not None:
        found.append(f"{counted(mapping.cell_bits, 'bit')} a cell, {counted(mapping.slices, 'slice')} a weight")
    return ", ".join(found)


def converters_text(machine: Hardware) -> str:
    """Resolution of both converters, and what is unlike an ideal ADC for all layers."""
    dac, adc = machine.dac, machine.adc
    bits = ["not quantised" if one.bits is None else f"{one.bits} bit" for one in (dac, adc)]
    found = [f"DAC {bits[0]}", f"ADC {bits[1]}"]
    if dac.slice_bits is not None:
        found[0] += f" driven {counted(dac.slice_bits, 'bit')} at a time"
    if dac.code != "sign-magnitude":
        found[0] += " in two's complement" if dac.code == "twos-complement" else " without signs"
        found[0] += ", or without signs" if dac.to_calibrate else ""
    if adc.polarity == "unipolar":
        found[1] += " from 0"
    if not adc.zero_skipping:
        found.append("zeros are read")
    if adc.kind != "ideal":
        found[1] += f" ({adc.kind}, capacitors mismatched by {share_text(adc.capacitor_mismatch)})"
    if adc.columns_per_adc > 1:
        found.append(f"one ADC for {adc.columns_per_adc} columns")
    if adc.sensing == "voltage":
        found.append("voltages are sensed")
    if adc.range != "fixed":
        found.append(f"range of the ADC: {adc.range}")
    return ", ".join(found)


def faults_text(machine: Hardware) -> str:
    """What chips have of them, by the names of the description; nothing where they have none."""
    faults = machine.faults
    found = [
        f"{name.replace('_', ' ')} {value:g}"
        for name, value in faults
        if isinstance(value, float) and name != "found" and value > 0
    ]
    if faults.map is not None:
        found.append(
            f"{count(sum(machine.stuck_by_tile))} stuck cells of one chip's map: every programming is one of that chip"
        )
    if faults.tile_noise is not None:
        found.append(f"tile noise {min(faults.tile_noise):g} to {max(faults.tile_noise):g}")
    if found and faults.remap and faults.any:
        found.append(f"weights mapped around {share_text(faults.found, 0)} of the stuck cells")
    if faults.differ:
        by = {"sensitivity": "the least sensitive layers lie on the worst tiles", "file": "layers in the file's order"}
        found.append(f"tiles: {by.get(machine.arranged_by or '', 'as the description gives them to layers')}")
    return ", ".join(found)
