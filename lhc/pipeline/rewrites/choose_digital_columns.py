"""Split layers so that their worst columns are computed digitally, before anything is ranked or searched.

Columns are weighed by gradients (`lhc.measure.sensitivity.fisher_prediction.column_damages`), which takes some backward
passes over samples that rank and no measurement. The digital network computes what it computed; its plan has a row more
for every layer that is split. The search places the rest of the layer, and where no share is named the columns as well:
a layer is then digital, on tiles but for its worst columns, or on tiles (`lhc.measure.ColumnSplitEvaluator` measures
each as it is run).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np

from lhc.canonical import splittable
from lhc.errors import ModelError, OutOfTimeError, UsageError
from lhc.graph import TILES, LayerGraph, columns_of
from lhc.measure.sensitivity.fisher_prediction import Floats, column_damages
from lhc.options.shared import ColumnsBy
from lhc.passes import ChooseDigitalColumns, qualified_plan
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.pipeline.pipeline_state import ColumnSplit, PreparedNetwork, StateT
from lhc.pipeline.steps.range_calibration import with_arithmetic
from lhc.plan import LayerPlan, Plan, Sensitivity
from lhc.support.number_formatting import counted, share_text

Value = TypeVar("Value")

SEARCHED = 0.2
"""Of a layer's columns, that a search places apart."""


@dataclass(frozen=True)
class SplitColumns:
    """Make the worst columns digital, of the network as it was given; a plan that is followed has its own.

    Attributes:
        share: most that may be digital so, of the layers that may be analog; 0 splits nothing. None: the search tells
            of every layer whether its worst columns are.
        by: what it is a share of.
    """

    share: float | None
    by: ColumnsBy = "macs"
    name: ClassVar[str] = "split-columns"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified", "parity", "ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, state: StateT) -> StateT:
        """The state of the split network.

        Raises:
            ModelError: the network has no gradients.
        """
        split_before = any(row.weight is not None and row.weight.endswith(TILES) for row in state.plan.layers)
        if self.share == 0 or split_before:
            return state
        try:
            return self._split(state)
        except OutOfTimeError:
            return state.noted("--timeout: columns were not weighed, so none is digital")

    def _split(self, state: StateT) -> StateT:
        if any("columns" in override.adc for override in state.plan.hardware.overrides):
            raise UsageError(
                "--digital-columns: the hardware's ADCs have a range for every column (adc.range), calibrated for whole"
                " layers; leave the option out"
            )
        damages = damages_of_columns(state)
        if self.share is None:
            # What the user wants on tiles is not up for a search.
            eligible = frozenset(state.plan.eligible)
            free = {name: of_layer for name, of_layer in damages.items() if name in eligible}
            choose = ChooseDigitalColumns(SEARCHED, self.by, free, each=True)
        else:
            choose = ChooseDigitalColumns(self.share, self.by, damages)
        plan = choose.run(state.graph, state.plan).plan
        opened = state.opened.split_as(plan, undecided=self.share is None)
        plan = plan.model_copy(update={"digital": None})  # of other tensors; those of whole layers are found again
        after = _opened_as(replace(state, split=ColumnSplit(state.opened, joins=self.share is None)), opened, plan)
        after = with_arithmetic(after)
        return after.noted(_note(state, after, damages))


def _opened_as(state: StateT, opened: LoadedModel, plan: Plan) -> StateT:
    """The state of a network that is split otherwise."""
    graph = opened.graph(None, state.task)
    return replace(state, opened=opened, graph=graph, plan=_extended(plan, graph))


@dataclass(frozen=True)
class JoinColumns:
    """Make layers whole again whose parts are on the same side in the placement that is kept."""

    name: ClassVar[str] = "join-columns"
    requires: ClassVar[frozenset[str]] = frozenset({"outcome"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, state: StateT) -> StateT:
        """The state of the network that the placement is run in: only what it parts is split."""
        analog = state.plan.analog
        parted = [n for n in state.plan.digital_columns if n in analog and columns_of(n) not in analog]
        joined = {name: () for name in state.plan.digital_columns if name not in parted}
        split = state.split
        if split is None or not (joined or split.joins):
            return state
        plan = state.plan.with_digital_columns(joined)
        after = _opened_as(state, split.whole.split_as(plan), plan)
        digital = after.plan.digital
        own = None if digital is None else digital.of_tensors(after.graph.tensors)
        return replace(after, plan=after.plan.with_arithmetic(own), split=replace(split, joins=False))


def damages_of_columns(state: PreparedNetwork) -> dict[str, Floats]:
    """Damage of every column of the layers that can be split, by layer, on samples that rank.

    Raises:
        ModelError: the network has no gradients.
    """
    names = [name for name in state.measurable if splittable(state.model, state.graph[name])]
    if not names:
        return {}
    evaluator = state.gradient_evaluator(state.splits.rank)
    try:
        return column_damages(evaluator, state.graph, names)
    except ModelError as error:
        raise ModelError(f"--digital-columns: columns are weighed by gradients: {error}") from error


def _extended(plan: Plan, graph: LayerGraph) -> Plan:
    """The plan with numbers of the split layers, and rows for their digital columns; decisions stay."""
    fresh = qualified_plan(graph, plan.hardware, plan.source)
    known = {row.name: row for row in plan.layers}

    def row(new: LayerPlan) -> LayerPlan:
        old = known.get(new.name)
        if old is None or old.reason == "eligible":
            return new
        if new.reason == "columns":
            return new.model_copy(update={"sensitivity": old.sensitivity, "with_copies": old.with_copies})
        same = old.macs == new.macs
        detail = old.detail if same or old.placement == "analog" else f"{old.detail} (without its worst columns)"
        decided = {"placement": old.placement, "reason": old.reason, "detail": detail}
        apart = known.get(columns_of(new.name))
        found = {name: getattr(old, name) for name in ("sensitivity", "with_copies")}
        if not same:
            found = {name: _sum(one, None if apart is None else getattr(apart, name)) for name, one in found.items()}
        return new.model_copy(update=decided | found)

    extended = plan.model_copy(update={"layers": tuple(map(row, fresh.layers))})
    on_tiles = {row.name for row in extended.layers if row.reason != "columns"}

    def of_both(known: Mapping[str, Value]) -> dict[str, Value]:
        """Facts of layers, given to their digital columns as well: their inputs are the same."""
        both = {columns_of(name): value for name, value in known.items()} | dict(known)
        return {name: value for name, value in both.items() if name in on_tiles}

    return extended.with_ranges(of_both(plan.ranges)).with_copies(graph, of_both(plan.copies))


def _sum(one: Sensitivity | None, other: Sensitivity | None) -> Sensitivity | None:
    """Sensitivity of both parts of a layer, whose errors are independent; bounds are added."""
    if one is None or other is None:
        return None
    both = None
    if one.interval is not None and other.interval is not None:
        both = one.interval[0] + other.interval[0], one.interval[1] + other.interval[1]
    parts = {"by_weights": None, "by_outputs": None}  # of predictions, which the sum is not one of
    return one.model_copy(
        update={"mean": one.mean + other.mean, "std": float(np.hypot(one.std, other.std)), "interval": both, **parts}
    )


def _note(before: PreparedNetwork, after: PreparedNetwork, damages: dict[str, Floats]) -> str:
    """How many columns are digital, what they cost, and what they are predicted to bring."""
    chosen = after.plan.digital_columns
    if not chosen:
        return "--digital-columns: no column is digital: none can be computed apart within the given share"
    apart = {columns_of(name) for name in chosen}
    rows = [row for row in after.plan.layers if row.name in apart]
    may = [row for row in before.plan.layers if row.name in before.measurable]
    total = sum(float(np.maximum(of_layer, 0).sum()) for of_layer in damages.values())
    gone = sum(float(damages[name][list(columns)].sum()) for name, columns in chosen.items() if name in damages)
    weights = sum(row.parameters for row in rows) / sum(row.parameters for row in may)
    macs = sum(row.macs for row in rows) / sum(row.macs for row in may)
    what = (
        "may be digital alone"
        if after.split is not None and after.split.joins
        else "are digital whatever the placement"
    )
    return (
        f"{counted(sum(map(len, chosen.values())), 'column')} of {counted(len(rows), 'layer')} {what}:"
        f" {share_text(weights)} of the weights and {share_text(macs)} of the MACs of layers that may be analog,"
        f" with {share_text(gone / total)} of the predicted damage"
    )
