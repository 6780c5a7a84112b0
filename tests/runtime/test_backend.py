"""The ``onnx.backend`` interface, and a part of ONNX's official suite run through it."""

import unittest

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import numpy_helper

from lhc.errors import DataError, UsageError
from lhc.runtime import backend

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 3] a, float[N, 2] b) => (float[N, 2] y, float[N, 2] z) {
  [product] p = MatMul (a, w)
  y = Add (p, b)
  z = Relu (y)
}"""
INCLUDED = (
    r"^test_(conv(?!integer)|gemm|matmul(?!integer)|relu|sigmoid|softmax_axis_\d|add|reshape|transpose|gather|maxpool_2d|averagepool_2d)"
    r"[a-z0-9_]*_cpu$"
)


def model() -> onnx.ModelProto:
    proto = onnx.parser.parse_model(TEXT)
    weights = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    return proto


A, B = np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32)


def test_prepare_and_run() -> None:
    rep = backend.prepare(model())
    assert rep.session.analog == frozenset()
    outputs = rep.run([A, B])
    assert outputs._fields == ("y", "z")  # type: ignore[attr-defined]  # a named tuple
    np.testing.assert_array_equal(outputs[0], backend.run_model(model(), {"a": A, "b": B})[0])


@pytest.mark.analog
def test_options_are_those_of_the_session() -> None:
    digital = backend.run_model(model(), [A, B])
    perfect = backend.run_model(model(), [A, B], hardware="ideal", placement="all-analog")
    noisy = backend.run_model(model(), [A, B], placement="all-analog", seed=3)
    np.testing.assert_allclose(perfect[0], digital[0], rtol=1e-5)
    assert not np.allclose(noisy[0], digital[0], rtol=1e-3)


def test_what_cannot_be_done() -> None:
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA:1")
    with pytest.raises(UsageError, match="this backend computes on the CPU"):
        backend.prepare(model(), "CUDA")
    with pytest.raises(UsageError, match="3 inputs given, the model has 2: a, b"):
        backend.run_model(model(), [A, B, B])
    with pytest.raises(DataError, match="feeds are"):
        backend.run_model(model(), [A])
    assert backend.is_compatible(model())
    assert not backend.is_compatible(model(), placement=["nothing"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the suite itself, when it makes its cases
def test_a_part_of_the_official_suite() -> None:
    runner = onnx.backend.test.BackendTest(backend.HybridBackend, "lhc_official")
    runner.include(INCLUDED)
    result = unittest.TestResult()
    suite = unittest.TestSuite(
        unittest.defaultTestLoader.loadTestsFromTestCase(case) for case in runner.test_cases.values()
    )
    suite.run(result)
    assert not [str(test) for test, _ in (*result.failures, *result.errors)]
    assert result.testsRun - len(result.skipped) >= 60
