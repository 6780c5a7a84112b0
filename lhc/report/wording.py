"""Numbers and sentences as people read them; the same in HTML and Markdown."""

import math
from collections import Counter
from collections.abc import Sequence

from lhc.plan import LayerPlan, Outcome, Plan, Reason
from lhc.report.document import Costs, Report

__all__ = [
    "REASONS",
    "amount",
    "certainty",
    "count",
    "decision",
    "duration",
    "interval_text",
    "joined",
    "metric_value",
    "points",
    "ratio",
    "reasons",
    "short",
    "times_of_digital",
    "verdict",
]

REASONS: dict[Reason, str] = {
    "eligible": "not decided",
    "budget": "within the budget",
    "sensitivity": "analog it would break the budget",
    "strategy": "placed by the strategy's rule",
    "forced": "fixed by the user",
    "excluded": "left out by the user",
    "no-static-weight": "no constant weights",
    "unsupported": "operator not supported on tiles",
    "parity": "the emulation does not reproduce it",
    "tiles": "no tiles left",
}
"""What a reason means, in a few words."""

_UNITS = ((365.25 * 86400, "year"), (30 * 86400, "month"), (86400, "day"), (3600, "hour"), (60, "minute"))
_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def short(value: float) -> str:
    """A number in at most about six characters: two significant digits.

    >>> short(0.02606), short(1234.5), short(0.0000123), short(0)
    ('0.026', '1234', '1.2e-05', '0')
    """
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}" if abs(value) < 1e6 else f"{value:.1e}"
    digits = 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(digits, 0)}f}" if digits <= 5 else f"{value:.1e}"


def amount(value: float, unit: str) -> str:
    """Three significant digits with an SI prefix.

    >>> amount(0.000012345, "s"), amount(0, "J"), amount(9.9996e-4, "s")
    ('12.3 µs', '0 J', '1.00 ms')
    """
    if value == 0:
        return f"0 {unit}"
    rounded = float(f"{value:.2e}")
    exponent = min(max(3 * math.floor(math.log10(abs(rounded)) / 3), -15), 12)
    scaled = rounded / 10.0**exponent
    return f"{scaled:.{max(2 - max(math.floor(math.log10(abs(scaled))), 0), 0)}f} {_PREFIXES[exponent]}{unit}"


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
    for size, unit in _UNITS:
        number = round(t_s / size, 1)
        if number >= 1:
            return f"{number:g} {unit}{'' if number == 1 else 's'}"
    return f"{t_s:g} s"


def ratio(value: float) -> str:
    """How many times.

    >>> ratio(1.834), ratio(12.3)
    ('1.8', '12')
    """
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def joined(parts: Sequence[str]) -> str:
    """An enumeration in a sentence.

    >>> joined(["a"]), joined(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def metric_value(value: float, percent: bool) -> str:
    """A metric's value."""
    return f"{100 * value:.2f} %" if percent else f"{value:.4g}"


def points(outcome: Outcome, value: float) -> str:
    """A drop, with the unit that it is in: points of a share, % of the baseline, or the metric's own."""
    if outcome.drop_type == "relative":
        return f"{100 * value:.2f} % of the digital value"
    return f"{100 * value:.2f} points" if outcome.percent else f"{value:.4g}"


def interval_text(outcome: Outcome, interval: tuple[float, float] | None) -> str:
    """An interval of drops, the unit once."""
    if interval is None:
        return "not known"
    low, high = interval
    if not (outcome.percent or outcome.drop_type == "relative"):
        return f"{low:.4g} to {high:.4g}"
    return f"{100 * low:.2f} to {points(outcome, high)}"


def verdict(plan: Plan) -> tuple[str, str]:
    """The decision in a word or two, and its kind: ``good``, ``bad`` or ``open``."""
    if plan.outcome is None:
        return "not judged on data", "open"
    if not plan.layers:
        return "nothing to place", "good"
    if plan.outcome.within_budget:
        return "within the budget", "good"
    if plan.outcome.drop <= plan.outcome.max_drop:
        return "not shown to be within the budget", "bad"
    return "budget not met", "bad"


def decision(report: Report) -> str:
    """What was decided, in one sentence."""
    plan = report.plan
    if not plan.layers:
        return "The network has no matrix product, so there is nothing to place."
    tiles = plan.hardware.tiles
    if not plan.analog:
        return f"All {len(plan.layers)} layers stay digital."
    return (
        f"{len(plan.analog)} of {len(plan.layers)} layers run on analog tiles, with"
        f" {100 * plan.analog_mac_fraction:.1f} % of the multiplications, on {report.tiles}"
        f" tile{'' if report.tiles == 1 else 's'} of {tiles.rows}x{tiles.cols}."
    )


def certainty(plan: Plan) -> str:
    """How it did on data and how sure that is, in a few sentences; empty where it was not judged."""
    outcome = plan.outcome
    if outcome is None or not plan.layers:
        return ""
    digital, mapped = (metric_value(v, outcome.percent) for v in (outcome.baseline, outcome.value))
    change = f"{outcome.metric.capitalize()} goes from {digital} digital to {mapped} mapped"
    what = "other chips and other samples" if outcome.generalized else "other chips, on these samples"
    first = f"{change} ({points(outcome, outcome.drop)} drop, {duration(outcome.t_s)} after programming)."
    bounds = (
        f"The mean drop over {what} lies at {interval_text(outcome, outcome.interval)}, with"
        f" {100 * outcome.confidence:.0f} % confidence; the budget is {points(outcome, outcome.max_drop)}."
    )
    split = "samples that the search had not seen" if outcome.held_out else "the samples that the search used too"
    basis = (
        f"Measured on {outcome.samples} {split} and {outcome.draws} fresh chips, of which"
        f" {round(outcome.chips_within * outcome.draws)} are within the budget."
    )
    return f"{first} {bounds} {basis}"


def reasons(layers: Sequence[LayerPlan]) -> str:
    """How many layers for which reason, most frequent first.

    Empty for no layers.
    """
    found = Counter(REASONS[layer.reason] for layer in layers)
    return ", ".join(f"{number} {text}" for text, number in found.most_common())


def times_of_digital(costs: Costs) -> tuple[str, str]:
    """Latency and energy beside those of the all-digital network: ``1.8 times faster``, ``2.1 times less energy``."""
    whole, digital = costs.total, costs.all_digital
    return (
        _compared(digital.latency_s, whole.latency_s, "faster", "slower"),
        _compared(digital.energy_j, whole.energy_j, "less energy", "more energy"),
    )


def _compared(before: float, after: float, better: str, worse: str) -> str:
    if min(before, after) <= 0 or f"{before:.2e}" == f"{after:.2e}":
        return "the same as all digital"
    return f"{ratio(before / after)} times {better}" if before > after else f"{ratio(after / before)} times {worse}"
