"""Number formats of digital products: the machine's low one, but for products that it takes too much from.

In the order of the damage that the low precision does to each alone, for the work that its high precision costs, as few
products are raised as it takes for the network without analog layers to stay within a share of the budget. Products
with the same weight are raised together: a machine holds it once, in one format. What low precision loses is no matter
of chance on given samples, so all of them tell, as of a trained network (`lhc.measure.steadied`). Those that test
decide, so they are to hold by themselves too. They tell nothing where the budget is to hold for others.

More products raised cost more, and leave more of the budget to tiles. Where the objective prices digital products
(latency, energy), several shares are offered, and the search takes the one whose placement is best.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.errors import OutOfTimeError, UsageError
from lhc.measure import PlacementEvaluator
from lhc.passes import match_layers
from lhc.pipeline.pipeline_state import BudgetedNetwork, BudgetedT
from lhc.plan import Plan
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.support.number_formatting import counted, drop_text

SHARE = 0.25
"""Of the budget, that the arithmetic of digital products may take by itself; the rest is for tiles."""
SHARES = (1.0, SHARE, 0.0625)
"""Those that are offered to a search whose objective prices digital products."""
_RANKING_SAMPLES, _FEWEST_RANKING_SAMPLES = 64, 2
"""On which the damage of each product is measured: the former, as far as `_RANKING_MACS` allow it."""
_RANKING_MACS = 2**44
"""Multiplications of that ranking, which runs the network once for each group: a quarter of an hour of one core."""


@dataclass(frozen=True)
class ChoosePrecision:
    """Raise digital products to the machine's high precision where the low one takes too much of the budget.

    Attributes:
        high: patterns of layers that are in the high precision wherever they are digital.
    """

    high: Sequence[str] = ()
    name: ClassVar[str] = "choose-precision"
    requires: ClassVar[frozenset[str]] = frozenset({"ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"precision"})

    def apply(self, state: BudgetedT) -> BudgetedT:
        """The state whose plan says which products are in the high precision.

        Raises:
            UsageError: layers are named for a high precision that there is not, or that do not multiply in it.
        """
        digital = state.plan.digital
        named = self._named(state)
        followed = state.follow is not None and state.follow.digital is not None
        if digital is None or digital.high_precision is None or followed:
            return state
        parts = (state.splits.rank,) if state.budget.generalize else (state.splits.rank, state.splits.verify)
        parts = parts if state.splits.held_out else parts[:1]
        try:
            return _chosen(state, [state.judging_evaluator(part) for part in parts], digital, named)
        except OutOfTimeError:
            held = replace(state, plan=_raised(state.plan, named))
            which = "other digital products" if named else "digital products"
            return held.noted(f"--timeout: {which} stay in {digital.precision}, whatever that takes")

    def _named(self, state: BudgetedNetwork) -> frozenset[str]:
        """Products that the user names."""
        if not self.high:
            return frozenset()
        digital, machine = state.plan.digital, state.plan.hardware
        if state.follow is not None:
            raise UsageError("--high-precision: the precisions are those of --plan; drop one")
        if digital is None:
            raise UsageError("--high-precision: the digital products of this network compute as in the file")
        if digital.high_precision is None:
            raise UsageError(
                f"--high-precision: hardware {machine.name!r} computes digital products in"
                f" {machine.digital.precision} alone; its section digital may have a high_precision"
            )
        paths = {layer.name: layer.path for layer in state.plan.layers if digital.of(layer.name) is not None}
        asked = frozenset().union(*(match_layers(one, paths, "--high-precision", paths) for one in self.high))
        groups = state.graph.tied(layer.name for layer in state.graph.layers if layer.name in paths)
        return asked.union(*(group for group in groups if not asked.isdisjoint(group)))


def _raised(plan: Plan, names: frozenset[str]) -> Plan:
    digital = None if plan.digital is None else plan.digital.with_raised(names)
    return plan.model_copy(update={"digital": digital})


def _chosen(
    state: BudgetedT, evaluators: Sequence[PlacementEvaluator], digital: DigitalArithmetic, named: frozenset[str]
) -> BudgetedT:
    samples = [evaluator.samples for evaluator in evaluators]
    baseline = abs(float(np.average([evaluator.baseline for evaluator in evaluators], weights=samples)))
    budget = state.budget.max_drop * (baseline if state.budget.relative else 1.0)
    found: dict[frozenset[str], float] = {}

    def drop(raised: frozenset[str]) -> float:
        if raised not in found:
            drops = [float(one.measure_precision(raised, "digital precision").drops[0]) for one in evaluators]
            found[raised] = max(float(np.average(drops, weights=samples)), drops[-1])
        return found[raised]

    shares = SHARES if state.goal.objective != "macs" else (SHARE,)
    if drop(named) <= min(shares) * budget:
        return replace(state, plan=_raised(state.plan, named))
    order = [group for group in _by_damage(state, digital) if named.isdisjoint(group)]
    choices = {share: named.union(*order[: _fewest(order, named, share * budget, drop)]) for share in shares}
    raised = choices[SHARE]

    def shown(value: float) -> str:
        percent, budget = state.task.metric.percent, state.budget
        scale = 1 / baseline if budget.relative else 1.0
        return drop_text(value * scale, percent, budget.drop_type, budget.max_drop)

    others = tuple(dict.fromkeys(one for one in choices.values() if one != raised))
    state = replace(state, plan=_raised(state.plan, raised), precisions=tuple(map(digital.with_raised, others)))
    if raised == named:
        return state
    said = digital.with_raised(named).text if named else f"{digital.precision} alone"
    return state.noted(
        f"{said} takes {shown(drop(named))} on {counted(sum(samples), 'sample')}, so the search may put"
        f" {counted(len(raised), 'digital product')} of {len(named.union(*order))} in {digital.high_precision}"
        f" ({shown(drop(raised))} then)"
    )


def _fewest(
    order: Sequence[frozenset[str]], named: frozenset[str], allowed: float, drop: Callable[[frozenset[str]], float]
) -> int:
    """How many groups, from the first, are raised for a drop that is allowed; all where fewer do not do."""
    if drop(named) <= allowed:
        return 0
    fewest, most = 0, len(order)
    while most - fewest > 1:
        middle = (fewest + most) // 2
        held = drop(named.union(*order[:middle])) <= allowed
        fewest, most = (fewest, middle) if held else (middle, most)
    return most


def _by_damage(state: BudgetedNetwork, digital: DigitalArithmetic) -> list[frozenset[str]]:
    """Groups of products with one weight, those first that lose most by the low format for the work that it saves.

    A product of two activations is a group by itself.
    """
    names = [layer.name for layer in state.graph.layers if layer.multiplies and digital.of(layer.name) is not None]
    groups, work = list(map(frozenset, state.graph.tied(names))), _work(state.plan)
    afforded = _RANKING_MACS // max(len(groups) * sum(work.values()), 1)
    samples = state.splits.rank.head(min(_RANKING_SAMPLES, max(_FEWEST_RANKING_SAMPLES, afforded)))
    one_output = samples.with_metric(state.ranking_metric(samples, None))
    ranking = state.output_evaluators(samples) if state.further else (state.evaluator(one_output),)
    evaluators = [replace(one, against="as given") for one in ranking]

    def damage(group: frozenset[str]) -> float:
        others, what = frozenset(names) - group, f"digital precision of {min(group, key=names.index)}"
        return float(sum(one.measure_precision(others, what).drops[0] for one in evaluators))

    found = {group: damage(group) / max(sum(work.get(name, 0) for name in group), 1) for group in groups}
    return sorted(groups, key=lambda group: -found[group])


def _work(plan: Plan) -> dict[str, int]:
    """MACs of every product, per sample."""
    return {layer.name: layer.macs + layer.activation_macs for layer in plan.layers}
