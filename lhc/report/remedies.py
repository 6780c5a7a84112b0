"""What may bring more layers onto tiles, as far as a plan tells, in words."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lhc.plan import Outcome, Plan
from lhc.plan.recurrent_steps import folded
from lhc.report.text import draws_word
from lhc.support.numbers import counted

if TYPE_CHECKING:
    from lhc.results import Infeasibility

__all__ = ["left_digital", "not_tried", "what_brings_more", "what_helps"]

WHERE = "page budget-not-met of lhc's documentation"


def left_digital(plan: Plan) -> str:
    """How many layers stay digital though the budget is met, since they may not fit it, and what may bring them along.

    Nothing where no layer does, or the budget is not met.
    """
    number, ways = _for_the_budget(plan), what_brings_more(plan)
    stay, them = ("stays", "it") if number == 1 else ("stay", "them")
    told = f"{counted(number, 'layer')} {stay} digital for the budget: {ways} may bring {them} onto tiles"
    return told if ways else ""


def what_brings_more(plan: Plan) -> str:
    """What may bring layers onto tiles that stay digital though the budget is met; nothing where none do."""
    outcome = plan.outcome
    if outcome is None or not outcome.within_budget or not _for_the_budget(plan):
        return ""
    ways = ["a larger --max-drop"]
    ways += [] if _trained(outcome) else ["--retrain"]
    if not plan.analog:
        pass  # whether more chips or samples help where nothing is analog, a note says: it knows the means of the tests
    elif outcome.generalized:
        ways.append("more samples (--samples)")
    elif plan.hardware.is_stochastic:
        ways.append(f"more {draws_word(outcome)}s (--max-draws)")
    return " or ".join(filter(None, (", ".join(ways[:-1]), ways[-1])))


def _for_the_budget(plan: Plan) -> int:
    """How many layers are digital since they were not shown to fit the budget."""
    return sum(row.placement == "digital" and row.reason == "sensitivity" for row in folded(plan).layers)


def not_tried(found: "Infeasibility | None", plan: Plan) -> Iterator[str]:
    """What was not tried to hold a budget that is not met.

    Args:
        found: what was measured of it, where that is known.
    """
    outcome, changes = plan.outcome, () if found is None else tuple(remedy.change for remedy in found.remedies)
    if outcome is None:
        return
    copied = plan.hardware.copies_obstacle is None and outcome.limits.keys() <= {"tiles"}
    if found is not None and copied and not any(change.startswith("tiles ") for change in changes):
        if outcome.copies in (None, "auto"):
            yield "copies of weights on more tiles (lhc partition --max-tiles)"
        else:
            yield f"other copies of weights (--copies {outcome.copies} was asked for)"
    remapped = any(change.startswith("faults.remap ") for change in changes)
    if found is not None and plan.hardware.faults.could_remap and not remapped:
        yield "weights mapped around stuck cells and dead lines (faults.remap: true in the hardware)"
    converted = any(change.startswith("dac.bits ") for change in changes)
    if found is not None and plan.hardware.dac.bits is not None and not converted:
        yield "more bits of the DAC (dac.bits in the hardware; lhc attribute shows what they would bring)"
    if not _trained(outcome):
        yield "weights that are trained under the noise of tiles (--retrain)"


def what_helps(found: "Infeasibility | None", plan: Plan) -> str:
    """What a report says of a budget that is not met, and where to read on; nothing where it is."""
    outcome = plan.outcome
    if outcome is None or not plan.layers or outcome.within_budget:
        return ""
    untried = "; ".join(not_tried(found, plan))
    told = f" Not tried: {untried}." if untried else ""
    unknown = (
        " Which layers are in the way, and what was measured to help, the file does not say: the command that made"
        " it does, below its verdict (lhc partition by --report too)."
    )
    told += "" if found is not None else unknown
    return f"{WHERE} says what helps, and when it pays.{told}"


def _trained(outcome: Outcome) -> bool:
    """Whether a training was part of the command, kept or not."""
    return outcome.retrained is not None or outcome.training_note is not None
