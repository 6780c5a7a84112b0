"""Which layers stand in the way of a budget, in words."""

from typing import TYPE_CHECKING

from lhc.plan import Outcome, Plan
from lhc.plan.recurrent_steps import layers_among
from lhc.report.text import budget_word, points
from lhc.support.numbers import counted

if TYPE_CHECKING:  # words of a plan alone need nothing that was measured
    from lhc.results import Evaluation, Infeasibility

__all__ = ["explained_layers", "in_the_way"]


def in_the_way(found: "Infeasibility", outcome: Outcome, plan: Plan) -> str:
    """The layers that a search left out to have the rest hold, and whether other chips show that it does.

    Nothing where none were looked for, or there was no time.
    """
    if found.all_in_the_way:
        analog = list(layers_among(plan, found.analog))
        if len(analog) == 1:
            return f"{analog[0]}, the only {explained_layers(found, plan, 1)}"
        which = explained_layers(found, plan, len(analog))
        return f"all {len(analog)} {which}: with fewer of them digital, the others were not found to hold the budget"
    if found.without is None:
        return ""
    names = layers_among(plan, found.in_the_way)
    listed, number = ", ".join(names), counted(len(names), "layer")
    order, them = (", the most damaging first", "them") if len(names) > 1 else ("", "it")
    drop = f"the mean {outcome.drop_word} is {_at_most(outcome, found.without)}"
    if _holds(outcome, found.without):
        return f"{number}{order}: {listed}; with {them} digital {drop}"
    none = "no set of layers was found whose digital execution is shown to bring the rest within the budget"
    return f"{none}; with {number} digital{order}, {drop}: {listed}"


def explained_layers(found: "Infeasibility", plan: Plan, number: int) -> str:
    """What the layers of the placement that is explained are: it may have been tested, and another one placed."""
    layers = "layer" if number == 1 else "layers"
    if frozenset(found.analog) == plan.analog:
        return f"analog {layers}"
    return f"{layers} that {'was' if number == 1 else 'were'} tested on tiles"


def _holds(outcome: Outcome, found: "Evaluation") -> bool:
    """Whether a placement is shown to hold the budget; one draw shows nothing."""
    interval = found.deciding(outcome.generalized)
    return interval is not None and interval[1] <= outcome.max_drop


def _at_most(outcome: Outcome, found: "Evaluation") -> str:
    """A drop, and the bound of it that decides, with whether that is within the budget."""
    interval = found.deciding(outcome.generalized)
    if interval is None:
        return points(outcome, found.drop)
    bound = points(outcome, interval[1])
    return f"{points(outcome, found.drop)}, at most {bound}, {budget_word(_holds(outcome, found))}"
