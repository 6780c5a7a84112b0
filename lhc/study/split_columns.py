"""Split layers so that their worst columns are computed digitally, before anything is ranked or searched.

Columns are weighed by gradients (`lhc.measure.fisher.column_damages`), which takes some backward passes over samples
that rank and no measurement. The digital network computes what it computed; its plan has a row more for every layer
that is split, and the search places the rest of the layer.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.canonical import splittable
from lhc.errors import ModelError, OutOfTimeError
from lhc.graph import TILES, LayerGraph
from lhc.measure import PlacementJudge, ranking_metric
from lhc.measure.fisher import Floats, column_damages
from lhc.options.columns_options import ColumnsBy
from lhc.passes import ChooseDigitalColumns, qualified_plan
from lhc.plan import LayerPlan, Plan
from lhc.study.state import Study
from lhc.support.numbers import counted, share_text

__all__ = ["JoinDigital", "SplitColumns", "damages_of_columns"]

SAMPLES = 256
CHIPS = 4
"""Most samples and chips that columns are weighed on."""
SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
"""Tried one after the other, where none is named."""
EASILY, EASILY_ONE_BY_ONE = 0.8, 0.4
"""Shares of the budget: what a test of a mean drop shows with few chips, and of chips one by one."""


@dataclass(frozen=True)
class SplitColumns:
    """Make the worst columns digital, of the network as it was given; a plan that is followed has its own.

    Attributes:
        share: most that may be digital so, of the layers that may be analog; 0 splits nothing. None: the least of
            `SHARES` with which everything else on tiles seems to hold the budget, on what guides the search.
        by: what it is a share of.
    """

    share: float | None
    by: ColumnsBy = "macs"
    name: ClassVar[str] = "split-columns"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified", "parity", "ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, study: Study) -> Study:
        """The study of the split network.

        Raises:
            ModelError: the network has no gradients.
        """
        split_before = any(row.weight is not None and row.weight.endswith(TILES) for row in study.plan.layers)
        if self.share == 0 or study.follow is not None or split_before:
            return study
        try:
            return self._split(study)
        except OutOfTimeError:
            return study.noted("--timeout: columns were not weighed, so none is digital")

    def _split(self, study: Study) -> Study:
        if self.share is None and _holds(study):
            return study.noted("--digital-columns auto: none is digital, everything on tiles seems to hold the budget")
        damages, after = damages_of_columns(study), study
        for share in SHARES if self.share is None else (self.share,):
            after = _with_columns(study, ChooseDigitalColumns(share, self.by, damages))
            if self.share is None and _holds(after):
                break
        return after.noted(_note(study, after, damages))


def _with_columns(study: Study, choose: ChooseDigitalColumns) -> Study:
    """The study of the network whose columns are chosen so."""
    plan = choose.run(study.graph, study.plan).plan
    opened = study.opened.split_as(plan)
    graph = opened.graph(None, study.task)
    return replace(study, opened=opened, graph=graph, plan=_extended(plan, graph), whole=study.opened)


def _holds(study: Study) -> bool:
    """Whether all that may be analog drops so little, on what guides a search, that a test would easily show it."""
    budget = study.allowed
    judge = PlacementJudge(study.bench(study.splits.rank), budget, "weighing columns:")
    drop = judge.within(frozenset(study.measurable)).evaluation.drop
    return drop <= (EASILY if budget.share is None else EASILY_ONE_BY_ONE) * budget.max_drop


@dataclass(frozen=True)
class JoinDigital:
    """Make layers whole again that are all digital in the placement that is kept; nothing computes otherwise."""

    name: ClassVar[str] = "join-digital"
    requires: ClassVar[frozenset[str]] = frozenset({"outcome"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, study: Study) -> Study:
        """The study of the network in which no digital layer is split."""
        plan = study.plan
        joined = {name: () for name in plan.digital_columns if name not in plan.analog}
        if not joined or study.whole is None:
            return study
        plan = plan.with_digital_columns(joined)
        opened = study.whole.split_as(plan)
        graph = opened.graph(None, study.task)
        return replace(study, opened=opened, graph=graph, plan=_extended(plan, graph))


def damages_of_columns(study: Study) -> dict[str, Floats]:
    """Damage of every column of the layers that can be split, by layer, on samples that rank.

    Raises:
        ModelError: the network has no gradients.
    """
    names = [name for name in study.measurable if splittable(study.model, study.graph[name])]
    if not names:
        return {}
    samples = study.splits.rank.head(SAMPLES)
    metric = ranking_metric(None, study.bench(samples).example_output, samples.targets)
    bench = study.bench(samples.with_metric(metric))
    bench = replace(bench, draws=min(bench.draws, CHIPS))
    try:
        return column_damages(bench, study.graph, names)
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
        same = old.macs == new.macs
        detail = old.detail if same or old.placement == "analog" else f"{old.detail} (without its worst columns)"
        decided = {"placement": old.placement, "reason": old.reason, "detail": detail}
        return new.model_copy(update={**decided, "sensitivity": old.sensitivity if same else None})

    extended = plan.model_copy(update={"layers": tuple(map(row, fresh.layers))})
    return extended.with_ranges(plan.ranges).with_copies(graph, plan.copies)


def _note(before: Study, after: Study, damages: dict[str, Floats]) -> str:
    """How many columns are digital, what they cost, and what they are predicted to bring."""
    chosen = after.plan.digital_columns
    if not chosen:
        return "--digital-columns: no column is digital: none can be computed apart within that share of the weights"
    rows = [row for row in after.plan.layers if row.reason == "columns"]
    may = [row for row in before.plan.layers if row.name in before.measurable]
    total = sum(float(np.maximum(of_layer, 0).sum()) for of_layer in damages.values())
    gone = sum(float(damages[name][list(columns)].sum()) for name, columns in chosen.items() if name in damages)
    weights = sum(row.parameters for row in rows) / sum(row.parameters for row in may)
    macs = sum(row.macs for row in rows) / sum(row.macs for row in may)
    return (
        f"{counted(sum(map(len, chosen.values())), 'column')} of {counted(len(rows), 'layer')} are digital whatever the"
        f" placement: {share_text(weights)} of the weights and {share_text(macs)} of the MACs of the layers that may be"
        f" analog, and {share_text(gone / total)} of the damage that gradients predict"
    )
