"""A small network and its samples as files."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from lhc.hardware import Hardware
from tests.networks import drawn, parsed

SMALL = """<ir_version: 8, opset_import: ["" : 17]>
small (float[N, 2, 6, 6] image) => (float[N, 4] logits) {
  [stem] c = Conv <pads = [1, 1, 1, 1]> (image, w, b)
  [act] r = Relu (c)
  [pool] p = GlobalAveragePool (r)
  [flat] f = Flatten (p)
  [hidden] h = MatMul (f, u)
  [head] logits = Gemm (h, v, a)
}"""


def small_model() -> onnx.ModelProto:
    return parsed(SMALL, drawn({"w": (8, 2, 3, 3), "b": (8,), "u": (8, 6), "v": (6, 4), "a": (4,)}))


def small_data(samples: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "image": rng.normal(size=(samples, 2, 6, 6)).astype(np.float32),
        "labels": rng.integers(0, 4, samples),
    }


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.onnx"
    onnx.save_model(small_model(), str(path))
    return path


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, **small_data())  # type: ignore[arg-type]
    return path


@pytest.fixture
def bare_machine(tmp_path: Path) -> Path:
    """Hardware without copies and calibration, for what is about neither."""
    path = tmp_path / "bare.yaml"
    path.write_text(Hardware.load("lionheart").with_drift_compensation_alone().to_yaml(), encoding="utf-8")
    return path
