"""Leave copies of weights out where they would do harm.

With k copies in a column the sum is k times as great. Where it is beyond the ADC's bound, bound management halves the
inputs, which costs reads, and bits of the DAC, which all copies share. So what layers answer with all copies that are
read again is compared with what they answer with fewer, and what they cost with what they cost on digital cores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.measure.checks import CheckCopied
from lhc.options.subjects import CopiesOptions
from lhc.passes import PayingCopies
from lhc.passes.paying_copies import halved
from lhc.study.prepare import Decide
from lhc.study.state import Study
from lhc.study.tile_ranges import SUM_SAMPLES, RankingBlocks
from lhc.support.numbers import counted, ratio

__all__ = ["CheckCopies"]

CHIPS = 2
"""Chips that are compared, the first of the search."""
CHANCE = 1.5
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

    def apply(self, study: Study) -> Study:
        """The study whose layers have no copies that do harm; a plan that is followed stays."""
        if study.follow is not None:
            return study
        study = self._accurate(study)
        return Decide(PayingCopies(study.goal.objective)).apply(study) if self.copies == "auto" else study

    def _accurate(self, study: Study) -> Study:
        """With no number of copies that makes products clearly worse than half, a quarter, … of them, or one do."""
        sums, titles = study.plan.sums, study.plan.titles
        copies = {name: k for name, k in study.plan.copies.items() if k * max(sums.get(name, (0.0,))) > 1}
        errors = _errors(study, copies)
        best = {name: min(found, key=found.__getitem__) for name, found in errors.items()}
        harm = [name for name, k in copies.items() if errors[name][k] > CHANCE * errors[name][best[name]] > 0]
        if not harm:
            return study
        told = ", ".join(
            f"{titles[name]} {ratio(errors[name][copies[name]] / errors[name][best[name]])} times with {copies[name]}"
            f" against {best[name]}"
            for name in harm[:LISTED]
        )
        told = (
            f"copies of weights do harm to {counted(len(harm), 'layer')}: sums beyond the ADC's bound are read again"
            " with coarser inputs. Squared errors of products:"
            f" {told}{', …' if len(harm) > LISTED else ''} ({CHIPS} chips)"
        )
        if self.copies != "auto":
            study.opened.warn(f"--copies {self.copies}: {told}; leave the option out, and such layers get fewer")
            return study
        return _with(study, {name: best[name] for name in harm}).noted(f"{told}; they get the fewer")


def _errors(study: Study, copies: Mapping[str, int]) -> dict[str, dict[int, float]]:
    """Errors of products with so many copies, half of them, …, and one: layer -> copies -> error."""
    found: dict[str, dict[int, float]] = {name: {} for name in copies}
    if not copies:
        return found
    bench = RankingBlocks(study, SUM_SAMPLES).bench
    for step in range(max(len(halved(count)) for count in copies.values())):
        some = {name: halved(k)[step] for name, k in copies.items() if step < len(halved(k))}
        errors = bench.checked(CheckCopied(tuple(some.items()), study.t_s, CHIPS), SUM_SAMPLES)
        for name, error in zip(some, errors.tolist(), strict=True):
            found[name][some[name]] = error
    return found


def _with(study: Study, copies: Mapping[str, int]) -> Study:
    """Layers on the same tiles have the fewest that one of them is to have."""
    shared: dict[str, int] = {}
    for tie in study.graph.tied(study.measurable):
        wanted = [copies[name] for name in tie if name in copies]
        if wanted:
            shared |= dict.fromkeys(tie, min(wanted))
    return replace(study, plan=study.plan.with_copies(study.graph, shared))
