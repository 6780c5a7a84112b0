"""The parity gate as a pass: keep digital what the emulation does not reproduce."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lhc.graph import LayerGraph
from lhc.passes.base import Pass, PassResult
from lhc.plan import Placement, Plan, Reason

__all__ = ["ParityGate"]


@dataclass(frozen=True)
class ParityGate(Pass):
    """Exclude layers whose noise-free emulation differs from onnxruntime, forced ones too.

    Attributes:
        errors: layer -> error relative to its output's greatest magnitude.
        tolerance: greatest error that is allowed.
    """

    errors: Mapping[str, float]
    tolerance: float
    name: ClassVar[str] = "parity"

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        may_be_analog = plan.analog.union(plan.eligible)
        failed = {n: error for n, error in self.errors.items() if n in may_be_analog and not error <= self.tolerance}
        decisions: dict[str, tuple[Placement, Reason, str]] = {}
        for name, error in failed.items():
            by = f"by {error:.2g} of the output's greatest magnitude (allowed {self.tolerance:.0e})"
            why = "its values on these samples are NaN or infinite, or of another shape than onnxruntime's"
            why = f"noise-free tiles differ from onnxruntime {by}" if math.isfinite(error) else why
            decisions[name] = ("digital", "parity", why)
        titles = plan.titles
        notes = tuple(f"{titles[name]} stays digital: {detail}" for name, (_, _, detail) in decisions.items())
        return PassResult(plan.decide(decisions), notes)
