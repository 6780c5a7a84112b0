"""What is asked of a file: every command of lhc, with an oracle where there is one."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

import lhc
from lhc.plan import Method

__all__ = ["COMMANDS", "Subject"]

STEPS = 20
FEW, SEARCHED, JUDGING = 8, 16, 32
"""Samples that are measured, that a placement is searched on, and that judge a training."""
EXACT = {"float32": 1e-4, "float16": 1e-2}
"""How far outputs on tiles without errors may be from onnxruntime's, of the greatest magnitude, by the output's type.

What float16 rounds is rounded at other places: some of its steps of 2⁻¹¹ after a few layers.
"""


@dataclass(frozen=True)
class Subject:
    """A file, and samples of it.

    Attributes:
        path: of the file.
        samples: for every input.
        scored: output that is scored; None for the first.
        dequantize: whether operators on integers are placed too.
    """

    path: Path
    samples: Mapping[str, np.ndarray]
    scored: str | None
    dequantize: bool

    @property
    def options(self) -> dict[str, Any]:
        """What every command that measures is told."""
        return {"output": self.scored, "dequantize": self.dequantize, "fresh": True}

    def part(self, start: int | None, stop: int | None) -> dict[str, np.ndarray]:
        """Some of the samples."""
        return {name: array[start:stop] for name, array in self.samples.items()}

    def expected(self) -> dict[str, np.ndarray]:
        """All outputs, as onnxruntime computes them for blocks of the batch that the file fixes."""
        return _outputs(self._exact(), self.part(None, FEW))

    def _exact(self) -> str | bytes:
        """The file; where it lets onnxruntime round inputs of 4-bit products to 8 bits, without that."""
        model = onnx.load(self.path)
        rounding = [a for node in model.graph.node for a in node.attribute if a.name == "accuracy_level"]
        for attribute in rounding:
            attribute.i = 0
        return model.SerializeToString() if rounding else str(self.path)


def _outputs(model: str | bytes, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    session_options = ort.SessionOptions()
    session_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session_options.log_severity_level = 3
    session = ort.InferenceSession(model, session_options, providers=["CPUExecutionProvider"])
    first = session.get_inputs()[0]
    count = len(samples[first.name])
    size = first.shape[0] if first.shape and isinstance(first.shape[0], int) else count
    names = [output.name for output in session.get_outputs()]
    read = [value.name for value in session.get_inputs()]
    calls = [
        session.run(names, {name: samples[name][start : start + size] for name in read})
        for start in range(0, count, size)
    ]
    return {name: np.concatenate([call[i] for call in calls]) for i, name in enumerate(names)}


def _differ(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> str:
    """What is worst about the found outputs that are expected too; empty where all is as it should be."""
    if not found:
        return "no output"
    for name, array in found.items():
        wanted = expected[name]
        if array.shape != wanted.shape:
            return f"output {name} has shape {array.shape} instead of {wanted.shape}"
        if not np.issubdtype(wanted.dtype, np.floating):
            continue
        error = float(np.abs(array.astype(float) - wanted.astype(float)).max(initial=0))
        error /= max(float(np.abs(wanted.astype(float)).max(initial=0)), 1e-9)
        if not error <= EXACT[str(wanted.dtype)]:
            return f"output {name} differs by {error:.1e} of its greatest magnitude"
    return ""


def analyze(subject: Subject) -> dict[str, Any]:
    """How much of the network can be analog, and what is left digital or is not counted."""
    found = lhc.analyze(subject.path, subject.samples, dequantize=subject.dequantize)
    left = Counter(f"{row.kind}: {row.detail}" for row in found.rows if row.macs and row.reason != "eligible")
    missing = sorted({row.kind for row in found.rows if not row.counted})
    eligible = sum(row.macs for row in found.plan.layers if row.reason == "eligible")
    return {"macs": found.plan.macs, "eligible": eligible, "left": dict(left), "uncounted": missing}


def _sensitivity(method: Method, most: int | None) -> Callable[[Subject], dict[str, Any]]:
    """Damage of so many layers; None for all."""

    def run(subject: Subject) -> dict[str, Any]:
        rows = lhc.analyze(subject.path, subject.samples, dequantize=subject.dequantize).plan.layers
        names = [row.name for row in rows if row.reason == "eligible"]
        some = [f"re:{re.escape(name)}" for name in names[:: -(-len(names) // most)]] if most else ()
        options = {"method": method, "draws": 2, "include": some, "samples": FEW} | subject.options
        found = lhc.sensitivity(subject.path, subject.samples, **options)
        values = [one.mean for one in found.layers.values()]
        assert values, "no layer was measured"
        assert all(math.isfinite(value) for value in values), "a damage is not finite"
        assert any(value > 0 for value in values), "noise does nothing"
        return {"layers": len(values)}

    return run


def partition(subject: Subject) -> dict[str, Any]:
    """A placement by measured damage; the annotated file computes what the file did."""
    found = lhc.partition(
        subject.path, subject.samples, samples=SEARCHED, method="fisher", draws=2, max_draws=2, max_drop=0.5,
        explain=False, objective="macs", **subject.options,
    )  # fmt: skip
    out = subject.path.with_name("placed.onnx")
    found.save(out, force=True)
    wrong = _differ(_outputs(str(out), subject.part(None, FEW)), subject.expected())
    assert not wrong, f"the annotated file: {wrong}"
    plan = found.plan
    parity = [f"{row.kind}: {row.detail}" for row in plan.layers if row.reason == "parity"]
    placed = sum(row.macs for row in plan.layers if row.reason not in ("parity",) and row.may_be_analog)
    return {"placed": placed / plan.macs if plan.macs else 0.0, "parity": dict(Counter(parity))}


def run(subject: Subject) -> dict[str, Any]:
    """All layers on tiles: with noise finite numbers, without it onnxruntime's."""
    options = {"all_analog": True, "samples": FEW, **subject.options}
    found = lhc.analog_outputs(subject.path, subject.samples, hardware="ideal", **options)
    expected = subject.expected()
    wrong = _differ(found, expected)
    assert not wrong, wrong
    noisy = lhc.analog_outputs(subject.path, subject.samples, hardware="lionheart", **options)
    assert all(np.isfinite(array).all() for array in noisy.values()), "noise makes numbers that are not finite"
    return {"outputs": len(found), "of": len(expected)}


def compile(subject: Subject) -> dict[str, Any]:
    """All layers on tiles as an ONNX file, which onnxruntime runs."""
    found = lhc.compile(
        subject.path, subject.samples, hardware="ideal", all_analog=True, noise="off", dequantize=subject.dequantize
    )
    out = subject.path.with_name("compiled.onnx")
    found.save(out, force=True)
    wrong = _differ(_outputs(str(out), subject.part(None, FEW)), subject.expected())
    assert not wrong, wrong
    return {}


def retrain(subject: Subject) -> dict[str, Any]:
    """Steps of training under noise; what is written runs."""
    found = lhc.retrain(
        subject.path, subject.part(-JUDGING, None), train_data=subject.part(None, -JUDGING), all_analog=True,
        steps=STEPS, batch_size=4, validations=1, draws=2, max_drop=0.5, **subject.options,
    )  # fmt: skip
    out = subject.path.with_name("retrained.onnx")
    found.save(out, force=True)
    outputs = _outputs(str(out), subject.part(None, FEW))
    assert all(np.isfinite(a).all() for a in outputs.values() if a.dtype.kind == "f"), "numbers are not finite"
    outcome = found.plan.outcome
    return {"kept": outcome is not None and outcome.retrained is not None}


COMMANDS: dict[str, Callable[[Subject], dict[str, Any]]] = {
    "analyze": analyze,
    "sensitivity": _sensitivity("measure", most=4),
    "fisher": _sensitivity("fisher", most=None),
    "partition": partition,
    "run": run,
    "compile": compile,
    "retrain": retrain,
}
