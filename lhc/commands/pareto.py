"""The whole trade-off of accuracy against what a placement is to be good at."""

from lhc.commands.sensitivity import preparing
from lhc.errors import UsageError
from lhc.measure import Running
from lhc.options.commands import ParetoOptions
from lhc.options.signature import keywords
from lhc.passes import STRATEGIES, Pipeline
from lhc.results import Front
from lhc.stats import check_confidence
from lhc.study.front import MeasureFront
from lhc.study.goal import with_goal
from lhc.study.prepare import read
from lhc.study.rank import Rank
from lhc.study.state import READ, Study

__all__ = ["pareto", "pipeline"]


def pipeline(options: ParetoOptions) -> Pipeline[Study]:
    """The steps of ``lhc pareto``."""
    front = (Rank(options.method, STRATEGIES["milp"], always=True), MeasureFront(options.points, options.confidence))
    return Pipeline("pareto", (preparing(options), *front), READ).checked()


@keywords(ParetoOptions)
def pareto(options: ParetoOptions) -> Front:
    """The front of accuracy against an objective; its intervals hold together.

    ``confidence`` is the two-sided level of all intervals together.
    """
    check_confidence(options.confidence)
    if options.points < 2:
        raise UsageError(f"--points must be at least 2, got {options.points}")
    steps = pipeline(options)
    with Running(options) as running:
        study = with_goal(read(options, running, options.t_inference), options, STRATEGIES["milp"])
        study = steps.apply(study)
    assert study.front is not None
    return study.front
