"""Number formats that digital products of a network have on a machine, as far as costs depend on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lhc.graph import FORMATTED_OPS, QUANTISED_OPS, Layer, LayerGraph
from lhc.hardware import Hardware
from lhc.hardware.description.digital import BYTES, Precision

if TYPE_CHECKING:
    from lhc.plan.digital_arithmetic import DigitalArithmetic

_BY_DTYPE: dict[str, Precision] = {"float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8"}


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

    Operators that the machine computes as in the file have the file's format: int8 where the file is quantised, else
    that of their weights, or of what they read; float32 where none of these is known. They are those of bodies and
    functions, those of kinds that a machine never computes in its own format, and those that ``arithmetic`` names.

    Args:
        arithmetic: of the plan, which says what else is computed as in the file, and what is in the machine's high
            precision; None where nothing was run yet.
    """
    digital = hardware.digital
    quantised = any(one.op_type in QUANTISED_OPS for one in graph.layers) or any(
        one.origin is not None and one.origin.kind in QUANTISED_OPS for one in graph.layers
    )

    def precision(layer: Layer) -> Precision:
        if quantised:
            return "int8"
        dtype = _dtype(graph, layer)
        kinds = {layer.op_type} if layer.origin is None else {layer.op_type, layer.origin.kind}
        kept = digital.precision == "as-file" or not kinds <= FORMATTED_OPS or layer.name not in graph
        kept = kept or (arithmetic is not None and layer.name in arithmetic.as_file)
        if kept or dtype != "float32":
            return _BY_DTYPE.get(dtype, "fp32")
        chosen = digital.precision if arithmetic is None else arithmetic.of(layer.name)
        return "fp32" if chosen is None or chosen == "as-file" else chosen

    def found(layer: Layer) -> NumberFormat:
        chosen = precision(layer)
        return NumberFormat(digital.cycles.of(chosen), BYTES[chosen])

    return found


def _dtype(graph: LayerGraph, layer: Layer) -> str:
    """Element type of an operator's weights, or of the tensors that it reads where it has none."""
    if layer.weight is not None:
        return layer.weight.dtype
    read = graph.networkx.in_edges(layer.name, data="dtype") if layer.name in graph else ()
    return next((dtype for *_, dtype in read if dtype is not None), "float32")
