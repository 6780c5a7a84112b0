"""The official ONNX backend node tests of Conv, Gemm and MatMul, each with a weight turned into an initializer.

They run on the parity geometry: tiles and mapping of ``lionheart``, with noise, quantisers and bounds off. The official
expectations must be met within 1e-6 of the output's greatest magnitude (float16: 1e-3, its own rounding), which is
far tighter than the official 1e-3 of every value.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import numpy_helper

from lhc.graph import CANDIDATE_OPS, obstacle
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.runtime import HybridSession
from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix
from lhc.runtime.engines.compiled.matrix import CompiledMatrix
from tests.runtime.official_cases import OfficialCase, official_cases
from tests.runtime.products import ENGINES, Engine

pytestmark = pytest.mark.analog

OPERATORS = ("Conv", "Gemm", "MatMul")
TOLERANCE = {"float16": 1e-3, "float32": 1e-6}
"""Greatest error allowed, relative to the greatest magnitude of the output."""
KNOWN_ONNX = "1.23"
"""The numbers below are those of this version; later versions may add some, and older ones have fewer."""
COUNTS = {
    # operator: node and operand pairs that ran an analog node, and those that were refused with a reason
    "Conv": (19, 0),
    "Gemm": (22, 0),
    "MatMul": (6, 8),
}

LEAST = {"Conv": 6, "Gemm": 22, "MatMul": 6}
"""Those of onnx 1.20, the oldest that is supported."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One official case with one node and the operand that becomes its weight."""

    name: str
    model: onnx.ModelProto = field(repr=False)
    node: int
    operand: int
    data: tuple[tuple[tuple[Array, ...], tuple[Array, ...]], ...] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name.removeprefix('test_')}-{self.op_type}-{self.weight if self.plain else 'weight'}"

    def __hash__(self) -> int:
        return hash((self.name, self.node, self.operand))

    @property
    def plain(self) -> bool:
        return len(self.model.graph.node) == 1

    @property
    def op_type(self) -> str:
        return str(self.model.graph.node[self.node].op_type)

    @property
    def weight(self) -> str:
        return str(self.model.graph.node[self.node].input[self.operand])

    def with_initializer(self, inputs: tuple[Array, ...]) -> tuple[onnx.ModelProto, dict[str, Array]]:
        """The model with the weight of this data set as an initializer, and the feeds that are left."""
        feeds = dict(zip((value.name for value in self.model.graph.input), inputs, strict=True))
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model.graph.initializer.append(numpy_helper.from_array(feeds.pop(self.weight), self.weight))
        left = [value for value in model.graph.input if value.name != self.weight]
        del model.graph.input[:]
        model.graph.input.extend(left)
        return model, feeds


@dataclass(frozen=True)
class Outcome:
    """What became of a case: the reason for a refusal, or how many products its analog node computed."""

    reason: str | None
    detail: str = ""
    products: int = 0


@cache
def _official() -> tuple[OfficialCase, ...]:
    """All official node cases that hold a product."""
    return tuple(
        case for case in official_cases("node") if any(node.op_type in OPERATORS for node in case.model.graph.node)
    )


def _operands(op_type: str) -> tuple[int, ...]:
    return (1,) if op_type == "Conv" else (1, 0)


@cache
def _cases() -> tuple[Case, ...]:
    """Made when a test asks for them: onnx takes seconds, and every process collects all tests."""
    cases: list[Case] = []
    for case in _official():
        inputs = {value.name for value in case.model.graph.input}
        data = tuple((tuple(map(np.asarray, ins)), tuple(map(np.asarray, outs))) for ins, outs in case.data)
        for index, node in enumerate(case.model.graph.node):
            if node.op_type in OPERATORS:
                operands = [o for o in _operands(node.op_type) if node.input[o] in inputs]
                cases += [Case(case.name, case.model, index, operand, data) for operand in operands]
    return tuple(cases)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Engines that computed products on tiles during the test, one entry a call."""
    seen: list[Engine] = []

    def watch(kind: type[CompiledMatrix | AihwkitMatrix], method: str, engine: Engine) -> None:
        compute: Callable[..., torch.Tensor] = getattr(kind, method)

        def watched(self: CompiledMatrix | AihwkitMatrix, *args: object) -> torch.Tensor:
            seen.append(engine)
            return compute(self, *args)

        monkeypatch.setattr(kind, method, watched)

    for method in ("convolve", "multiply"):
        watch(CompiledMatrix, method, "fast")
        watch(AihwkitMatrix, method, "aihwkit")
    return seen


def _relative_error(result: Array, expected: Array) -> float:
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    scale = float(np.abs(expected).max(initial=0)) or 1.0
    return float(np.abs(result.astype(np.float64) - expected.astype(np.float64)).max(initial=0)) / scale


def _run(case: Case, products: list[Engine], engine: Engine) -> Outcome:
    """Run a case with its node analog and compare; or say why the node cannot be analog."""
    total = 0
    for inputs, outputs in case.data:
        proto, feeds = case.with_initializer(inputs)
        model = load_model(proto)
        node = model.proto.graph.node[case.node]
        layer = read_graph(model, sizes=False)[node.name]
        assert layer.weight is not None
        assert (layer.weight.name, layer.weight.operand) == (case.weight, case.operand)
        problem = obstacle(layer)
        if problem is not None:
            return Outcome(problem.reason, problem.detail)
        hardware = Hardware.load("lionheart").geometry
        session = HybridSession(model, hardware, [node.name], engine=engine)
        assert session.analog == {node.name}
        products.clear()
        results = session.run(None, feeds)
        assert products, "no tile computed anything"
        assert set(products) == {engine}
        total += len(products)
        assert len(results) == len(outputs)
        for result, expected in zip(results, outputs, strict=True):
            assert _relative_error(result, expected) <= TOLERANCE[expected.dtype.name]
    return Outcome(None, products=total)


def _checked(case: Case, products: list[Engine], engine: Engine) -> Outcome:
    """What became of a case, which must be refused where its weight is a stack of matrices, and nowhere else."""
    outcome = _run(case, products, engine)
    weight = case.data[0][0][[v.name for v in case.model.graph.input].index(case.weight)]
    if case.op_type == "MatMul" and weight.ndim > 2:
        assert outcome.reason == "unsupported"
        assert f"weight {case.weight} is a stack of matrices ({'x'.join(map(str, weight.shape))})" in outcome.detail
    else:
        assert outcome.reason is None
        assert outcome.products > 0
    return outcome


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("op_type", OPERATORS)
def test_no_official_case_is_lost(
    op_type: str,
    engine: Engine,
    products: list[Engine],
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every case, and the exact number of those in which an analog node really ran, also printed."""
    outcomes = []
    for case in _cases():
        if case.op_type == op_type:
            try:
                outcomes.append(_checked(case, products, engine))
            except Exception as error:
                error.add_note(f"official case {case}")
                raise
    ran = sum(outcome.products > 0 for outcome in outcomes)
    refused = Counter(outcome.reason for outcome in outcomes if outcome.reason is not None)
    record_property("analog", ran)
    record_property("refused", dict(refused))
    with capsys.disabled():
        print(
            f"\nofficial ONNX node tests, {op_type}, engine {engine}: {ran} ran analog,"
            f" {refused.total()} refused with a reason"
        )
    assert ran + refused.total() == len(outcomes)
    if onnx.__version__.startswith(KNOWN_ONNX + "."):
        assert (ran, refused.total()) == COUNTS[op_type]
    else:
        assert ran >= LEAST[op_type]


def test_products_without_a_constant_operand_are_refused_with_the_reason() -> None:
    """The expanded forms of other operators (attention and the like) multiply two computed tensors."""
    refused = 0
    for case in _official():
        model = load_model(case.model)
        graph = read_graph(model, sizes=False)
        inputs = set(graph.inputs)
        for node in model.proto.graph.node:
            if node.op_type in OPERATORS and not any(node.input[o] in inputs for o in _operands(node.op_type)):
                problem = obstacle(graph[node.name])
                assert problem is not None, case.name
                assert problem.reason == "no-static-weight", case.name
                assert all(operand in problem.detail for operand in node.input[:2]), case.name
                refused += 1
    if onnx.__version__.startswith(KNOWN_ONNX + "."):
        assert refused == 212


def test_every_operator_looked_at_is_a_candidate() -> None:
    assert set(OPERATORS) < CANDIDATE_OPS
    assert {case.op_type for case in _cases()} == set(OPERATORS)
