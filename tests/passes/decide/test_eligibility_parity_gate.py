"""The parity gate: what the noise-free emulation does not reproduce stays digital."""

import math
from dataclasses import dataclass

import pytest

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.passes import ParityGate, Qualify, Select, initial_plan
from lhc.plan import Plan


def network(*names: str) -> tuple[LayerGraph, Plan]:
    layers = [
        Layer(n, "MatMul", ("x", n), (f"{n}.out",), WeightRef(n, 1, (4, 3), "float32", n), MatrixShape(4, 3, 1, 1))
        for n in names
    ]
    graph = LayerGraph(layers, ["x"], [f"{n}.out" for n in names])
    return graph, Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), "", "0")).plan


@dataclass(frozen=True)
class Case:
    id: str
    error: float
    passes: bool


CASES = [
    Case("none", 0.0, True),
    Case("at the limit", 1e-4, True),
    Case("over it", 1.001e-4, False),
    Case("NaN", math.nan, False),
    Case("infinite", math.inf, False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_errors_against_the_tolerance(case: Case) -> None:
    graph, plan = network("a", "b")
    result = ParityGate({"a": case.error, "b": 0.0}, 1e-4).run(graph, plan)
    assert result.plan.eligible == (("a", "b") if case.passes else ("b",))
    assert len(result.notes) == (not case.passes)
    assert result.plan.layers[1] == plan.layers[1]
    assert plan.eligible == ("a", "b")


def test_the_refusal_holds_its_numbers() -> None:
    graph, plan = network("a")
    result = ParityGate({"a": 0.0251}, 1e-4).run(graph, plan)
    (row,) = result.plan.layers
    detail = "noise-free tiles differ from onnxruntime by 0.025 of the output's greatest magnitude (allowed 1e-04)"
    assert (row.placement, row.reason, row.detail) == ("digital", "parity", detail)
    assert result.notes == (f"a stays digital: {detail}",)


@pytest.mark.parametrize("error", [math.inf, math.nan])
def test_values_that_are_no_numbers_are_named(error: float) -> None:
    graph, plan = network("a")
    (row,) = ParityGate({"a": error}, 1e-4).run(graph, plan).plan.layers
    assert (row.placement, row.reason) == ("digital", "parity")
    assert row.detail.startswith("its values on these samples are NaN or infinite")


def test_forced_layers_are_gated_too() -> None:
    graph, plan = network("a", "b")
    plan = Select(force_analog=("a",)).run(graph, plan).plan
    result = ParityGate({"a": 1.0, "b": 0.0}, 1e-4).run(graph, plan)
    assert [(row.placement, row.reason) for row in result.plan.layers] == [
        ("digital", "parity"),
        ("digital", "eligible"),
    ]
    assert result.notes[0].startswith("a stays digital")


def test_layers_that_are_decided_already_keep_their_reason() -> None:
    graph, plan = network("a", "b")
    plan = Select(exclude=("a",)).run(graph, plan).plan
    result = ParityGate({"a": 1.0, "b": 1.0}, 1e-4).run(graph, plan)
    assert [row.reason for row in result.plan.layers] == ["excluded", "parity"]
    assert len(result.notes) == 1


def test_layers_that_were_not_checked_pass() -> None:
    graph, plan = network("a", "b")
    result = ParityGate({}, 1e-4).run(graph, plan)
    assert result.plan == plan
    assert result.notes == ()
