"""How often a placement is accepted by four tests of its mean drop over chips, and how many chips they take.

    python benchmarks/tests_on_chips.py [--runs 2000] [--deviation 0.3]

Chips are numbers: normal; Student's with 3 degrees of freedom; or one in twenty of them fails badly, by eight times the
budget at a mean drop of the budget. Drops are in budgets. Tests: Student's at ten chips; the looks of lhc
(docs/statistics.md); an anytime-valid t (Wang and Ramdas 2025); bets on a drop between -1 and 1 (Waudby-Smith and
Ramdas 2024).
"""

import argparse
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from scipy import stats

from lhc.stats import hopeless, look_errors, look_schedule

Floats = npt.NDArray[np.float64]
ERROR, LEAST, MOST = 0.05, 10, 100
LOOKS = look_schedule(LEAST, MOST)
POINTS = 0.01
"""What one budget is of the range of a drop, for bets."""
_PRIOR = 0.1
"""Variance of the standardised drop that the anytime-valid t-test looks for."""


def drawn(kind: str, mean: float, deviation: float, runs: int, rng: np.random.Generator) -> Floats:
    """Drops of chips, ``(runs, MOST)``."""
    shape = (runs, MOST)
    if kind == "t3":
        return mean + deviation * rng.standard_t(3, shape) / 3**0.5
    normal = deviation * rng.standard_normal(shape)
    if kind == "normal":
        return mean + normal
    failing = np.where(rng.random(shape) < 0.05, 8 * mean, 0.0)
    return 0.6 * mean + normal + failing


def once(drops: Floats) -> tuple[bool, int]:
    """Student's bound after ten chips."""
    seen = drops[:LEAST]
    half = stats.t.isf(ERROR, LEAST - 1) * seen.std(ddof=1) / LEAST**0.5
    return bool(seen.mean() + half <= 1), LEAST


def in_looks(drops: Floats) -> tuple[bool, int]:
    """What lhc does."""
    errors = look_errors(LOOKS, ERROR)
    for look, error in zip(LOOKS, errors, strict=True):
        mean, deviation = float(drops[:look].mean()), float(drops[:look].std(ddof=1))
        if mean + stats.t.isf(error, look - 1) * deviation / look**0.5 <= 1:
            return True, look
        if hopeless(mean, deviation, 1.0, LOOKS, look, errors[-1]):
            return False, look
    return False, MOST


def at_any_time(drops: Floats) -> tuple[bool, int]:
    """The t-test by a mixture of effects that does not depend on the scale (Wang and Ramdas, 2025), after any chip."""
    n = np.arange(1, MOST + 1)
    means = np.cumsum(drops) / n
    squares = np.maximum(np.cumsum(drops**2) - n * means**2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = n * (means - 1) ** 2 / squares  # t² / (n - 1)
        wide = 1 + n * _PRIOR
        evidence = -np.log(wide) / 2 + n / 2 * (np.log1p(ratio) - np.log1p(ratio / wide))
    found = np.flatnonzero((evidence >= -np.log(2 * ERROR)) & (means < 1) & (n >= LEAST))
    return (True, int(n[found[0]])) if len(found) else (False, MOST)


def by_bets(drops: Floats) -> tuple[bool, int]:
    """Betting on drops between -1 and 1 (Waudby-Smith and Ramdas, 2024, predictable plug-in)."""
    x, limit = POINTS * drops, POINTS
    n = np.arange(1, MOST + 1)
    means = (np.cumsum(x)) / (n + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2)) / (n + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    stakes = np.minimum(np.sqrt(2 * np.log(1 / ERROR) / (before * n * np.log1p(n))), 0.75 / (1 - limit))
    found = np.flatnonzero(np.cumsum(np.log1p(stakes * (limit - x))) >= -np.log(ERROR))
    return (True, int(n[found[0]])) if len(found) else (False, MOST)


TESTS: Mapping[str, Callable[[Floats], tuple[bool, int]]] = {
    "Student's, 10 chips": once,
    "looks (lhc)": in_looks,
    "anytime-valid t": at_any_time,
    "bets": by_bets,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--deviation", type=float, default=0.3)
    asked = parser.parse_args()
    truths = (1.0, 0.9, 0.8, 0.5, 1.3)
    print("| chips | test |" + "".join(f" {truth:g} |" for truth in truths))
    print("|---|---|" + "---:|" * len(truths))
    for kind in ("normal", "t3", "one in twenty fails"):
        for name, test in TESTS.items():
            cells = []
            for truth in truths:
                runs = drawn(kind, truth, asked.deviation, asked.runs, np.random.default_rng(0))
                found = [test(run) for run in runs]
                cells.append(f"{100 * np.mean([a for a, _ in found]):.1f} % ({np.mean([n for _, n in found]):.0f})")
            print(f"| {kind} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
