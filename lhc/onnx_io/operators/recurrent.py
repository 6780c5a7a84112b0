"""Recurrent operators (LSTM, GRU, RNN): number of steps, and obstacles to writing them out step by step."""

from collections.abc import Callable

import onnx

from lhc.onnx_io.read.shapes import Shape

__all__ = ["MOST_STEPS", "kept_whole", "steps_of"]

MOST_STEPS = 256
"""Steps that are written out."""

_CLIPS = {"activation_alpha", "activation_beta", "clip"}


def kept_whole(node: onnx.NodeProto, is_constant: Callable[[str], bool]) -> str | None:
    """Why an operator stays whole, whatever the number of its steps; None where nothing keeps it."""
    names = [*node.input, *[""] * 8][:8]
    if names[4]:
        return f"its sequences may differ in length (sequence_lens is {names[4]})"
    if names[7]:
        return "it has peepholes"
    if not all(is_constant(name) for name in names[1:4] if name):
        return "its weights are computed at run time"
    if any(a.name in _CLIPS or (a.name == "input_forget" and a.i) for a in node.attribute):
        return "it clips, couples its gates or scales its activations"
    return None


def steps_of(node: onnx.NodeProto, shape: Shape | None) -> int | str:
    """How many steps an operator takes, or why that is not known or too many; ``shape``: of its first input."""
    layout = any(a.name == "layout" and a.i for a in node.attribute)
    steps = None if shape is None or len(shape) != 3 else shape[1 if layout else 0]
    if not isinstance(steps, int):
        return "how many steps it takes, samples tell (--data)"
    return steps if 0 < steps <= MOST_STEPS else f"it takes {steps:,} steps, and at most {MOST_STEPS} are written out"
