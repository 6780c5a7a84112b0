"""What number formats of the digital side take, without any tile: drop, and energy of a sample, by format.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/digital_precision.py``
"""

import argparse
from collections.abc import Sequence

import lhc
from lhc.hardware import DigitalCores, Hardware
from lhc.support.number_formatting import drop_text

__all__ = ["main"]

FORMATS = ("fp32", "bf16", "fp16", "int8")
NETWORKS = ("digits", "resnet20", "resnet8", "minilm")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--formats", nargs="+", default=FORMATS)
    parser.add_argument("--samples", type=int, default=2000)
    chosen = parser.parse_args(arguments)
    for name in chosen.networks:
        for precision in chosen.formats:
            machine = Hardware.load("lionheart").model_copy(update={"digital": DigitalCores(precision=precision)})
            found = lhc.run(name, placement=(), hardware=machine, samples=chosen.samples, draws=1)
            result = found[0]
            graph = lhc.analyze(name, hardware=machine)
            cost = graph.cost(frozenset())
            energy = "" if cost is None else f"{1e6 * cost.energy_j:.0f} µJ"
            print(
                f"{name} {precision}: {result.metric} {result.baseline:.4f},"
                f" drop {drop_text(result.drop, result.percent, 'absolute')}, {result.samples} samples, {energy}",
                flush=True,
            )


if __name__ == "__main__":
    main()
