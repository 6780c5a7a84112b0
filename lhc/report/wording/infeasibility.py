"""Wording of a budget that is not met: the layers in the way, what was measured to help, what was not tried."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lhc.plan import Outcome, Plan
from lhc.plan.recurrent_steps import folded, layers_among
from lhc.report.wording.outcome import budget_text, budget_word, draws_word, interval_text, points
from lhc.support.number_formatting import counted

if TYPE_CHECKING:
    from lhc.results import Evaluation, Infeasibility, Remedy

WHERE = "page budget-not-met of lhc's documentation"


def in_the_way(found: "Infeasibility", outcome: Outcome, plan: Plan) -> str:
    """The layers that a search left out to have the rest hold, and whether other chips show that it does.

    Nothing where none were looked for, or there was no time.
    """
    if found.all_in_the_way:
        analog = list(layers_among(plan, found.analog))
        if len(analog) == 1:
            return f"{analog[0]}, the only {_explained_layers(found, plan, 1)}"
        which = _explained_layers(found, plan, len(analog))
        return (
            f"no small group of layers. The {len(analog)} {which} were made digital step by step, the most damaging"
            " first. The rest was never shown to hold the budget"
        )
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


def _explained_layers(found: "Infeasibility", plan: Plan, number: int) -> str:
    """Name of the layers that are explained: analog ones, or those of a placement that was tested and not taken."""
    layers = "layer" if number == 1 else "layers"
    if frozenset(found.analog) == plan.analog:
        return f"analog {layers}"
    return f"{layers} tested on tiles"


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


def left_digital(plan: Plan) -> str:
    """Number of layers that stay digital though the budget is met, and what may bring them onto tiles.

    Nothing where no layer does, or the budget is not met.
    """
    number, ways = _for_the_budget(plan), what_brings_more(plan)
    stay, them = ("stays", "it") if number == 1 else ("stay", "them")
    told = f"{counted(number, 'layer')} {stay} digital for the budget: {ways} may bring {them} onto tiles"
    return told if ways else ""


def what_brings_more(plan: Plan) -> str:
    """Options that may bring more layers onto tiles though the budget is met; empty where none stay digital for it."""
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
    """Number of layers that are digital since they were not shown to fit the budget."""
    return sum(row.placement == "digital" and row.reason == "sensitivity" for row in folded(plan).layers)


def _not_tried(found: "Infeasibility | None", plan: Plan) -> Iterator[str]:
    """Remedies that were not tried, of a budget that is not met.

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
    """Remedies not tried, and where to read on; empty where the budget is met."""
    outcome = plan.outcome
    if outcome is None or not plan.layers or outcome.within_budget:
        return ""
    untried = "; ".join(_not_tried(found, plan))
    told = f" Not tried: {untried}." if untried else ""
    unknown = (
        " The file does not say which layers are in the way and what was measured to help. The command that made it"
        " does, below its verdict; lhc partition also by --report."
    )
    told += "" if found is not None else unknown
    return f"{WHERE} says what helps, and when it pays.{told}"


def _trained(outcome: Outcome) -> bool:
    """Whether a training was part of the command, kept or not."""
    return outcome.retrained is not None or outcome.training_note is not None


def nearest_budget(found: "Infeasibility", outcome: Outcome, plan: Plan) -> tuple[str, str]:
    """Nearest budget that a placement holds: whose it is, and the option, or of several outputs the multiple of all."""
    nearest = budget_text(found.nearest_budget, outcome.percent or outcome.drop_type == "relative")
    number = len(layers_among(plan, found.analog))
    layers = _explained_layers(found, plan, number)
    of = f"nearest budget that the {number} {layers} {'holds' if number == 1 else 'hold'}"
    if outcome.further:
        return of, f"{budget_text(found.nearest_budget / outcome.max_drop)} times that of every output"
    return of, f"--max-drop {nearest}"


def infeasibility_facts(found: "Infeasibility", outcome: Outcome, plan: Plan) -> Iterator[tuple[str, str]]:
    """Measured facts of a budget that is not met, by name: least drop, nearest budget, layers in the way."""
    bounded = bool(outcome.limits) or plan.hardware.tiles.count is not None
    where = "within the limits" if bounded else "without further tiles"
    yield f"least {outcome.drop_word} of the placements that were measured, {where}", points(outcome, found.least.drop)
    yield nearest_budget(found, outcome, plan)
    if ways := in_the_way(found, outcome, plan):
        yield "in the way", ways


def helped(remedy: "Remedy") -> str:
    """Whether a change helped, on the first chips of the placement's test; empty where nothing was compared."""
    if remedy.difference is None:
        return ""
    if remedy.none_shown:
        return "no difference shown on the same chips"
    return "it helps" if remedy.difference[1] < 0 else "it does harm"


def _told(text: str) -> str:
    return f"; {text}" if text else ""


def infeasibility_lines(found: "Infeasibility | None", plan: Plan) -> Iterator[str]:
    """Why a budget was not shown to be met, what was tried and whether it helped, and remedies that were not tried."""
    outcome = plan.outcome
    if found is None or outcome is None:
        return
    yield from map(": ".join, infeasibility_facts(found, outcome, plan))
    for remedy in found.remedies:
        interval = remedy.evaluation.deciding(outcome.generalized)
        chips = counted(remedy.evaluation.draws, draws_word(outcome))
        between = "" if interval is None else f" ({interval_text(outcome, interval)}, {chips})"
        drop = f"{outcome.drop_word} {points(outcome, remedy.evaluation.drop)}{between}"
        yield f"tried: {remedy.change}: {drop}, {budget_word(remedy.within)}{_told(helped(remedy))}"
    yield from (f"not tried: {what}" for what in _not_tried(found, plan))
