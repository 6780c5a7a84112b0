"""Digital columns of layers on tiles: those that errors hurt most.

A column (an output of the product) is worth its damage for what it costs: weights, which the digital side has to store,
or MACs, which it has to compute. Columns are taken from the worst on, whatever layer they are of, until they are the
share that the user allows (weights kept off the devices: Dash et al. 2022, Harmonica, ODiMO). Layers that share their
weights lose the same columns. One column at least stays on tiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from lhc.graph import LayerGraph
from lhc.options.shared import ColumnsBy
from lhc.passes.base import Pass, PassResult
from lhc.plan import LayerPlan, Plan


@dataclass(frozen=True)
class ChooseDigitalColumns(Pass):
    """Put the worst columns on the digital side.

    Attributes:
        share: most that may be digital so, of the layers that may be analog.
        damages: layer -> what each of its columns does alone, ``(columns,)``; of layers that can be split.
        each: it is the share of every layer, one column at least.
    """

    share: float
    by: ColumnsBy = "macs"
    damages: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    each: bool = False
    name: ClassVar[str] = "choose-digital-columns"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified"})

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        groups = graph.tied(row.name for row in plan.layers if row.may_be_analog)
        rows = {row.name: row for row in plan.layers}
        costs = {group[0]: self._cost([rows[name] for name in group]) for group in groups}
        sizes = {name: costs[name] / len(damages) for name, damages in self.damages.items()}
        chosen = self._of_each() if self.each else self._of_all(sizes, self.share * sum(costs.values()))
        columns = {name: tuple(sorted(chosen.get(group[0], ()))) for group in groups for name in group}
        return PassResult(plan.with_digital_columns(columns))

    def _of_each(self) -> dict[str, list[int]]:
        """The worst of every layer, where any does damage."""
        harmful = {name: damages for name, damages in self.damages.items() if (damages > 0).any()}
        counts = {name: max(1, round(self.share * len(damages))) for name, damages in harmful.items()}
        return {name: np.argsort(-d, kind="stable")[: counts[name]].tolist() for name, d in harmful.items()}

    def _of_all(self, sizes: Mapping[str, float], room: float) -> dict[str, list[int]]:
        """The worst for their cost, whatever layer they are of; ``sizes``: cost of a layer's column."""
        chosen: dict[str, list[int]] = {}
        for _, name, column in sorted(
            (-float(damage) / sizes[name], name, column)
            for name, damages in self.damages.items()
            for column, damage in enumerate(damages)
            if damage > 0 and sizes[name] > 0  # what costs nothing by its stated shapes takes no share
        ):
            own = chosen.setdefault(name, [])
            if sizes[name] <= room and len(own) + 1 < len(self.damages[name]):
                own.append(column)
                room -= sizes[name]
        return chosen

    def _cost(self, rows: list[LayerPlan]) -> int:
        """Cost of digital columns of layers that share their weights."""
        return rows[0].parameters if self.by == "weights" else sum(row.macs for row in rows)
