"""Up to which noise a placement holds its budget, in words; the same on the terminal and the page."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lhc.plan import Outcome
from lhc.support.number_formatting import drop_text, scale_text

if TYPE_CHECKING:
    from lhc.results import Evaluation, Robustness

__all__ = [
    "budget_of_margin",
    "fails_text",
    "held_at",
    "held_word",
    "margin_cause",
    "margin_text",
    "unlike_decision",
]


def margin_text(found: "Robustness", budget: str) -> str:
    """Up to which noise a budget is shown to be met, or that it is so with none that was tried."""
    if found.margin:
        return f"{budget} is met up to {scale_text(found.margin)} times the machine's noise"
    return f"{budget} is {_unmet(found, found.scales[0].evaluation)} with any noise tried"


def fails_text(found: "Robustness") -> str:
    """From which noise on a budget that has a margin is not met, or not shown to be; nothing where none was tried."""
    at = next((one for one in found.scales if one.scale == found.fails_at), None)
    return "" if at is None or not found.margin else f"; {_unmet(found, at.evaluation)} at {scale_text(at.scale)}"


def _unmet(found: "Robustness", tried: "Evaluation") -> str:
    return "not met" if held_at(found, tried) == "no" else "not shown to be met"


def held_at(found: "Robustness", tried: "Evaluation") -> str:
    """Whether a mean drop under other conditions is within the budget."""
    return held_word(found.interval(tried), found.max_drop)


def held_word(interval: tuple[float, float] | None, budget: float) -> str:
    """Whether a mean drop is within the budget, by its interval: yes where all of that is, no where nothing is."""
    if interval is None:
        return "not shown"
    return "yes" if interval[1] <= budget else "no" if interval[0] > budget else "not shown"


def budget_of_margin(found: "Robustness", outcome: Outcome | None) -> str:
    """What the margin is about: the placement's budget, or another one, which is then named."""
    chips = found.chips
    own = outcome is not None and (outcome.metric, outcome.max_drop, outcome.drop_type) == (
        chips.metric,
        found.max_drop,
        found.drop_type,
    )
    if own or outcome is None:
        return "the budget"
    drop = drop_text(found.max_drop, chips.percent, found.drop_type)
    return f"a {chips.drop_word} of {drop} in {chips.metric}, which is not the placement's budget,"


def margin_cause(found: "Robustness", show: Callable[[float], str]) -> str | None:
    """Why the budget is not shown to be held even with the least noise tried; None where it is, or nothing tells."""
    least = found.scales[0]
    drop, interval = least.evaluation.drop, found.interval(least.evaluation)
    if found.margin or interval is None or interval[1] <= found.max_drop:
        return None
    mean = f"at {scale_text(least.scale)} times the noise the mean {least.evaluation.drop_word} is {show(drop)}"
    if drop > found.max_drop:
        return f"{mean}, over the budget"
    return (
        f"{mean}, within the budget, but its interval over {least.evaluation.draws} draws reaches {show(interval[1])};"
        " more --draws narrow it"
    )


def unlike_decision(found: "Robustness") -> str:
    """Why a margin may say something else than the decision; nothing where it cannot."""
    return f"measured, unlike the decision, with {' and '.join(found.differs)}" if found.differs else ""
