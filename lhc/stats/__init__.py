"""Intervals and bounds: what is random, and how sure a mean is. docs/statistics.md explains the choice."""

from lhc.stats.binomial_bounds import changed_answer_margins, failures_allowed, greatest_share, least_draws
from lhc.stats.intervals import (
    CONFIDENCE,
    by_document,
    chance_of_difference,
    chips_needed,
    clipped,
    effective_documents,
    hull,
    members,
    one_sided,
    over_draws,
    over_draws_and_samples,
    samples_needed,
    split_level,
    summarize,
    two_sided,
)
from lhc.stats.rank_correlation import rank_correlation
from lhc.stats.sequential_testing import Prospect, look_errors, look_schedule

__all__ = [
    "CONFIDENCE",
    "Prospect",
    "by_document",
    "chance_of_difference",
    "changed_answer_margins",
    "chips_needed",
    "clipped",
    "effective_documents",
    "failures_allowed",
    "greatest_share",
    "hull",
    "least_draws",
    "look_errors",
    "look_schedule",
    "members",
    "one_sided",
    "over_draws",
    "over_draws_and_samples",
    "rank_correlation",
    "samples_needed",
    "split_level",
    "summarize",
    "two_sided",
]
