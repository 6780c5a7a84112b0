"""JSON documents and lines about fronts and budgets that cannot be met."""

from collections.abc import Iterator

from pydantic import TypeAdapter

from lhc.plan import Plan
from lhc.report.text import budget_text, counted, points
from lhc.results import Infeasibility

__all__ = ["infeasibility", "infeasibility_lines"]


def infeasibility(found: Infeasibility | None) -> object:
    """Why a budget cannot be met, as JSON."""
    return None if found is None else TypeAdapter(Infeasibility).dump_python(found, mode="json")


def infeasibility_lines(found: Infeasibility | None, plan: Plan) -> Iterator[str]:
    """The same in sentences."""
    outcome = plan.outcome
    if found is None or outcome is None:
        return
    share = outcome.percent or outcome.drop_type == "relative"

    yield f"least drop reachable within the limits: {points(outcome, found.least.drop)}"
    verified = counted(len(found.analog), "analog layer")
    yield f"nearest budget that the {verified} hold: --max-drop {budget_text(found.nearest_budget, share)}"
    if found.without is not None:
        names, one = ", ".join(plan.titles[name] for name in found.in_the_way), len(found.in_the_way) == 1
        interval = found.without.sample_interval if outcome.generalized else found.without.drop_interval
        most = "" if interval is None else f", at most {points(outcome, interval[1])}"
        layers, them = counted(len(found.in_the_way), "layer"), "it" if one else "them"
        drop = points(outcome, found.without.drop)
        yield f"in the way: {layers}: {names}; with {them} digital the drop is {drop}{most}"
    for remedy in found.remedies:
        sign = "within the budget" if remedy.within else "not shown to be within the budget"
        yield f"{remedy.change}: drop {points(outcome, remedy.evaluation.drop)}, {sign}"
