"""Check the emulation of the placement that is kept, and write down in the plan what was found."""

from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.measure.emulation import SAMPLES, placement_conformance
from lhc.study.state import Study

__all__ = ["CheckEmulation"]


@dataclass(frozen=True)
class CheckEmulation:
    """Compare the engine ``fast`` with ``aihwkit`` on every analog layer; nothing where ``aihwkit`` computed all."""

    name: ClassVar[str] = "check-emulation"
    requires: ClassVar[frozenset[str]] = frozenset({"outcome"})
    ensures: ClassVar[frozenset[str]] = frozenset({"conformance"})

    def apply(self, study: Study) -> Study:
        """The study whose plan says how engines agree."""
        if study.engine != "fast" or not study.plan.analog:
            return study
        bench = study.bench(study.splits.judged.head(SAMPLES), limited=False)
        found = placement_conformance(bench, study.plan.analog)
        return replace(study, plan=study.plan.model_copy(update={"conformance": found}))
