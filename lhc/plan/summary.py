"""A plan in one line: how much is analog, on how many tiles, what it gains and what it loses."""

from functools import partial
from typing import TYPE_CHECKING

from lhc.errors import ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.plan import Outcome, Plan
from lhc.plan.recurrent_steps import folded
from lhc.support.number_formatting import counted, counted_samples, drop_value, share_text

if TYPE_CHECKING:
    from lhc.costs import Throughput


def format_outcome(outcome: Outcome) -> str:
    """``drop 0.60 points [0.20, 1.00] <= 1.00 points``, or ``… [0.20, 1.40], budget 1.00 points not met``.

    Points are of a share; a drop relative to the digital value is in %, others have the metric's own unit.
    """
    percent = outcome.percent or outcome.drop_type == "relative"
    unit = " %" if outcome.drop_type == "relative" else " points" if outcome.percent else ""
    shown = partial(drop_value, percent=percent, budget=outcome.max_drop)
    drop = f"{shown(outcome.drop)}{unit}"
    if outcome.interval is not None:
        drop += f" [{', '.join(map(shown, outcome.interval))}]"
    budget = f"{shown(outcome.max_drop)}{unit}"
    return f"{outcome.drop_word} {drop}{f' <= {budget}' if outcome.within_budget else f', budget {budget} not met'}"


def held_text(summary: str, outcome: Outcome | None) -> str:
    """A plan in one line as what a file holds: its summary, and how many samples judged it."""
    judged = "" if outcome is None else f", on {counted_samples(outcome.samples, outcome.documents)}"
    return f"{summary}{judged}"


def share_of(plan: Plan) -> str:
    """Base of shares of MACs: all of them, or those that are known."""
    left = len(plan.uncounted)
    if not left:
        return "MACs"
    return f"known MACs ({counted(left, 'operator')} not counted)"


def without_text(plan: Plan) -> str:
    """Operators that cost figures leave out: `` (without 2 operators that are not counted)``; empty where all are."""
    left = len(plan.uncounted)
    return f" (without {counted(left, 'operator')} that {'is' if left == 1 else 'are'} not counted)" if left else ""


def layers_text(plan: Plan, between: str = " of ") -> str:
    """Number of analog layers, of those that can be: ``8 of 10 layers``."""
    shown = folded(plan)
    return f"{len(shown.analog)}{between}{counted(shown.able, 'layer')}"


def others_text(plan: Plan) -> str:
    """Number of the layers that cannot be analog: `` (4 more cannot be)``."""
    shown = folded(plan)
    return f" ({shown.size - shown.able} more cannot be)" if shown.size > shown.able else ""


def tiles_text(number: int, hardware: Hardware, what: str = "tile") -> str:
    """``33 tiles of 256x255``."""
    return f"{counted(number, what)} of {hardware.tiles.size_text}"


def rate_text(found: "Throughput") -> str:
    """``3,074 samples/s``."""
    return f"{rate_value(found)} samples/s"


def rate_value(found: "Throughput") -> str:
    """Throughput without its unit: ``3,074``."""
    rate = found.samples_per_s
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def summary(plan: Plan, graph: LayerGraph) -> str:
    """The one line that sums a plan up."""
    parts = [
        f"analog {layers_text(plan, '/')}{others_text(plan)}",
        f"{share_text(plan.analog_mac_fraction)} of {share_of(plan)}",
        *([f"{plan.activation_macs:,} MACs of activations beside"] if plan.activation_macs else []),
        tiles_text(plan.tiles(graph), plan.hardware),
    ]
    gain = _gain(plan, graph)
    if gain:
        parts.append(gain)
    if plan.outcome is not None:
        parts.append(format_outcome(plan.outcome))
    return ", ".join(parts)


def _gain(plan: Plan, graph: LayerGraph) -> str:
    """Gain of the placement over all digital; empty for all digital itself, and where no costs are known."""
    if not plan.analog:
        return ""
    from lhc.costs import gains
    from lhc.costs.plan_costs import digital_cost, plan_cost, plan_figures

    try:
        placed, digital = plan_cost(plan, graph), digital_cost(plan, graph)
    except (ModelError, UsageError):
        return ""
    if placed is None or digital is None:
        return ""
    figures = plan_figures(plan, graph, placed)
    rate = "" if figures.throughput.schedule == "one after the other" else f", {rate_text(figures.throughput)}"
    return f"estimated {gains(placed.total, digital.total)}{without_text(plan)}{rate}"
