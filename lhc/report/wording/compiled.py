"""What is said of compiled chips."""

from typing import TYPE_CHECKING

from lhc.report.wording.values import agreement_text
from lhc.summary import layers_text, others_text
from lhc.support.number_formatting import counted, time_text

if TYPE_CHECKING:
    from lhc.pipeline.inputs.placement_source import NetworkPlacement
    from lhc.pipeline.steps.conformance_check import CheckedEmulation

__all__ = ["compiled_text", "emulation_text"]

_NOISE = {"on": "drawn in the model", "off": "left out", "input": "read from inputs NAME.deviates"}


def compiled_text(
    placed: "NetworkPlacement", t_s: float | None, noise: str, chips: range, seed: int, data: bool
) -> str:
    """Layers, time and noise; which chips; how they are calibrated. A line each.

    Args:
        t_s: time of inference, in seconds; None: as programmed.
        noise: where output noise comes from, as ``--noise`` has it.
        chips: their numbers.
        data: samples were given.
    """
    time = "as programmed" if t_s is None else f"{time_text(t_s)} after programming"
    layers = f"{layers_text(placed.plan, '/')}{others_text(placed.plan)}"
    named = "chip 0" if len(chips) == 1 else f"chips 0 to {chips[-1]}"
    lines = [f"analog {layers}, {time}, output noise {_NOISE[noise]}", f"{named} of seed {seed}"]
    return "\n".join([*lines, _calibration(placed, data)] if placed.plan.analog else lines)


def emulation_text(found: "CheckedEmulation", searched: bool) -> str:
    """How the emulation agrees with its definition, or why it was not checked; ``searched``: by this command."""
    told = agreement_text(found.conformance, "fast", None)
    if told is not None:
        return told if searched or not found.carried else f"when it was placed: {told}"
    return f"emulation not compared with aihwkit: {found.engine_reason or 'no samples are given (--data)'}"


def _calibration(placed: "NetworkPlacement", data: bool) -> str:
    """On how many samples chips are calibrated, or why they are not; ``data``: samples were given."""
    machine, outcome = placed.plan.hardware, placed.plan.outcome
    if placed.calibration is not None:
        found, wanted = placed.calibration.samples, machine.compensation.samples
        fewer = f"; the hardware asks for {wanted}" if found < wanted else ""
        first, last = placed.drawn_from[0], placed.drawn_from[-1]
        drawn = f", drawn from samples {first} to {last} of the data" if len(placed.drawn_from) > 1 else ""
        return f"calibrated on {counted(found, 'sample')}{drawn}{fewer}"
    if machine.corrects_outputs:
        return "not calibrated: too few samples" if data else "not calibrated: no samples are given (--data)"
    if outcome is not None and outcome.harmful_calibration is not None:
        return "not calibrated: the plan found that it does harm"
    return "not calibrated: the plan's machine corrects no outputs (compensation.outputs: none)"
