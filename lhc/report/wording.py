"""Numbers as people read them; the same in HTML and Markdown."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from lhc.plan import LayerPlan, Outcome, Reason
from lhc.results import LayerAttribution, Robustness
from lhc.support.tables import TIME_UNITS, amount, ratio

__all__ = [
    "EFFECTS",
    "REASONS",
    "amount",
    "budget_of_margin",
    "budget_text",
    "chips_text",
    "count",
    "drop_text",
    "drop_unit",
    "drop_value",
    "duration",
    "effect_share",
    "fixed",
    "interval_text",
    "level_text",
    "margin_cause",
    "metric_value",
    "points",
    "ratio",
    "reasons",
    "unlike_decision",
]

REASONS: dict[Reason, str] = {
    "eligible": "not decided",
    "budget": "within the budget together",
    "sensitivity": "not shown to fit the budget",
    "cost": "costs more on tiles than it saves",
    "strategy": "placed by the strategy's rule",
    "forced": "fixed by the user",
    "excluded": "left out by the user",
    "no-static-weight": "no constant weights",
    "unsupported": "not supported on tiles",
    "parity": "the emulation does not reproduce it",
    "tiles": "no tiles left",
}
"""What a reason means, in a few words."""

EFFECTS = {
    "dac": "DAC",
    "adc": "ADC",
    "programming": "programming noise",
    "drift": "drift",
    "read": "read noise",
    "output": "output noise",
}
"""Names of the effects that damage is attributed to."""


def fixed(values: Sequence[float]) -> list[str]:
    """Numbers with equally many decimals, three significant digits for the greatest; what rounds to 0 is ``<…``.

    >>> fixed([0.0348, 0.00519, 0.0000469, 0.0])
    ['0.0348', '0.0052', '<0.0001', '0.0000']
    >>> fixed([1234.5, 0.2])
    ['1234', '<1']
    """
    greatest = max((abs(value) for value in values), default=0.0)
    decimals = min(max(2 - math.floor(math.log10(greatest)), 0), 8) if greatest > 0 else 0
    least = 10.0**-decimals
    return [
        f"<{least:.{decimals}f}" if 0 < value < least / 2 else f"{round(value, decimals) + 0.0:.{decimals}f}"
        for value in values
    ]


def count(value: int) -> str:
    """A count with a prefix where it is large.

    >>> count(123), count(4608), count(40_551_424)
    ('123', '4.61 k', '40.6 M')
    """
    return str(value) if value < 1000 else amount(value, "").rstrip()


def duration(t_s: float) -> str:
    """A time after programming, in the largest unit of which it is at least one.

    >>> duration(0), duration(86400), duration(31536000), duration(90)
    ('0 s', '1 day', '1 year', '1.5 minutes')
    """
    for size, unit in TIME_UNITS:
        number = round(t_s / size, 1)
        if number >= 1:
            return f"{number:g} {unit}{'' if number == 1 else 's'}"
    return f"{t_s:g} s"


def metric_value(value: float, percent: bool) -> str:
    """A metric's value."""
    return f"{100 * value:.2f} %" if percent else f"{value:.4g}"


def drop_unit(percent: bool, drop_type: str, metric: str) -> str:
    """The unit of drops, as the name of a column or an axis ends with it; what `drop_value` shows is in it.

    >>> drop_unit(True, "absolute", "accuracy"), drop_unit(False, "relative", "mse"), drop_unit(False, "absolute", "kl")
    (' (points)', ' (% of the digital value)', ' (kl)')
    """
    if drop_type == "relative":
        return " (% of the digital value)"
    return " (points)" if percent else f" ({metric})"


def drop_value(value: float, percent: bool) -> str:
    """A drop without its unit: points where the metric is a share.

    >>> drop_value(-0.00001, True), drop_value(0.0123, True), drop_value(1.25, False)
    ('0.00', '1.23', '1.25')
    """
    return f"{round(100 * value, 2) + 0.0:.2f}" if percent else f"{value:.4g}"


def budget_text(value: float, share: bool = False) -> str:
    """A budget that is at least the value, as ``--max-drop`` takes it.

    Args:
        value: the drop.
        share: it is one: from 1 on it is written as a percentage.

    >>> budget_text(0.020384), budget_text(0.02), budget_text(0.0), budget_text(1.5), budget_text(1.5, share=True)
    ('0.02039', '0.02', '0', '1.5', '150%')
    """
    if share and value >= 1:
        return f"{budget_text(100 * value)}%"
    shown = f"{value:.4g}"
    if float(shown) >= value:
        return shown
    return f"{value + 10.0 ** (math.floor(math.log10(value)) - 3):.4g}"


def points(outcome: Outcome, value: float) -> str:
    """A drop, with the unit that it is in."""
    return drop_text(value, outcome.percent, outcome.drop_type)


def drop_text(value: float, percent: bool, drop_type: str) -> str:
    """A drop in points of a share, % of the baseline, or the metric's own unit.

    >>> drop_text(0.02, True, "absolute"), drop_text(0.02, False, "relative"), drop_text(0.5, False, "absolute")
    ('2.00 points', '2.00 % of the digital value', '0.5')
    """
    if drop_type == "relative":
        return f"{drop_value(value, True)} % of the digital value"
    return f"{drop_value(value, True)} points" if percent else f"{value:.4g}"


def budget_of_margin(found: Robustness, outcome: Outcome | None) -> str:
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
    return f"a drop of {drop} in {chips.metric}, which is not the placement's budget,"


def interval_text(outcome: Outcome, interval: tuple[float, float] | None) -> str:
    """An interval of drops, the unit once."""
    if interval is None:
        return "not known"
    low, high = interval
    return f"{drop_value(low, outcome.percent or outcome.drop_type == 'relative')} to {points(outcome, high)}"


def level_text(confidence: float) -> str:
    """A level of confidence.

    >>> level_text(0.9), level_text(0.992), level_text(0.94)
    ('90 %', '99.2 %', '94 %')
    """
    return f"{100 * confidence:.3g} %"


def chips_text(within: float, draws: int) -> str:
    """How many chips hold a budget by themselves, which is not what is decided.

    >>> chips_text(0.9, 10), chips_text(1.0, 2)
    ('one by one, it is held by 9 of the 10 chips measured', 'one by one, it is held by all 2 chips measured')
    """
    number = round(within * draws)
    which = f"all {draws}" if number == draws else f"{number} of the {draws}"
    return f"one by one, it is held by {which} chips measured"


def reasons(layers: Sequence[LayerPlan]) -> str:
    """Why layers are where they are, with numbers where there are several reasons, most frequent first."""
    found = Counter(REASONS[layer.reason] for layer in layers).most_common()
    return ", ".join(text if len(found) == 1 else f"{number} {text}" for text, number in found)


def margin_cause(found: Robustness, show: Callable[[float], str]) -> str | None:
    """Why the budget is not shown to be held even with the least noise tried; None where it is, or nothing tells.

    Args:
        found: what was measured.
        show: how a drop is written.
    """
    least = found.scales[0]
    drop, interval = least.evaluation.drop, found.interval(least.evaluation)
    if found.margin or interval is None or interval[1] <= found.max_drop:
        return None
    mean = f"at {least.scale:.3g} times the noise the mean drop is {show(drop)}"
    if drop > found.max_drop:
        return f"{mean}, over the budget"
    return (
        f"{mean}, within the budget, but its interval over {least.evaluation.draws} draws reaches {show(interval[1])};"
        " more --draws narrow it"
    )


def unlike_decision(found: Robustness) -> str:
    """Why a margin may say something else than the decision; nothing where it cannot."""
    return f"measured, unlike the decision, with {' and '.join(found.differs)}" if found.differs else ""


def effect_share(layer: LayerAttribution, effect: str) -> str:
    """How much of a layer's damage goes away without an effect; in brackets where it may be none.

    Absolute where the layer does no damage: a share of it means nothing.
    """
    share = layer.share(effect)
    text = f"{layer.effects[effect].mean:.2g}" if share is None else f"{100 * share:.0f} %".replace("-0 %", "0 %")
    return text if layer.is_shown(effect) else f"({text})"
