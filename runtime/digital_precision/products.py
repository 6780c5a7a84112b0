"""Digital products of a network, and the tensors that they read and write as numbers of a format.

A product is a Conv, Gemm or MatMul on float32. What merges into it is part of it: a bias that follows a MatMul by
weights as an Add, then a Relu or a Clip; the tensor behind these is what it writes. What is added to a product of two
activations is no bias but often a mask, whose -1e9 or -inf would take the whole range of the codes.
"""

import logging
from collections import Counter
from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass

import onnx

from lhc.graph import FORMATTED_OPS, LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io.operators.operator_names import identity
from lhc.onnx_model import captured

log = logging.getLogger("lhc")


@dataclass(frozen=True)
class DigitalProduct:
    """A product of the digital side.

    Attributes:
        name: of its operator.
        output: the tensor that its operator writes.
        read: activations that it multiplies.
        weight: number of its constant operand; None where it multiplies two activations.
        written: what it writes, with all that merges into it.
    """

    name: str
    output: str
    read: tuple[str, ...]
    weight: int | None
    written: str


def digital_products(
    nodes: Sequence[onnx.NodeProto], constants: Container[str], outputs: Collection[str]
) -> Iterator[DigitalProduct]:
    """The products among some operators.

    Args:
        constants: names of constant tensors.
        outputs: of the network.
    """
    reads = Counter(name for node in nodes for name in (*node.input, *captured(node)))
    reader = {name: node for node in nodes for name in node.input}

    def behind(tensor: str) -> onnx.NodeProto | None:
        """The only reader of a tensor."""
        return reader.get(tensor) if reads[tensor] == 1 and tensor not in outputs else None

    for node in nodes:
        domain, kind = identity(node)
        if domain or kind not in FORMATTED_OPS:
            continue
        operands = tuple(node.input[:2])
        weights = [number for number, name in enumerate(operands) if name in constants]
        if len(weights) == 2:
            continue
        tail, written = behind(node.output[0]), node.output[0]
        if tail is not None and kind == "MatMul" and weights and _adds_constant(tail, constants):
            written = tail.output[0]
            tail = behind(written)
        if tail is not None and _clips(tail, written, constants):
            written = tail.output[0]
        read = tuple(name for number, name in enumerate(operands) if number not in weights)
        yield DigitalProduct(node.name, node.output[0], read, weights[0] if weights else None, written)


def _adds_constant(node: onnx.NodeProto, constants: Container[str]) -> bool:
    return identity(node) == ("", "Add") and any(name in constants for name in node.input)


def _clips(node: onnx.NodeProto, tensor: str, constants: Container[str]) -> bool:
    bounds = node.input[1:]
    fixed = all(name in constants for name in bounds if name)
    return identity(node) in (("", "Relu"), ("", "Clip")) and node.input[0] == tensor and fixed


def warn_of_the_files_format(
    label: str, hardware: Hardware, graph: LayerGraph, analog: Container[str], remedy: str
) -> None:
    """Tell that digital products compute as in the file, where the machine has another format for them.

    Args:
        label: of the model.
        analog: names of the layers on tiles.
        remedy: what gives the ranges of their tensors.
    """
    precision = hardware.digital.precision
    products = (layer for layer in graph.layers if layer.op_type in FORMATTED_OPS and layer.name not in analog)
    if precision != "as-file" and any(products):
        log.warning(
            "%s: digital products compute as in the file, not in %s as on hardware %r: their ranges are not known; %s",
            label,
            precision,
            hardware.name,
            remedy,
        )


def codes_of(product: DigitalProduct, known: Container[str]) -> tuple[str, ...]:
    """Tensors of an int8 product; nothing where one of them has no range."""
    tensors = (*product.read, product.written)
    return tensors if all(tensor in known for tensor in tensors) else ()
