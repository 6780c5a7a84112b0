"""LionHeart's walk over ResNet20, with a judge whose damages are known and add up."""

import pytest

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.passes import (
    Qualify,
    initial_plan,
)
from lhc.passes.strategies.lionheart_walk import LionHeart
from lhc.plan import Plan
from tests.passes.known_damages import FakeJudge, check_fallbacks, reasons

# ResNet20 for CIFAR (facts/lionheart.md 1.1): name, input channels x kernel, output channels, positions.
STAGES = ((1, 16, 16, 1024), (2, 16, 32, 256), (3, 32, 64, 64))
RESNET20_ORDER = (
    "layer1.0.conv1",
    "layer1.0.conv2",
    "layer1.1.conv1",
    "layer1.1.conv2",
    "layer1.2.conv1",
    "layer1.2.conv2",
    "layer2.0.conv2",
    "layer2.1.conv1",
    "layer2.1.conv2",
    "layer2.2.conv1",
    "layer2.2.conv2",
    "layer3.0.conv2",
    "layer3.1.conv1",
    "layer3.1.conv2",
    "layer3.2.conv1",
    "layer3.2.conv2",
    "layer2.0.conv1",
    "layer3.0.conv1",
    "conv1",
    "linear",
)


def resnet20() -> tuple[LayerGraph, Plan]:
    shapes = {"conv1": MatrixShape(27, 16, 1, 1024)}
    for stage, before, width, positions in STAGES:
        for block in range(3):
            for conv in (1, 2):
                channels = before if (block, conv) == (0, 1) else width
                shapes[f"layer{stage}.{block}.conv{conv}"] = MatrixShape(9 * channels, width, 1, positions)
    shapes["linear"] = MatrixShape(64, 10, 1, 1)
    layers, tensor = [], "x"
    for name, matrix in shapes.items():
        op = "Gemm" if name == "linear" else "Conv"
        kernel = () if name == "linear" else (1, 1)
        weight = WeightRef(f"{name}.w", 1, (matrix.cols, matrix.rows, *kernel), "float32", name)
        layers.append(Layer(name, op, (tensor, f"{name}.w"), (f"{name}.out",), weight, matrix))
        tensor = f"{name}.out"
    graph = LayerGraph(layers, ["x"], [tensor])
    return graph, Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), "", "0")).plan


def test_resnet20_costs_what_the_reference_says() -> None:
    graph, plan = resnet20()
    assert len(plan.eligible) == 20
    assert plan.macs == 40_551_040
    assert plan.tiles_of(graph, frozenset(plan.eligible)) == 36
    without_first = plan.decide({n: ("analog", "budget", "") for n in plan.eligible if n != "conv1"})
    assert without_first.analog_mac_fraction == pytest.approx(0.98909, abs=5e-6)


def test_lionheart_walks_resnet20_in_the_published_order() -> None:
    graph, plan = resnet20()
    # Each layer alone breaks the budget, so that each is asked about alone.
    judge = FakeJudge(dict.fromkeys(plan.eligible, 1.0), 0.5)
    result = LionHeart(judge).run(graph, plan)
    assert judge.asked == [frozenset({name}) for name in RESNET20_ORDER]
    assert result.plan.analog == frozenset()
    assert result.fallbacks == ()


def test_lionheart_keeps_what_fits_by_hand() -> None:
    graph, plan = resnet20()
    damages = dict.fromkeys(plan.eligible, 1.0) | {"layer1.0.conv2": 4.0, "conv1": 3.0, "linear": 0.5}
    judge = FakeJudge(damages, 5.5)
    result = LionHeart(judge).run(graph, plan)
    # 1, then 4 more make 5; after that no layer of 1 fits, nor conv1, but the last one does.
    kept = ["layer1.0.conv1", "layer1.0.conv2", "linear"]
    assert result.plan.analog == set(kept)
    assert len(judge.asked) == 20
    assert judge.asked[5] == frozenset({*kept[:2], RESNET20_ORDER[5]})
    assert result.fallbacks == (frozenset(kept[:2]), frozenset(kept[:1]), frozenset())
    check_fallbacks(result)
    assert {name for name, reason in reasons(result).items() if reason == "sensitivity"} == {*RESNET20_ORDER} - {*kept}
