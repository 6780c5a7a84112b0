"""Number formats of digital products: the machine's low one, but for products that it takes too much from.

In the order of the damage that the low precision does to each alone, for the work that its high precision costs, as few
products are raised as it takes for the network without analog layers to stay within a share of the budget. What it
loses is no matter of chance on given samples, so all of them tell, as of a trained network (`lhc.measure.steadied`);
those that test tell nothing where the budget is to hold for others too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.errors import OutOfTimeError
from lhc.measure import PlacementEvaluator
from lhc.pipeline.pipeline_state import BudgetedNetwork, BudgetedT
from lhc.plan import Plan
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.support.number_formatting import counted, drop_text

__all__ = ["SHARE", "ChoosePrecision"]

SHARE = 0.25
"""Of the budget, that the arithmetic of digital products may take by itself; the rest is for tiles."""
_RANKING_SAMPLES = 64
"""On which the damage of each product is measured."""


@dataclass(frozen=True)
class ChoosePrecision:
    """Raise digital products to the machine's high precision where the low one takes too much of the budget."""

    name: ClassVar[str] = "choose-precision"
    requires: ClassVar[frozenset[str]] = frozenset({"ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"precision"})

    def apply(self, state: BudgetedT) -> BudgetedT:
        """The state whose plan says which products are in the high precision."""
        digital = state.plan.digital
        followed = state.follow is not None and state.follow.digital is not None
        if digital is None or digital.high_precision is None or followed:
            return state
        parts = (state.splits.rank,) if state.budget.generalize else (state.splits.rank, state.splits.verify)
        parts = parts if state.splits.held_out else parts[:1]
        try:
            return _chosen(state, [state.judging_evaluator(part) for part in parts], digital)
        except OutOfTimeError:
            return state.noted(f"--timeout: digital products stay in {digital.precision}, whatever that takes")


def _chosen(state: BudgetedT, evaluators: Sequence[PlacementEvaluator], digital: DigitalArithmetic) -> BudgetedT:
    samples = [evaluator.samples for evaluator in evaluators]
    baseline = abs(float(np.average([evaluator.baseline for evaluator in evaluators], weights=samples)))
    allowed = SHARE * state.budget.max_drop * (baseline if state.budget.relative else 1.0)

    def drop(raised: frozenset[str]) -> float:
        found = [replace(one, digital=digital.with_raised(raised)) for one in evaluators]
        drops = [float(one.measure(frozenset(), range(1), "digital precision").drops[0]) for one in found]
        return float(np.average(drops, weights=samples))

    low = drop(frozenset())
    if low <= allowed:
        return state
    order = _by_damage(state, digital)
    fewest, most = 0, len(order)
    while most - fewest > 1:
        middle = (fewest + most) // 2
        held = drop(frozenset(order[:middle])) <= allowed
        fewest, most = (fewest, middle) if held else (middle, most)
    raised = frozenset(order[:most])

    def shown(value: float) -> str:
        percent, budget = state.task.metric.percent, state.budget
        scale = 1 / baseline if budget.relative else 1.0
        return drop_text(value * scale, percent, budget.drop_type, budget.max_drop)

    note = (
        f"{digital.precision} alone takes {shown(low)} on {counted(sum(samples), 'sample')}, so"
        f" {counted(len(raised), 'digital product')} of {len(order)} may be in {digital.high_precision}"
        f" ({shown(drop(raised))} then)"
    )
    plan = state.plan.model_copy(update={"digital": digital.with_raised(raised)})
    return replace(state, plan=plan).noted(note)


def _by_damage(state: BudgetedNetwork, digital: DigitalArithmetic) -> list[str]:
    """Products in the machine's formats, those first that lose most by the low one for the work that it saves."""
    names = [layer.name for layer in state.graph.layers if layer.multiplies and digital.of(layer.name) is not None]
    samples = state.splits.rank.head(_RANKING_SAMPLES)
    evaluator = state.evaluator(samples.with_metric(state.ranking_metric(samples, None)))
    evaluator = replace(evaluator, against_given=True)
    work = _work(state.plan)

    def damage(name: str) -> float:
        alone = replace(evaluator, digital=digital.with_raised(frozenset(names) - {name}))
        return float(alone.measure(frozenset(), range(1), f"digital precision of {name}").drops[0])

    found = {name: damage(name) / max(work.get(name, 0), 1) for name in names}
    return sorted(names, key=lambda name: -found[name])


def _work(plan: Plan) -> dict[str, int]:
    """MACs of every product, per sample."""
    return {layer.name: layer.macs + layer.activation_macs for layer in plan.layers}
