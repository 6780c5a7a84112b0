"""The whole official ONNX backend suite (kinds node and simple), unchanged: lhc gives the bytes that onnxruntime gives.

`test_backend_nodes` is about the same cases with a weight turned into an initializer, and analog.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from lhc.runtime import HybridSession
from tests.runtime.official_cases import official_cases

Feeds = Mapping[str, Any]

KNOWN_ONNX = ("1.23.", "1.32.")
"""The counts are those of these versions of onnx and onnxruntime."""


@cache
def _cases(kind: str) -> tuple[tuple[str, onnx.ModelProto, tuple[Feeds, ...]], ...]:
    """Name, model and feeds of every case of a kind, in the order of onnx."""
    found = []
    for case in official_cases(kind):
        names = [value.name for value in case.model.graph.input]
        found.append((case.name, case.model, tuple(dict(zip(names, ins, strict=False)) for ins, _ in case.data)))
    return tuple(found)


def _expected(model: onnx.ModelProto, sets: tuple[Feeds, ...]) -> list[Any] | None:
    """What onnxruntime answers; None where it does not run the case."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [session.run(None, dict(feeds)) for feeds in sets]
    except Exception:  # its exceptions have no common base
        return None


def _equal(left: Any, right: Any) -> bool:  # noqa: ANN401
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(_equal, left, right))
    if left is None or isinstance(left, dict):
        return bool(left == right)
    a, b = np.asarray(left), np.asarray(right)
    same = np.array_equal(a, b) if a.dtype.hasobject or a.dtype.kind in "US" else a.tobytes() == b.tobytes()
    return same and (a.dtype, a.shape) == (b.dtype, b.shape)


def _compare(cases: tuple[tuple[str, onnx.ModelProto, tuple[Feeds, ...]], ...]) -> tuple[list[str], int]:
    """Names of the cases that onnxruntime runs and lhc does not run alike, and how many onnxruntime runs."""
    failed, ran = [], 0
    for name, model, sets in cases:
        expected = _expected(model, sets)
        if expected is None:
            continue
        ran += 1
        session = HybridSession(model)
        if not _equal(expected, [session.run(None, feeds) for feeds in sets]):
            failed.append(name)
    return failed, ran


def test_simple_cases() -> None:
    failed, ran = _compare(_cases("simple"))
    assert failed == []
    assert ran >= 16  # onnx 1.20's; later ones bring more


@pytest.mark.slow
def test_the_whole_suite(record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]) -> None:
    cases = (*_cases("simple"), *_cases("node"))
    failed, ran = _compare(cases)
    record_property("ran", ran)
    with capsys.disabled():
        print(f"\nofficial ONNX backend suite: onnxruntime runs {ran} of {len(cases)} cases, lhc {ran - len(failed)}")
    assert failed == []
    if onnx.__version__.startswith(KNOWN_ONNX[0]) and onnxruntime.__version__.startswith(KNOWN_ONNX[1]):
        assert (len(cases), ran) == (1907, 1543)


def test_what_differs_is_seen() -> None:
    one = np.array([1, np.nan], np.float32)
    assert _equal([one, [one], None], [one.copy(), [one], None])
    for other in (one[:1], one.astype(np.float64), one + np.float32(1e-6), [one], None):
        assert not _equal([one], [other])
