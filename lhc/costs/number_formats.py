"""Number formats that digital products of a network have on a machine, as far as costs depend on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lhc.graph import FORMATTED_OPS, INTEGER_OPS, MOVES, QUANTISED_OPS, Layer, LayerGraph
from lhc.hardware import Hardware
from lhc.hardware.description.digital import BYTES, Precision

if TYPE_CHECKING:
    from lhc.plan.digital_arithmetic import DigitalArithmetic

_BY_DTYPE: dict[str, Precision] = {"float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8"}
_INTEGER_KINDS = INTEGER_OPS | {
    "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention", "QGemm",
}  # fmt: skip
"""Operators that compute on integers; those of dynamic quantisation and of onnxruntime among them."""


@dataclass(frozen=True)
class NumberFormat:
    """What costs need of the format of a product's operands.

    Attributes:
        cycles: of a product, as a multiple of those in int8.
        bytes: of a stored number.
    """

    cycles: float
    bytes: int


NumberFormats = Callable[[Layer], NumberFormat]


def number_formats(
    graph: LayerGraph, hardware: Hardware, arithmetic: "DigitalArithmetic | None" = None
) -> NumberFormats:
    """Function for the format of an operator that multiplies on the digital side.

    Operators that the machine computes as in the file have the file's format: int8 where they compute on integers or
    read what was one, else that of their weights, or of what they read; float32 where none of these is known. They are
    those of a file that is quantised anywhere, those of bodies and functions, those of kinds that a machine never
    computes in its own format, and those that ``arithmetic`` names. Where weights alone are quantised, onnxruntime
    computes in the format of what the operator reads, and stores a byte a weight, or less.

    Args:
        arithmetic: of the plan, which says what else is computed as in the file, and what is in the machine's high
            precision; None where nothing was run yet.
    """
    digital = hardware.digital
    quantised = any(_kinds(one) & QUANTISED_OPS for one in graph.layers)

    def precision(layer: Layer) -> Precision:
        if _on_integers(graph, layer):
            return "int8"
        dtype = _dtype(graph, layer)
        kept = quantised or digital.precision == "as-file"
        kept = kept or not _kinds(layer) <= FORMATTED_OPS or layer.name not in graph
        kept = kept or (arithmetic is not None and layer.name in arithmetic.as_file)
        if kept or dtype != "float32":
            return _BY_DTYPE.get(dtype, "fp32")
        chosen = digital.precision if arithmetic is None else arithmetic.of(layer.name)
        return "fp32" if chosen is None or chosen == "as-file" else chosen

    def found(layer: Layer) -> NumberFormat:
        chosen = precision(layer)
        stored = BYTES["int8"] if quantised and _has_quantised_weight(graph, layer) else BYTES[chosen]
        return NumberFormat(digital.cycles.of(chosen), stored)

    return found


def _kinds(layer: Layer) -> frozenset[str]:
    """Its operator, and that of the file which it is a part of."""
    return frozenset({layer.op_type} if layer.origin is None else {layer.op_type, layer.origin.kind})


def _on_integers(graph: LayerGraph, layer: Layer) -> bool:
    """Whether a product computes on integers: by its kind, or since what it reads was dequantised just before."""
    operand = None if layer.weight is None else layer.weight.operand
    read = [tensor for index, tensor in enumerate(layer.inputs[:2]) if index != operand]
    dequantised = bool(read) and all(_is_dequantised(graph, tensor) for tensor in read)
    return dequantised or bool(_kinds(layer) & _INTEGER_KINDS)


def _has_quantised_weight(graph: LayerGraph, layer: Layer) -> bool:
    operand = None if layer.weight is None else layer.inputs[layer.weight.operand]
    return "MatMulNBits" in _kinds(layer) or (operand is not None and _is_dequantised(graph, operand))


def _is_dequantised(graph: LayerGraph, tensor: str) -> bool:
    """Whether DequantizeLinear wrote a tensor, or what only moved its values about since."""
    name = graph.producer(tensor)
    while name is not None and graph[name].op_type in MOVES:
        name = graph.producer(graph[name].inputs[0])
    return name is not None and graph[name].op_type == "DequantizeLinear"


def _dtype(graph: LayerGraph, layer: Layer) -> str:
    """Element type of an operator's weights, or of the tensors that it reads where it has none."""
    if layer.weight is not None:
        return layer.weight.dtype
    read = graph.networkx.in_edges(layer.name, data="dtype") if layer.name in graph else ()
    return next((dtype for *_, dtype in read if dtype is not None), "float32")
