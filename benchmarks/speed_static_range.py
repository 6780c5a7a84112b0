"""ResNet20 wholly analog on tiles with static input ranges, noise on, against onnxruntime without any noise.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_static_range.py``
"""

from collections.abc import Sequence

import lhc
from benchmarks.timing import best_in_turn, images, options, plain_session, resnet20, run_batches, write

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Calibrate, then time both in turn."""
    assert __doc__
    chosen = options(__doc__, count=192).parse_args(arguments)
    x = images(chosen.images)
    model, _ = resnet20()
    result = lhc.partition(
        "resnet20", hardware="static-range", strategy="all-analog", samples=100, draws=2, max_drop="100%"
    )
    plain, hybrid = plain_session(model), result.session()
    digital, ours = best_in_turn(
        [lambda: run_batches(plain, x, 64), lambda: run_batches(hybrid, x, 64)], chosen.repeats
    )
    slower = ours.cpu_s / digital.cpu_s
    print(f"onnxruntime, digital: {digital}")
    print(f"lhc, {len(result.plan.analog)} layers analog, static ranges: {ours}")
    print(f"{len(x)} images: lhc takes {slower:.2f} times as long as digital")
    write(chosen.output, {"digital": digital, "lhc": ours, "slower": slower})


if __name__ == "__main__":
    main()
