"""The activation that onnxruntime fuses into a product, as the operator that it was."""

import numpy as np
import onnx

from lhc.canonical.site import OperatorSite

__all__ = ["add_activation", "is_known"]

_NUMBERS = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Softplus": (),
    "Tanh": (),
    "ThresholdedRelu": ("alpha",),
}
"""Their attributes, in the order in which fused operators list them."""


def is_known(name: str) -> bool:
    """Whether an activation, empty for none, can be written as an operator."""
    return name in ("", "Clip") or name in _NUMBERS


def add_activation(site: OperatorSite, name: str, numbers: list[float], x: str) -> None:
    """Compute the operator's output from what goes into its activation.

    Args:
        site: whose operator is fused.
        name: of an activation that is known, and given.
        numbers: its attributes; those that are not given have their defaults.
    """
    output = site.node.output[0]
    if name == "Clip":
        bounds = [site.store(f"{site.node.name}/bound", np.array(number, np.float32)) for number in numbers[:2]]
        site.add("Clip", x, *bounds, output=output)
        return
    site.add(name, x, output=output)
    for attribute, number in zip(_NUMBERS[name], numbers, strict=False):
        site.nodes[-1].attribute.append(onnx.helper.make_attribute(attribute, number))
