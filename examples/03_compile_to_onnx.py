"""One chip as an ordinary ONNX file: runs in stock onnxruntime, without lhc.

A few seconds. The file holds the programmed weights of one chip, a day after programming.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

import lhc
from lhc.models import zoo_entry


def main() -> None:
    """Compile without output noise, and compare with the same chip emulated."""
    images = np.asarray(zoo_entry("digits").task().inputs["x"][:200])
    with TemporaryDirectory() as folder:
        path = lhc.compile("digits", all_analog=True, seed=3, noise="off").save(Path(folder) / "digits.sim.onnx")
        compiled = onnxruntime.InferenceSession(str(path)).run(None, {"x": images})[0]
        print(f"{path.name}: {path.stat().st_size // 1024} kB")
    network = zoo_entry("digits").model()
    noisy = lhc.HybridSession(network, placement="all-analog", seed=3).run(None, {"x": images})[0]
    same = (compiled.argmax(axis=1) == noisy.argmax(axis=1)).mean()
    print(f"same class as the emulated chip with its output noise: {same:.1%} of the images")


if __name__ == "__main__":
    main()
