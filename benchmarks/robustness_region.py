"""Is the verdict of a feasible region right? Machines drawn at random in its range, each measured on fresh chips.

    python benchmarks/robustness_region.py digits
    LHC_DATA=... python benchmarks/robustness_region.py resnet20 --samples 500 --draws 5 --chips 10

A network is placed with all layers analog that can be. The region is found as `lhc robustness --vary` finds it. Then
machines are drawn (equal ratios of the noise, whole bits) and measured on the same samples and on chips that the region
has not seen. A claim is right where the mean drop over these chips lies on its side of the budget; "not shown" claims
nothing. Evaluations are counted against the 81 of a full grid of 9 x 9.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import lhc
from lhc.commands.feasible_region import on_machines
from lhc.hardware import Hardware
from lhc.options.by_command import RegionOptions
from lhc.pipeline.inputs.varied_fields import with_values
from lhc.results import FeasibleRegion

FULL_GRID = 81
PAIRS = (
    ("devices.programming_noise_scale=0.5..4", "adc.bits=4..8"),
    ("devices.programming_noise_scale=0.5..8", "adc.noise=0.02..0.64"),
)


def drawn(region: FeasibleRegion, count: int, seed: int) -> list[tuple[float, ...]]:
    """Values of machines at random within the ranges of a region."""
    rng, columns = np.random.default_rng(seed), []
    for field in region.fields:
        low, high = field.values[0], field.values[-1]
        if field.path.endswith("bits"):
            columns.append(rng.integers(int(low), int(high) + 1, count).astype(float).tolist())
        else:
            columns.append(np.exp(rng.uniform(np.log(low), np.log(high), count)).tolist())
    return list(zip(*columns, strict=True))


def checked(options: RegionOptions, machines: int, chips: int) -> None:
    """Find a region, and print how its verdicts compare with fresh chips."""
    began = time.perf_counter()
    region = lhc.feasible_region.of(options)
    print(region.table())
    print(region.summary)
    print(f"{len(region.points)} evaluations, {len(region.points) / FULL_GRID:.1%} of {FULL_GRID}")
    print(f"{time.perf_counter() - began:.0f} s")
    first = region.example
    values = drawn(region, machines, 1)
    base = Hardware.load("lionheart")
    fresh = replace(options, seed=first.seed + 1000, draws=chips)
    found = on_machines(fresh, (with_values(base, region.fields, at) for at in values))
    counts: dict[tuple[str, str], int] = {}
    for at, one in zip(values, found, strict=True):
        claim, held = region.verdict(*at), "holds" if one.drop <= region.max_drop else "breaks"
        counts[claim, held] = counts.get((claim, held), 0) + 1
        if (claim, held) in (("shown", "breaks"), ("broken", "holds")):
            print(f"wrong: {at}: {claim}, mean drop {one.drop:.4f}, interval {one.drop_interval}")
    for claim in ("shown", "broken", "not shown"):
        hold, fail = (counts.get((claim, held), 0) for held in ("holds", "breaks"))
        print(f"{claim}: {hold + fail} machines, of which {hold} hold the budget on {chips} fresh chips")
    print(f"{time.perf_counter() - began:.0f} s in all", flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="digits")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--draws", type=int, default=10, help="chips of the region")
    parser.add_argument("--chips", type=int, default=40, help="fresh chips of a machine")
    parser.add_argument("--machines", type=int, default=50)
    parser.add_argument("--max-drop", default="2%")
    parser.add_argument(
        "--pairs", type=int, default=len(PAIRS), help="pairs of fields that are varied, one after the other"
    )
    parser.add_argument("--work-dir", type=Path, help="keeps what was measured, so that a second run goes on")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        placed = Path(folder) / "placed.lhc.onnx"
        kept = asked.work_dir or Path(folder)
        result = lhc.partition(
            asked.network,
            work_dir=kept,
            samples=asked.samples,
            draws=asked.draws,
            strategy="all-analog",
            objective="macs",
            max_drop=asked.max_drop,
            explain=False,
        )
        print(result.summary, flush=True)
        result.save(placed)
        for pair in PAIRS[: asked.pairs]:
            options = RegionOptions(
                str(placed),
                data=asked.network,
                samples=asked.samples,
                draws=asked.draws,
                confidence=0.9,
                vary=pair,
                work_dir=kept,
            )
            checked(options, asked.machines, asked.chips)


if __name__ == "__main__":
    main()
