"""What a user should know about a measurement before trusting it; told to the logger ``lhc``."""

import logging

from lhc.measure.bench import Bench
from lhc.measure.judge import Budget
from lhc.results import Verdict
from lhc.stats import samples_needed

__all__ = ["warn_of_chance", "warn_of_few_samples", "warn_of_other_samples"]

log = logging.getLogger("lhc")


def warn_of_few_samples(verify: Bench, budget: Budget) -> None:
    """Say so before measuring when the samples cannot show that the budget holds for other samples too.

    For shares only. The assumption: three times as many samples change between right and wrong as the budget allows to
    be lost, at least one in a hundred.
    """
    if not verify.metric.percent or budget.max_drop == 0:
        return
    drop = budget.max_drop * (verify.baseline if budget.relative else 1)
    needed = samples_needed(drop, max(3 * drop, 0.01), budget.confidence)
    if verify.samples < needed:
        log.warning(
            "%d samples verify the budget of %.2g; to show that it holds for other samples too takes about %d",
            verify.samples,
            budget.max_drop,
            needed,
        )


def warn_of_other_samples(verdict: Verdict, budget: Budget) -> None:
    """Say so when an accepted placement is not shown to hold the budget for other samples."""
    interval = verdict.evaluation.sample_interval
    if verdict.accepted and not budget.generalize and (interval is None or interval[1] > budget.max_drop):
        log.warning("the budget holds for these samples; for others of their kind it is not shown (--generalize)")


def warn_of_chance(verify: Bench) -> None:
    """Say so when the digital network itself is no better than chance: then labels or inputs are wrong."""
    classes = verify.example_output.shape[-1]
    if verify.metric.name == "accuracy" and verify.baseline <= 1 / classes:
        log.warning(
            "the digital network is right on %.1f %% of the samples, no better than chance for %d classes: do the"
            " labels and the preprocessing belong to this network?",
            100 * verify.baseline,
            classes,
        )
