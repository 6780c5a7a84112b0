"""What `HybridSession` adds to onnxruntime where every layer is digital.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_all_digital.py``
"""

from collections.abc import Sequence

from benchmarks.timing import best_in_turn, images, options, plain_session, resnet20, run_batches, write
from lhc.runtime import HybridSession

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Time both in turn."""
    assert __doc__
    chosen = options(__doc__, count=500, repeats=15).parse_args(arguments)
    x = images(chosen.images)
    model, _ = resnet20()
    plain, hybrid = plain_session(model), HybridSession(model)
    figures = {}
    for batch in (1, 10, 50):
        some = x[: max(50, len(x) * batch // 50)]
        peer, ours = best_in_turn(
            [lambda s=s, b=batch, some=some: run_batches(s, some, b) for s in (plain, hybrid)], chosen.repeats
        )
        figures[f"batch {batch}"] = {"onnxruntime": peer, "lhc": ours, "ratio": ours.cpu_s / peer.cpu_s}
        print(
            f"batch {batch:3}, {len(some)} images: onnxruntime {peer}; lhc {ours}; ratio {ours.cpu_s / peer.cpu_s:.3f}"
        )
    write(chosen.output, figures)


if __name__ == "__main__":
    main()
