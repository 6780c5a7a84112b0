"""``lhc.sensitivity``: damage of single layers."""

from lhc.measure import Running
from lhc.options.by_command import SensitivityOptions
from lhc.options.declaration.option_fields import part
from lhc.options.declaration.python_signature import keywords
from lhc.options.shared import LayerSelection
from lhc.passes import ChooseCopies, Pipeline, Qualify, Select
from lhc.pipeline.pipeline_state import READ, PreparedNetwork, RankedNetwork
from lhc.pipeline.steps.heal.harmful_calibration import CheckCalibration
from lhc.pipeline.steps.heal.harmful_copies import CheckCopies
from lhc.pipeline.steps.prepare import CheckJudged, CheckParity, Decide, KeepPlaced, read
from lhc.pipeline.steps.range_calibration import CalibrateRanges
from lhc.pipeline.steps.rank import MeasureLayers
from lhc.plan import Plan
from lhc.results import SensitivityTable


def pipeline(options: SensitivityOptions) -> Pipeline[PreparedNetwork, RankedNetwork]:
    """The steps of ``lhc sensitivity``."""
    return Pipeline("sensitivity", (preparing(options), CheckCalibration(), MeasureLayers(options)), READ).checked()


def preparing(options: LayerSelection, placed: Plan | None = None) -> Pipeline[PreparedNetwork, PreparedNetwork]:
    """Steps before any layer is measured; ``placed``: a placement on the same machine, whose copies layers have."""
    decided = Decide(Qualify()), Decide(part(options, Select)), CheckJudged()
    if placed is not None:
        return Pipeline("prepare", (*decided, KeepPlaced(placed), CheckParity(), CalibrateRanges()))
    copies, checked = Decide(part(options, ChooseCopies)), part(options, CheckCopies)
    return Pipeline("prepare", (*decided, copies, CheckParity(), CalibrateRanges(), checked))


@keywords(SensitivityOptions)
def sensitivity(options: SensitivityOptions) -> SensitivityTable:
    """Damage of every eligible layer when it alone is analog, on all samples given.

    ``metric`` is in whose unit damage is measured; by default ``kl`` where the output holds classes, else ``nmse``.
    """
    steps = pipeline(options)
    with Running(options) as running:
        state = steps.apply(read(options, running, options.t_s, ranks=options.metric is None))
    return state.ranking
