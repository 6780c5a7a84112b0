"""Products of every kind in training, alone in a network."""

import numpy as np

from lhc.hardware import Hardware
from lhc.onnx_io import read_graph
from lhc.train.noisy_network import NoisyNetwork
from lhc.train.trained_tensors import Trained, find_trained
from tests.train.conftest import Build

__all__ = ["CASES", "network"]

CASES: dict[str, tuple[str, dict[str, tuple[int, ...]], tuple[int, ...]]] = {
    "conv": (
        "g (float[N, 3, 6, 6] x) => (float[N, 4, 3, 3] y) { y = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w, b) }",
        {"w": (4, 3, 3, 3), "b": (4,)},
        (5, 3, 6, 6),
    ),
    "grouped conv": (
        "g (float[N, 4, 5, 5] x) => (float[N, 6, 3, 3] y) { y = Conv <group = 2> (x, w) }",
        {"w": (6, 2, 3, 3)},
        (5, 4, 5, 5),
    ),
    "conv of one axis": (
        "g (float[N, 3, 9] x) => (float[N, 2, 4] y) { y = Conv <dilations = [2], strides = [1]> (x, w) }",
        {"w": (2, 3, 3)},
        (5, 3, 9),
    ),
    "matmul": ("g (float[N, 4, 6] x) => (float[N, 4, 3] y) { y = MatMul (x, w) }", {"w": (6, 3)}, (5, 4, 6)),
    "weight on the left": (
        "g (float[N, 6, 4] x) => (float[N, 3, 4] y) { y = MatMul (w, x) }",
        {"w": (3, 6)},
        (5, 6, 4),
    ),
    "vector": ("g (float[N, 4, 6] x) => (float[N, 4] y) { y = MatMul (x, w) }", {"w": (6,)}, (5, 4, 6)),
    "gemm": (
        "g (float[N, 6] x) => (float[N, 3] y) { y = Gemm <alpha = 2.0, beta = 0.5, transB = 1> (x, w, b) }",
        {"w": (3, 6), "b": (3,)},
        (5, 6),
    ),
    "gemm with weight on the left": (
        "g (float[N, 6] x) => (float[3, N] y) { y = Gemm <transA = 1, transB = 1> (w, x) }",
        {"w": (6, 3)},
        (5, 6),
    ),
}  # fmt: skip


def network(
    build: Build, case: str, hardware: Hardware, trains: bool = True
) -> tuple[NoisyNetwork, dict[str, np.ndarray]]:
    text, shapes, size = CASES[case]
    rng = np.random.default_rng(1)
    model = build(text, **{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})
    graph = read_graph(model, {"x": size})
    trained = find_trained(model, graph) if trains else Trained({}, {}, {})
    noisy = NoisyNetwork(model, graph, trained, hardware, hardware.t_inference_s)
    noisy.place(layer.name for layer in graph.candidates)
    return noisy, {"x": rng.normal(size=size).astype(np.float32)}
