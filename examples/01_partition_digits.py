"""Partition the network that ships with lhc, run it with its analog noise, and let it age.

Takes about half a minute. Run it from anywhere: ``python 01_partition_digits.py``.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime

import lhc
from lhc.models import zoo_entry


def main() -> None:
    """Partition, save, run and age."""
    result = lhc.partition("digits-narrow", samples=200, draws=3, max_drop=0.05)
    print(f"{result.table()}\n\n{result.summary}\n")

    task = zoo_entry("digits-narrow").task()
    feeds = {"x": task.inputs["x"][:200]}
    labels = task.targets[:200] if task.targets is not None else None
    with TemporaryDirectory() as folder:
        path = result.save(Path(folder) / "digits.lhc.onnx")
        digital = onnxruntime.InferenceSession(str(path)).run(None, feeds)[0]
        chip = lhc.HybridSession(path, seed=7)
        for days in (0, 1, 365):
            chip.drift_to(days * 86400)
            analog = chip.run(None, feeds)[0]
            accuracy = [(logits.argmax(axis=1) == labels).mean() for logits in (analog, digital)]
            print(f"after {days:3} days: accuracy {accuracy[0]:.1%} (digital {accuracy[1]:.1%})")


if __name__ == "__main__":
    main()
