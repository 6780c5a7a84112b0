"""Epilogue of an analog convolution: the addition and the activation right behind it.

    y = min(max(convolution + addend, low), high)

An Add, a Relu or a Clip that alone reads what the convolution puts out would be a segment of its own: it reads and
writes again what has just been in registers. Where the other summand is there before, the sum is taken at once, and an
activation that alone reads the sum as well. All three are exact or rounded once, as in onnxruntime: bytes are the same.
Only in float32, since outputs of shorter types are rounded before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from lhc.errors import DataError
from lhc.graph import LayerGraph
from lhc.onnx_io import Constants
from lhc.onnx_io.operators.matrix_product import Product
from lhc.runtime.onnxruntime.sessions import Array

if TYPE_CHECKING:  # compiled loops are loaded for the first analog layer
    from lhc.runtime.engines.protocol import Digital

_BY_NUMBER = frozenset(
    {"Add", "Clip", "Concat", "Flatten", "Identity", "Pad", "Relu", "Reshape", "Slice", "Split", "Transpose"}
)
"""Operators that compute every number by itself, or move it. Where a segment has others, onnxruntime may sum up in
another order when it begins otherwise, as it averages images."""
_GREATEST = float(np.finfo(np.float32).max)
"""What Clip takes for a bound that is left out."""


@dataclass(frozen=True)
class Epilogue:
    """The operators behind a convolution.

    Attributes:
        nodes: their names, in their order.
        output: the tensor that the last one writes.
        addend: the tensor that is added, if one is.
        low: bound of the activation; infinite without one.
        high: likewise.
    """

    nodes: tuple[str, ...]
    output: str
    addend: str | None = None
    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True, eq=False)
class Following:
    """Operators behind a convolution with the values of the addend, in a call."""

    epilogue: Epilogue
    addend: Array | None

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an output of this shape takes the addend number by number."""
        return self.addend is None or (self.addend.shape == shape and self.addend.dtype == np.float32)

    def after(self, digital: "Digital") -> "Digital":
        """Epilogue of an output in a kernel."""
        given = np.zeros(0, np.float32) if self.addend is None else self.addend
        addend = np.require(given, requirements=["C", "A", "W"]).reshape(-1)  # else kernels are compiled once more
        low, high = np.float32(self.epilogue.low), np.float32(self.epilogue.high)
        clips = low > -np.inf or high < np.inf
        return digital._replace(adds=self.addend is not None, addend=addend, clips=bool(clips), low=low, high=high)

    def of(self, output: Array) -> Array:
        """Output behind the epilogue, of one that is stored; it may be changed.

        Raises:
            DataError: the addend does not fit.
        """
        if self.addend is not None:
            try:
                output = output + self.addend
            except ValueError as error:
                shapes = f"{output.shape} and {self.addend.shape}"
                raise DataError(
                    f"operator {self.epilogue.nodes[0]!r} adds tensors of shapes {shapes}, which do not fit each other;"
                    " give inputs of other sizes"
                ) from error
        with np.errstate(invalid="ignore"):  # what is no number stays
            np.copyto(output, np.float32(self.epilogue.low), where=output < np.float32(self.epilogue.low))
            np.copyto(output, np.float32(self.epilogue.high), where=output > np.float32(self.epilogue.high))
        return output


def epilogues(
    graph: LayerGraph, nodes: Mapping[str, onnx.NodeProto], analog: frozenset[str], constants: Constants
) -> dict[str, Epilogue]:
    """Epilogues of the analog layers of a placement, by layer.

    Args:
        graph: the placement's, whose outputs are all that is asked for.
        nodes: its operators by name.
        constants: of the model.
    """
    read: dict[str, list[str]] = {tensor: [""] for tensor in graph.outputs}
    for layer in graph.layers:
        for tensor in layer.inputs:
            read.setdefault(tensor, []).append(layer.name)
    # Of one depth, segments come before analog layers, which come one after the other.
    order = [name for name in graph.order() if name in analog]
    places = {name: number for number, name in enumerate(order, 1)}
    depths = graph.depths(analog)
    turns = {name: (depth, places.get(name, 0)) for name, depth in depths.items()}
    written = {tensor: turns[layer.name] for layer in graph.layers for tensor in layer.outputs}
    sums = {depths[name] for name in depths if name not in analog and nodes[name].op_type not in _BY_NUMBER}
    found, taken = {}, set[str]()

    def follower(tensor: str) -> onnx.NodeProto | None:
        names = read.get(tensor, ())
        if len(names) != 1 or not names[0] or names[0] in analog or names[0] in taken:
            return None
        node = nodes[names[0]]
        behind = {depths[one] for output in node.output for one in read.get(output, ()) if one and one not in analog}
        return node if node.domain in ("", "ai.onnx") and sums.isdisjoint(behind) else None

    for name in order:
        weight = graph[name].weight
        if weight is None or weight.dtype != "float32":
            continue
        if Product.of_layer(nodes[name], graph[name]).window is None:
            continue
        made = Epilogue((), graph[name].outputs[0])
        node = follower(made.output)
        if node is not None and node.op_type == "Add":
            addend = _other(node, made.output)
            if addend is not None and addend not in constants and written.get(addend, (-1, 0)) < turns[name]:
                made = Epilogue((node.name,), node.output[0], addend)
                node = follower(made.output)
        bounds = None if node is None else _bounds(node, constants)
        if node is not None and bounds is not None:
            made = Epilogue((*made.nodes, node.name), node.output[0], made.addend, *bounds)
        if made.nodes:
            found[name] = made
            taken.update(made.nodes)
    return found


def _other(node: onnx.NodeProto, tensor: str) -> str | None:
    """The other summand; none where a tensor is added to itself, or an attribute says how."""
    others = [name for name in node.input if name != tensor]
    return others[0] if len(others) == 1 and not node.attribute else None


def _bounds(node: onnx.NodeProto, constants: Constants) -> tuple[float, float] | None:
    """Bounds of an activation; None where it is none, or its bounds are not known."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type != "Clip" or any(name and name not in constants for name in node.input[1:]):
        return None
    given = {attribute.name: attribute.f for attribute in node.attribute}
    named = {which: constants.value(name) for which, name in zip(("min", "max"), node.input[1:], strict=False) if name}
    if any(bound.size != 1 for bound in named.values()):
        return None  # onnxruntime says what is wrong
    given |= {which: float(bound.reshape(())) for which, bound in named.items()}
    low, high = given.get("min", -_GREATEST), given.get("max", _GREATEST)
    return (low, high) if low <= high else None
