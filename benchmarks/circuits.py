"""Networks, all analog, on machines that differ in one circuit.

    LHC_DATA=... python benchmarks/circuits.py cells resnet20 -o circuits.json [--samples 1000 --draws 3]

``cells``: devices a weight, on ``lionheart`` with drift compensation alone, and with all of its compensation.
``sram``: noise of ``sram-asim``, in steps of its ADC.
``adcs``: mismatch of capacitors in ADCs, on perfect devices with ranges of ADCs by layer.
``stuck``: pairs a weight beside stuck cells, half of them low and half high, on ``lionheart`` with drift compensation
alone, without and with weights mapped around them.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import lhc
from lhc.hardware import Faults, Hardware, Pcm
from lhc.support.files import write_file


def cells() -> Mapping[str, Hardware]:
    """Kinds of unit cells."""
    base = Hardware.load("lionheart")
    kinds = {f"{count} pairs": Pcm(pairs_per_weight=count) for count in (1, 2, 4)}
    kinds |= {"two-sided": Pcm(pair="two-sided"), "reference column": Pcm(pair="reference-column")}
    whole = {name: base.model_copy(update={"devices": devices}) for name, devices in kinds.items()}
    return {f"{name}, drift alone": one.with_drift_compensation_alone() for name, one in whole.items()} | whole


def sram() -> Mapping[str, Hardware]:
    """Noise of a charge-based macro."""
    base = Hardware.load("sram-asim")
    noises = (0.0, base.adc.noise, 0.25, 0.5, 1.0)
    return {f"{n} steps": base.model_copy(update={"adc": base.adc.model_copy(update={"noise": n})}) for n in noises}


def adcs() -> Mapping[str, Hardware]:
    """Kinds of ADCs, of 8 bits."""
    base = Hardware.load("static-range").with_drift_compensation_alone()
    kinds: list[tuple[Literal["sar", "ramp"], float]] = [("sar", 0.0)]
    kinds += [("sar", 0.01), ("ramp", 0.01), ("sar", 0.05)]
    found = {}
    for kind, mismatch in kinds:
        changes = {"kind": kind, "capacitor_mismatch": mismatch, "range": "layer", "noise": 0.0}
        adc = base.adc.model_copy(update=changes)
        found[f"{kind} {mismatch}"] = base.model_copy(update={"adc": adc, "devices": None})
    return found


def stuck() -> Mapping[str, Hardware]:
    """Pairs a weight beside stuck cells."""
    base, found = Hardware.load("lionheart").with_drift_compensation_alone(), {}
    for share, remap in (
        (0.0, False),
        (0.01, False),
        (0.05, False),
        (0.1, False),
        (0.01, True),
        (0.05, True),
        (0.1, True),
    ):
        for count in (1, 2, 4):
            faults = Faults(stuck_low=share / 2, stuck_high=share / 2, remap=remap)
            name = f"{count} pairs, {share:.0%} stuck{', remapped' if remap else ''}"
            found[name] = base.model_copy(update={"devices": Pcm(pairs_per_weight=count), "faults": faults})
    return found


SETS = {"cells": cells, "sram": sram, "adcs": adcs, "stuck": stuck}


def main() -> None:
    """Measure what is missing, saving after every machine, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("circuit", choices=SETS)
    parser.add_argument("network", nargs="?", default="resnet20")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, list[float]] = json.loads(given.out.read_text()) if given.out.exists() else {}
    for name, hardware in SETS[given.circuit]().items():
        key = "|".join(map(str, (given.network, given.samples, given.draws, given.circuit, name)))
        if key not in found:
            (one,) = lhc.run(
                given.network, all_analog=True, hardware=hardware, samples=given.samples, draws=given.draws
            )
            found[key] = [one.drop, *(one.drop_interval or ())]
            write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
        print(name, *(round(100 * value, 2) for value in found[key]), flush=True)


if __name__ == "__main__":
    main()
