"""How often the upper end of an interval for other chips and samples lies below the true drop, in simulated runs.

    PYTHONPATH=. python benchmarks/other_samples.py [--runs 1000]

64 kinds of runs: 100 to 2,000 samples, a drop of 0.3 to 3 points of the accuracy, 2 to 20 chips. A sample changes on
a chip with a chance of its own (`tests/stats/simulated_answers.py`). Intervals are lhc's, at 90 %, so each end may err
in 5 %. Drops of chips are all alike but for chance, or differ by about a quarter of the drop, or by most of it.
"""

import argparse
from collections.abc import Iterator
from itertools import product

import numpy as np

from lhc.stats import over_draws_and_samples
from tests.simulated_answers import Kind

SAMPLES, DROPS, DRAWS = (100, 330, 1000, 2000), (0.003, 0.01, 0.02, 0.03), (2, 5, 10, 20)
APART = {"alike": 0.0, "by a quarter": 0.1, "by most of it": 0.3}
"""Deviation of what decides whether a sample changes, over chips."""


def kinds(apart: float) -> Iterator[Kind]:
    """All numbers of samples and chips, and drops."""
    for samples, drop, draws in product(SAMPLES, DROPS, DRAWS):
        yield Kind(f"{samples} samples, {100 * drop:g} points, {draws} chips", samples, drop, apart=apart, draws=draws)


def too_low(kind: Kind, runs: int) -> float:
    """Share of runs whose upper end lies below the drop."""
    rng = np.random.default_rng(0)
    found = (over_draws_and_samples(kind.damage(rng), share=True) for _ in range(runs))
    return float(np.mean([interval is not None and interval[1] < kind.drop for interval in found]))


def spread(kind: Kind) -> float:
    """Deviation of the drops of many chips on many samples, as a share of the drop."""
    chips = Kind("", 20_000, kind.drop, apart=kind.apart, draws=200).damage(np.random.default_rng(1)).mean(axis=1)
    return float(chips.std() / kind.drop)


def main() -> None:
    """Print the worst of all kinds, and how much chips differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="of each kind")
    runs = parser.parse_args().runs
    for name, apart in APART.items():
        found = {kind.id: too_low(kind, runs) for kind in kinds(apart)}
        worst, middle = max(found, key=lambda one: found[one]), float(np.median(list(found.values())))
        deviations = [spread(Kind("", 1, drop, apart=apart)) for drop in (DROPS[0], DROPS[-1])]
        print(
            f"chips {name} (they differ by {deviations[1]:.2f} to {deviations[0]:.2f} of the drop): too low in at most"
            f" {100 * found[worst]:.1f} % of the runs ({worst}); in the median kind in {100 * middle:.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
