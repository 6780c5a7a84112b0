"""Passes and strategies of the user's own, given to partition."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import lhc
from lhc.commands.estimate import estimate
from lhc.commands.partition import placed_by
from lhc.graph import LayerGraph
from lhc.options.by_command import PartitionOptions
from lhc.passes import Pass, PassResult, Strategy, decide
from lhc.plan import Plan, Reason

pytestmark = pytest.mark.analog


@dataclass(frozen=True)
class Excluding(Pass):
    """One layer stays digital."""

    layer: str
    name: ClassVar[str] = "excluding"

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        return PassResult(plan.decide({self.layer: ("digital", "excluded", "by a test")}))


@dataclass(frozen=True)
class LastOnly(Strategy):
    """The last eligible layer is analog."""

    name: ClassVar[str] = "last-only"

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        def reason(name: str) -> tuple[Reason, str]:
            return "strategy", f"by {self.name}"

        return PassResult(decide(plan, frozenset(plan.eligible[-1:]), reason, f"by {self.name}"))


@dataclass(frozen=True)
class Flattest(Strategy):
    """The layer with the least curvature is analog."""

    name: ClassVar[str] = "flattest"
    requires: ClassVar[frozenset[str]] = frozenset({"curvatures", "sensitivities"})

    @classmethod
    def judgements(cls, groups: int) -> int:
        return 0

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        assert all(layer.sensitivity is not None for layer in plan.layers if layer.name in plan.eligible)
        flattest = min(plan.eligible, key=lambda name: self.options.curvatures[name].eli)
        return PassResult(
            decide(plan, frozenset({flattest}), lambda name: ("strategy", "not the flattest"), "flattest")
        )


def test_a_strategy_of_ones_own_gets_what_it_requires() -> None:
    options = PartitionOptions(
        "digits-narrow", samples=40, draws=2, max_drop="100%", strategy=Flattest, objective="macs", explain=False,
        include=("layer2.*",),
    )  # fmt: skip
    assert len(placed_by(options).plan.analog) == 1
    steps = [step.what for step in estimate(options).steps]
    assert steps[-3:] == ["curvatures of the loss", "verifying", "what healing brings"]
    assert "sensitivities" in steps[0], steps


def test_a_pass_and_a_strategy_of_ones_own_decide() -> None:
    result = lhc.partition(
        "digits-narrow",
        samples=40,
        draws=2,
        max_drop="100%",
        strategy=LastOnly,
        passes=[Excluding("linear")],
        explain=False,
    )
    rows = {layer.name: layer for layer in result.plan.layers}
    assert result.plan.analog == {"layer2.2.conv2"}
    assert (rows["linear"].reason, rows["linear"].detail) == ("excluded", "by a test")
    assert rows["conv1"].detail == "by last-only"
    assert result.plan.outcome is not None
    assert result.plan.outcome.strategy == "last-only"
    assert np.isfinite(result.plan.outcome.drop)
