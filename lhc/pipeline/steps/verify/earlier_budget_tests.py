"""Tests of the same weights by the same budget that earlier commands made.

Whoever tests until a test passes accepts wrongly more often: where tests err with the chances e1, e2, …, one of them
errs with a chance of at most e1 + e2 + … (Bonferroni). A file says how the test of its weights went; that chance is
added to the one of a new test. A test that showed the budget to hold stands, whatever fewer samples show later.
"""

from lhc.errors import ModelError
from lhc.measure import Budget
from lhc.onnx_io import read_plan
from lhc.onnx_model import OnnxModel
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.plan import Outcome, Plan
from lhc.stats import CONFIDENCE, DIGITS, one_sided

ASSUMED = one_sided(CONFIDENCE)
"""Chance of error of a test by a version of lhc that did not write it down."""
_SAME = ("data", "seed", "first_draw", "draws", "value", "interval")
"""Equal only where a test is the same one, done once more."""


def plan_of_file(model: OnnxModel) -> Plan | None:
    """The plan that a model carries; None where it carries none that can be read, since it is to be replaced anyway."""
    try:
        return read_plan(model)
    except ModelError:
        return None


def failed_test(stored: Plan | None, state: PreparedNetwork, budget: Budget) -> Outcome | None:
    """A test that these weights did not pass, by a budget that was no stricter; None where there was none.

    Args:
        stored: what a file says of its weights.
        state: the network and the machine that are to be tested.
    """
    outcome = _test_of(stored, state, budget)
    if outcome is None or outcome.within_budget:
        return None
    stricter = (
        budget.max_drop <= outcome.max_drop
        and budget.generalize >= outcome.generalized
        and (budget.share or 0) >= (outcome.yield_share or 0)
        and state.t_s >= outcome.t_s
    )
    return outcome if stricter else None


def passed_test(stored: Plan | None, state: PreparedNetwork, budget: Budget, analog: frozenset[str]) -> Outcome | None:
    """A test that this placement of these weights passed, by a budget that was no laxer; None where there was none.

    Arguments as those of `failed_test`.
    """
    outcome = _test_of(stored, state, budget)
    if outcome is None or not outcome.within_budget or not as_tested(state, analog, stored):
        return None
    laxer = (
        budget.max_drop >= outcome.max_drop
        and budget.generalize <= outcome.generalized
        and (budget.share or 0) <= (outcome.yield_share or 0)
        and state.t_s == outcome.t_s
        and state.options.scored in (None, outcome.output)
        and (ASSUMED if outcome.error is None else outcome.error / outcome.tests) <= _error(budget)
    )
    return outcome if laxer else None


def _error(budget: Budget) -> float:
    """Chance of error of a test, give or take its rounding."""
    return one_sided(budget.confidence) * (1 + 1e-9)


def _test_of(stored: Plan | None, state: PreparedNetwork, budget: Budget) -> Outcome | None:
    """The test that a file has of these weights on this machine, in the metric and unit of a budget."""
    outcome = None if stored is None else stored.outcome
    if stored is None or outcome is None:
        return None
    # By its name: plans hold what was found for a machine (ranges of ADCs, tiles of layers) in its description.
    asked = (state.model.source, state.plan.hardware.name, state.task.metric.name, budget.drop_type)
    found = (stored.source, stored.hardware.name, outcome.metric, outcome.drop_type)
    return outcome if found == asked else None


def as_tested(state: PreparedNetwork, analog: frozenset[str], stored: Plan | None) -> bool:
    """Whether a placement is the one that a file has the test of: the same layers, copies and machine."""
    if stored is None or stored.analog != analog or not stored.hardware.infers_as(state.plan.hardware):
        return False
    before, now = stored.copies, state.plan.copies
    return all(before.get(name, 1) == now.get(name, 1) for name in analog)


def with_earlier(outcome: Outcome, error: float, earlier: Outcome | None) -> Outcome:
    """An outcome that counts the tests before it.

    Args:
        error: chance that this command accepts wrongly.
        earlier: of a test that the weights, or those that they were trained from, did not pass.
    """
    if earlier is None:
        return outcome.model_copy(update={"error": error})
    before = ASSUMED if earlier.error is None else earlier.error
    if all(getattr(outcome, name) == getattr(earlier, name) for name in _SAME):
        return outcome.model_copy(update={"error": before, "tests": earlier.tests})
    return outcome.model_copy(update={"error": min(round(before + error, DIGITS), 1.0), "tests": earlier.tests + 1})
