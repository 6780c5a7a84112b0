"""How often a command with training ends with fewer layers on tiles than one without, in simulated runs.

    PYTHONPATH=. python benchmarks/training_tests.py [--runs 200]

Layers do known damage, and training leaves a known share of it (`tests/pipeline/training/simulated_training.py`).
Search and tests are lhc's; the weights as given and the trained ones are tested within one chance of error
(docs/retraining.md). First 12 and 24 layers, on chips that spread by 0.3 and 0.8 budgets, with five truths about
training, then networks whose layers were measured, with twice as many runs.
"""

import argparse
from collections.abc import Sequence

from tests.pipeline.known_drops import BUDGET
from tests.pipeline.training.simulated_training import MEASURED, TRUTHS, damages_of, outcomes

LAYERS, SPREADS = (12, 24), (0.3, 0.8)


def _counts(found: Sequence[tuple[int, int, bool]]) -> tuple[int, int, int]:
    """Runs that end lower with training, the most layers that one ends lower, and runs that end over the budget."""
    lost = [alone - trained for alone, trained, _ in found]
    return sum(one > 0 for one in lost), max(0, *lost), sum(not holds for *_, holds in found)


def _told(what: str, found: Sequence[tuple[int, int, bool]]) -> None:
    lower, most, over = _counts(found)
    print(
        f"{what}: {lower} of {len(found)} runs ({100 * lower / len(found):.1f} %) end lower, by at most {most} layers;"
        f" {over} over the budget",
        flush=True,
    )


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="of each of the twenty settings")
    runs = parser.parse_args().runs
    every: list[tuple[int, int, bool]] = []
    for layers in LAYERS:
        for spread in SPREADS:
            for truth, (share, base) in TRUTHS.items():
                found = outcomes(damages_of(layers), share, base * BUDGET, runs, spread)
                _told(f"{layers} layers, {spread:g} budgets, training {truth}", found)
                every += found
    _told("all of these", every)
    for name, measured in MEASURED.items():
        _told(name, outcomes(measured.damages, measured.share, 0.0, 2 * runs))


if __name__ == "__main__":
    main()
