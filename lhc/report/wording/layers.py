"""Wording of single layers: reasons of their placement, and the effects that their damage comes from."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lhc.plan import LayerPlan, Plan, Reason, Sensitivity
from lhc.plan.layer_plan import NEVER_ANALOG
from lhc.plan.recurrent_steps import folded
from lhc.plan.sensitivity_wording import found_with_one_copy
from lhc.support.number_formatting import counted, level_text, share_text

if TYPE_CHECKING:
    from lhc.results import Attribution, LayerAttribution

REASONS: dict[Reason, str] = {
    "eligible": "not decided",
    "budget": "within the budget together",
    "sensitivity": "not shown to fit the budget",
    "cost": "dearer on tiles than digital",
    "strategy": "placed by the strategy's rule",
    "time": "not looked at before --timeout",
    "placed": "kept as placed, not shown to fit the budget",
    "forced": "fixed by the user",
    "excluded": "left out by the user",
    "not-judged": "without effect on a judged output",
    "no-static-weight": "of varying weights",
    "unsupported": "not supported on tiles",
    "adapter": "digital on purpose (adapter)",
    "columns": "digital on purpose (worst columns of a layer)",
    "parity": "not reproduced by the emulation",
    "tiles": "left without tiles",
}
"""Meaning of each reason of a placement, in words that are right of one layer and of some: ``2 left without tiles``."""


def reasons(layers: Sequence[LayerPlan]) -> str:
    """Reasons of the layers' placements, with numbers where there are several, most frequent first."""
    found = Counter(REASONS[layer.reason] for layer in layers).most_common()
    return ", ".join(text if len(found) == 1 else f"{number} {text}" for text, number in found)


def digital_layers(plan: Plan) -> tuple[LayerPlan, ...]:
    """The layers that are digital, of those that `decision_of` counts: steps of an operator are one, columns none."""
    rows = folded(plan).layers
    return tuple(row for row in rows if row.placement == "digital" and row.reason not in ("eligible", "columns"))


def never_text(digital: Sequence[LayerPlan]) -> str:
    """Number of digital layers that can never be analog, which `decision_of` leaves out; empty where all can."""
    never = sum(row.reason in NEVER_ANALOG for row in digital)
    which = "none of which can" if never == len(digital) else f"{never} of which cannot"
    return f", {which} be analog" if never else ""


def layers_stay(number: int) -> str:
    """``1 layer stays``, ``2 layers stay``."""
    return f"{counted(number, 'layer')} {'stays' if number == 1 else 'stay'}"


def with_one_copy(plan: Plan) -> str:
    """Number of layers that an estimate of damage counts with one copy of their weights; empty where it is none."""
    number = len(found_with_one_copy(plan.layers))
    return f"{counted(number, 'layer')} with one copy" if number else ""


METRIC_NAMES = {"kl": "KL divergence of the outputs", "nmse": "squared error of the outputs over their energy"}
"""Names of the metrics that sensitivities are in by default."""

EFFECTS = {
    "dac": "DAC",
    "adc": "ADC",
    "programming": "programming noise",
    "drift": "drift",
    "read": "read noise",
    "output": "output noise",
    "faults": "faults of chips",
    "weights": "rounding of weights",
    "wires": "IR drop",
}
"""Names of the effects that damage is attributed to."""


SHARES_NOTE = (
    "effects act together (noise pushes outputs into saturation, or drowns rounding): without one of them another one"
    " may do more or less, so shares need not add up to 100 %"
)


CALIBRATION_NOTE = (
    "calibration: damage that the calibration of chips has taken away; more if frozen: what it would take away besides,"
    " had it seen the read noise of inference, which no machine can"
)


def attribution_notes(found: "Attribution") -> tuple[str, ...]:
    """Meaning of the columns of an attribution."""
    return (
        f"{found.metric}: damage of the layer alone on tiles; then how much of it goes away without one effect",
        f"in brackets where the {level_text(found.confidence)} interval holds 0; without all: what mapping alone does",
        SHARES_NOTE,
        *((CALIBRATION_NOTE,) if found.calibrated else ()),
    )


def calibrations(found: "Attribution") -> dict[str, str]:
    """Figures of the calibration of chips that layers have, with the titles of their columns."""
    names = {"calibration": "calibration", "frozen": "more if frozen"}
    return {
        name: text
        for name, text in names.items()
        if any(getattr(layer, name) is not None for layer in found.layers.values())
    }


def shown_damage(found: Sensitivity | None) -> str:
    """A damage; in brackets where it may be none."""
    if found is None:
        return "-"
    held = found.interval is None or found.interval[0] <= 0 <= found.interval[1]
    return f"({found.mean:.2g})" if held else f"{found.mean:.2g}"


def effect_share(layer: "LayerAttribution", effect: str) -> str:
    """Part of a layer's damage that goes away without an effect; in brackets where it may be none.

    Absolute where the layer does no damage: a share of it means nothing.
    """
    share = layer.share(effect)
    text = f"{layer.effects[effect].mean:.2g}" if share is None else share_text(share, 0)
    return text if layer.is_shown(effect) else f"({text})"
