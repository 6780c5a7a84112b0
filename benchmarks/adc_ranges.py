"""Networks, all analog, with ADCs calibrated for every layer or for every column, by their bits.

    LHC_DATA=... python benchmarks/adc_ranges.py -o adcs.json [resnet20 --samples 500]

Perfect devices; weights, inputs of 8 bits and no noise of ADCs, as in CrossSim's configuration of ResNet20. Nothing is
drawn: one chip is all chips, and differences are those of the ranges on these samples.
"""

import argparse
import json
from pathlib import Path

import lhc
from lhc.hardware import Hardware, Mapping
from lhc.support.files import write_file

BITS = (8, 7, 6, 5, 4)
RANGES = ("layer", "column")


def machine(bits: int, ranges: str) -> Hardware:
    """The machine with ADCs of so many bits."""
    base = Hardware.load("static-range")
    adc = base.adc.model_copy(update={"bits": bits, "noise": 0.0, "range": ranges})
    update = {"adc": adc, "devices": None, "mapping": Mapping(cell_bits=7), "tiles": base.tiles}
    return base.with_drift_compensation_alone().model_copy(update=update)


def main() -> None:
    """Measure what is missing, saving after every machine, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="resnet20")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=500)
    given = parser.parse_args()
    found: dict[str, float] = json.loads(given.out.read_text()) if given.out.exists() else {}
    for metric in ("accuracy", "kl"):
        for bits in BITS:
            for ranges in RANGES:
                key = "|".join(map(str, (given.network, given.samples, metric, bits, ranges)))
                if key not in found:
                    measured = lhc.run(
                        given.network,
                        all_analog=True,
                        hardware=machine(bits, ranges),
                        samples=given.samples,
                        metric=metric,
                        draws=1,
                    )
                    found[key] = float(measured[0].drop)
                    write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
                print(metric, bits, ranges, round(found[key], 5), flush=True)


if __name__ == "__main__":
    main()
