"""Copies of weights, fewer where they make a layer worse, or dearer than digital.

With k copies in a column the sum is k times as great. Where it is beyond the ADC's bound, bound management halves the
inputs, which costs reads, and bits of the DAC, which all copies share. So what layers answer with all copies that are
read again is compared with what they answer with fewer, and what they cost with what they cost on digital cores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.measure.preflight_checks import CheckCopied
from lhc.options.shared import CopiesOptions
from lhc.passes import ProfitableCopies
from lhc.passes.decide.copies_that_pay import halved
from lhc.pipeline.pipeline_state import PreparedNetwork, StateT
from lhc.pipeline.steps.heal.harmful_calibration import CHIPS
from lhc.pipeline.steps.prepare import Decide
from lhc.pipeline.steps.range_calibration import SUM_SAMPLES, RankingBlocks
from lhc.support.number_formatting import counted, ratio

COPIES_CHANCE = 1.5
"""Ratio of two errors that few chips and samples make; harm is several times as much."""
LISTED = 4


@dataclass(frozen=True)
class CheckCopies(CopiesOptions):
    """Give layers fewer copies where all that their tiles have room for make them worse, or dearer than digital.

    Copies that the user asks for stay, and harm is told.
    """

    name: ClassVar[str] = "check-copies"
    requires: ClassVar[frozenset[str]] = frozenset({"ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, state: StateT) -> StateT:
        """The network whose layers have no copies that do harm."""
        state = self._accurate(state)
        return Decide(ProfitableCopies(state.goal.objective)).apply(state) if self.copies == "auto" else state

    def _accurate(self, state: StateT) -> StateT:
        """With no number of copies that makes products clearly worse than half, a quarter, … of them, or one do."""
        sums, titles = state.plan.sums, state.plan.titles
        copies = {name: k for name, k in state.plan.copies.items() if k * max(sums.get(name, (0.0,))) > 1}
        errors = _errors(state, copies)
        best = {name: min(found, key=found.__getitem__) for name, found in errors.items()}
        harm = [name for name, k in copies.items() if errors[name][k] > COPIES_CHANCE * errors[name][best[name]] > 0]
        if not harm:
            return state
        told = ", ".join(
            f"{titles[name]} {ratio(errors[name][copies[name]] / errors[name][best[name]])} times as large with"
            f" {copies[name]} as with {best[name]}"
            for name in harm[:LISTED]
        )
        told = (
            f"copies of weights do harm to {counted(len(harm), 'layer')}: sums beyond the ADC's bound are read again"
            " with coarser inputs. Squared errors of products:"
            f" {told}{', …' if len(harm) > LISTED else ''} ({CHIPS} chips)"
        )
        if self.copies != "auto":
            state.opened.warn(f"--copies {self.copies}: {told}; leave the option out, and such layers get fewer")
            return state
        return _with(state, {name: best[name] for name in harm}).noted(f"{told}; they get fewer copies")


def _errors(state: PreparedNetwork, copies: Mapping[str, int]) -> dict[str, dict[int, float]]:
    """Errors of products with so many copies, half of them, …, and one: layer -> copies -> error."""
    found: dict[str, dict[int, float]] = {name: {} for name in copies}
    if not copies:
        return found
    evaluator = RankingBlocks(state, SUM_SAMPLES).evaluator
    for step in range(max(len(halved(count)) for count in copies.values())):
        some = {name: halved(k)[step] for name, k in copies.items() if step < len(halved(k))}
        errors = evaluator.checked(CheckCopied(tuple(some.items()), state.t_s, CHIPS), SUM_SAMPLES)
        for name, error in zip(some, errors.tolist(), strict=True):
            found[name][some[name]] = error
    return found


def _with(state: StateT, copies: Mapping[str, int]) -> StateT:
    """Layers on the same tiles have the fewest that one of them is to have."""
    fewest = state.graph.least_of_tied(copies, state.measurable)
    return replace(state, plan=state.plan.with_copies(state.graph, fewest))
