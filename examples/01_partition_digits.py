"""Partition the network that ships with lhc, run it with its analog noise, and let it age.

Takes about half a minute. Run it from anywhere: ``python 01_partition_digits.py``.
"""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime

import lhc
from lhc.models import zoo_entry

log = logging.getLogger("example")


def main() -> None:
    """Partition, save, run and age."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    result = lhc.partition("digits", samples=400, draws=5)
    log.info("%s\n\n%s\n", result.table(), result.summary)

    task = zoo_entry("digits").task()
    feeds = {"x": task.inputs["x"][:200]}
    labels = task.targets[:200] if task.targets is not None else None
    with TemporaryDirectory() as folder:
        path = result.save(Path(folder) / "digits.lhc.onnx")
        digital = onnxruntime.InferenceSession(str(path)).run(None, feeds)[0]
        chip = lhc.HybridSession(path, seed=7)
        for days in (0, 1, 365):
            chip.drift_to(days * 86400)
            analog = chip.run(None, feeds)[0]
            log.info(
                "after %3d days: accuracy %.1f %% (digital %.1f %%)",
                days,
                100 * (analog.argmax(axis=1) == labels).mean(),
                100 * (digital.argmax(axis=1) == labels).mean(),
            )


if __name__ == "__main__":
    main()
