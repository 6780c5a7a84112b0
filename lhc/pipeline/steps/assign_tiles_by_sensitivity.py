"""Tile assignment as a step: the least sensitive layers go on the worst tiles (`lhc.passes.decide.tile_assignment`).

How sensitive a layer is to its tiles is predicted from gradients (`lhc.measure.sensitivity.fisher_prediction`, the part
of weights) for tiles that are alike: a measurement would have the tiles in it that the layer lies on.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.errors import ModelError, OutOfTimeError
from lhc.measure.sensitivity.fisher_prediction import fisher_sensitivity
from lhc.passes.decide.tile_assignment import assign_tiles
from lhc.pipeline.pipeline_state import StateT


@dataclass(frozen=True)
class ArrangeTiles:
    """Give tiles that differ to layers by how sensitive these are, where nobody has said which hold which."""

    name: ClassVar[str] = "arrange-tiles"
    requires: ClassVar[frozenset[str]] = frozenset({"parity", "ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, state: StateT) -> StateT:
        """The state with a machine that says so; as it is where tiles are alike or were arranged before."""
        machine = state.plan.hardware
        if machine.arranged_by != "file" or not machine.faults.remap:
            return state
        samples = state.splits.rank
        metric = state.ranking_metric(samples, state.task.metric)
        alike = state.plan.model_copy(update={"hardware": machine.with_tiles_alike})
        evaluator = replace(state, plan=alike).evaluator(samples.with_metric(metric))
        try:
            found = fisher_sensitivity(evaluator, state.graph, state.measurable)
        except (ModelError, OutOfTimeError) as error:
            return state.noted(f"tiles are given to layers in the order of the file: gradients are missing ({error})")
        damages = {name: one.by_weights or 0.0 for name, one in found.table.layers.items()}
        arranged = assign_tiles(state.graph, machine, damages)
        return replace(state, plan=state.plan.model_copy(update={"hardware": arranged}))
