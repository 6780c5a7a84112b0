"""What rounding programmed weights to 16 bits does to a network's answers: the engines fast and fast16 side by side.

All layers analog, healed as by default, on chips that are the same for both engines, with the same noise. Beside it,
how many answers change from one chip to the next. Times are processor seconds of both.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/fast16.py [--images 10000] [--chips 10]``
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.timing import options, write
from lhc.measure import Running
from lhc.measure.measurement import SampleScores
from lhc.options.commands import RunOptions
from lhc.options.subjects import Engine
from lhc.samples.metrics import Array
from lhc.study.prepare import read_placed

__all__ = ["main"]

ENGINES: tuple[Engine, ...] = ("fast", "fast16")


def scored(model: str, images: int, chips: int) -> dict[Engine, tuple[Array, float]]:
    """Right answers, ``(chips, images)``, and seconds, by engine."""
    found: dict[Engine, tuple[Array, float]] = {}
    for engine in ENGINES:
        asked = RunOptions(model, all_analog=True, samples=images, engine=engine, draws=chips)
        study, analog, (t_s, *_) = read_placed(asked, Running(), None)
        bench = replace(study.bench(study.task), draws=chips)
        bench.evaluate(analog, chips=range(1))  # compiles
        begun = time.process_time()
        measured = replace(bench, running=Running()).measure(analog, range(chips), t_s=t_s)
        assert isinstance(measured, SampleScores)
        found[engine] = measured.scores, time.process_time() - begun
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__
    parser = options(__doc__, count=10000)
    parser.add_argument("--chips", type=int, default=10)
    parser.add_argument("--models", nargs="+", default=["digits", "resnet20"])
    chosen = parser.parse_args(arguments)
    results = {}
    for model in chosen.models:
        (fast, spent), (fast16, shorter) = scored(model, chosen.images, chosen.chips).values()
        difference = fast16 - fast
        by_chip = difference.mean(1)
        error = by_chip.std(ddof=1) / np.sqrt(len(by_chip))
        between = float((fast[1:] != fast[:-1]).mean())
        print(
            f"{model}, {fast.shape[1]} images, {len(fast)} chips: accuracy {fast.mean():.4%} and {fast16.mean():.4%},"
            f" difference {by_chip.mean():+.4%} ± {error:.4%} (standard error over chips, at most"
            f" {np.abs(by_chip).max():.3%} on one); {(difference != 0).mean():.3%} of the answers became right or"
            f" wrong, {between:.2%} do from chip to chip; {spent:.1f} s and {shorter:.1f} s"
        )
        results[model] = {
            "difference": by_chip.tolist(),
            "changed": float((difference != 0).mean()),
            "seconds": [spent, shorter],
        }
    write(chosen.output, results)


if __name__ == "__main__":
    main()
