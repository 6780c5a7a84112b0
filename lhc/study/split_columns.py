"""Split layers so that their worst columns are computed digitally, before anything is ranked or searched.

Columns are weighed by gradients (`lhc.measure.fisher.column_damages`), which takes some backward passes over samples
that rank and no measurement. The digital network computes what it computed; its plan has a row more for every layer
that is split, and the search places the rest of the layer.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.canonical import splittable
from lhc.errors import ModelError
from lhc.graph import TILES, LayerGraph
from lhc.measure import ranking_metric
from lhc.measure.fisher import Floats, column_damages
from lhc.options.columns_options import ColumnsBy
from lhc.passes import ChooseDigitalColumns, Qualify, initial_plan
from lhc.plan import LayerPlan, Plan
from lhc.study.state import Study
from lhc.support.numbers import counted, share_text
from lhc.support.version import VERSION

__all__ = ["JoinDigital", "SplitColumns", "damages_of_columns"]

SAMPLES = 256
CHIPS = 4
"""Most samples and chips that columns are weighed on."""


@dataclass(frozen=True)
class SplitColumns:
    """Make the worst columns digital, of the network as it was given; a plan that is followed has its own.

    Attributes:
        share: most that may be digital so, of the layers that may be analog; 0 splits nothing.
        by: what it is a share of.
    """

    share: float
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
        damages = damages_of_columns(study)
        plan = ChooseDigitalColumns(self.share, self.by, damages).run(study.graph, study.plan).plan
        opened = study.opened.split_as(plan)
        graph = opened.graph(None, study.task)
        after = replace(study, opened=opened, graph=graph, plan=_extended(plan, graph), whole=study.opened)
        return after.noted(_note(study, after, damages))


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
    fresh = Qualify().run(graph, initial_plan(graph, plan.hardware, plan.source, VERSION)).plan
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
