"""Wording of a machine: cells, converters, faults, and what a sample costs on it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lhc.hardware import AihwkitDevices, Hardware
from lhc.hardware.devices.unit_cell import PairedDevices
from lhc.plan import Plan
from lhc.plan.summary import rate_text
from lhc.support.number_formatting import amount, count, counted, share_text

if TYPE_CHECKING:
    from lhc.costs import SystemCost
    from lhc.report.document.report import CostItem, Costs

if TYPE_CHECKING:  # it loads scipy, which what only shows a file does without
    from lhc.costs import SystemFigures, Throughput


def all_digital(plan: Plan) -> str:
    """The network without tiles, by the number formats that its products are priced in."""
    precision = plan.hardware.digital.precision
    if precision == "as-file" or (plan.digital is None and plan.outcome is not None):
        return "all digital in the file's format"
    return f"all digital in {precision if plan.digital is None else plan.digital.text + plan.digital.as_file_text}"


def cells_text(machine: Hardware) -> str:
    """Devices and cells of a weight, where these are more than one pair; empty elsewhere."""
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
    """Faults of chips, by the names of the description; empty where they have none."""
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


def amounts(cost: "SystemCost | CostItem") -> str:
    """Latency and energy of a sample: ``1.2 ms and 34 µJ a sample``."""
    return f"{amount(cost.latency_s, 's')} and {amount(cost.energy_j, 'J')} a sample"


def times_of_digital(costs: "Costs") -> tuple[str, str]:
    """Latency and energy beside those of the all-digital network: ``1.8 times faster``, ``2 times less energy``."""
    from lhc.costs import compared

    whole, digital = costs.total, costs.all_digital
    return (
        compared(digital.latency_s, whole.latency_s, "faster", "slower", "no faster"),
        compared(digital.energy_j, whole.energy_j, "less energy", "more energy", "no less energy"),
    )


def system_lines(figures: "SystemFigures", plan: Plan) -> Iterator[str]:
    """Throughput, replicas, peak power and area, a line each."""
    found, area = figures.throughput, figures.area
    yield f"estimated throughput {rate_text(found)}, {_rhythm(found, plan)}"
    if found.replicas:
        most = max(found.replicas, key=lambda name: found.replicas[name])
        which = f"{found.replicas[most]} of {plan.titles.get(most, most)}"
        if len(found.replicas) > 1:
            which = f"of {counted(len(found.replicas), 'layer')}, at most {which}"
        yield f"replicas that share out the vectors: {which}; {counted(found.tiles, 'tile')} beyond those in use"
    if figures.peak_w is not None:
        yield f"estimated peak power at most {amount(figures.peak_w, 'W')}, idle parts left out"
    if area is not None:
        converters = ""
        if area.converters_mm2 is not None and area.tiles_mm2 > 0:
            converters = f" ({share_text(area.converters_mm2 / area.tiles_mm2, 0)} for converters)"
        missing = f"; not known: {' and '.join(area.missing)}" if area.missing else ""
        yield f"estimated area {area.total:.3g} mm², {counted(area.tiles, 'tile')}{converters}{missing}"


def _rhythm(found: "Throughput", plan: Plan) -> str:
    """Schedule of successive samples, and the slowest stage."""
    if found.schedule == "one after the other":
        return found.schedule
    cores = counted(found.cores, "core")
    how = f"pipelined over {cores}" if found.schedule == "cores" else f"{cores}, links and tiles at work at once"
    names = [plan.titles.get(name, name) for name in found.slowest]
    slowest = f"{names[0]} to {names[-1]}" if len(names) > 1 else "".join(names)
    return f"{how}; slowest: {slowest or f'the {found.unit}'}"
