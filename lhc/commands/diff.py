"""Two placements side by side."""

from lhc.commands.report import planned
from lhc.onnx_model import ModelSource
from lhc.plan import Plan
from lhc.report.tables.difference import PlanDiff, compare


def diff(before: ModelSource | Plan, after: ModelSource | Plan) -> PlanDiff:
    """Differences between two placements, of annotated models or plans: layers, sensitivities, outcome, hardware.

    Raises:
        UsageError: a model carries no placement.
        ModelError: a model cannot be read.
    """
    one, two = (side if isinstance(side, Plan) else planned(side)[0] for side in (before, after))
    return compare(one, two)
