"""A digital model whose products compute in the machine's number formats, as onnxruntime runs them.

In int8 the tensors that a product reads and writes are put through QuantizeLinear and DequantizeLinear, where they are
made, or where they come into the model; its weights and bias are stored as integers. onnxruntime then computes with
integers, as in a network that its own quantiser made (QDQ). All digital operators read the tensor as these codes hold
it. In bf16 and fp16 the operands and the output of a product are rounded to the format, and sums are in float32.

Scales and codes of int8 are those of onnxruntime.quantization.quant_utils (`compute_scale_zp`, `quantize_nparray`),
version 1.17 and later, and of ONNX's QuantizeLinear: code = saturate(round half to even(x / scale) + zero point).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from lhc.hardware.description.digital import Precision
from lhc.onnx_io import Constants
from lhc.onnx_io.operators.operator_names import identity
from lhc.onnx_model import OnnxModel, captured, opset_of, with_nodes
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.runtime.digital_precision.products import DigitalProduct, codes_of, digital_products

Floats = npt.NDArray[np.float32]
_GREATEST_WEIGHT = 127
"""Magnitude of a weight's code; -128 is not used, so that codes are symmetric."""
_GREATEST_ACTIVATION = 255
_INT32 = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Codes:
    """Integers that stand for numbers: number = (code - zero point) · scale.

    Attributes:
        values: the codes.
        scale: one number, or one for every index of the axis.
    """

    values: npt.NDArray[np.integer]
    scale: Floats


def activation_codes(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of unsigned 8-bit codes for numbers from ``low`` (at most 0) to ``high`` (at least 0)."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / _GREATEST_ACTIVATION)
    if scale < np.finfo(np.float32).tiny:
        return np.float32(1.0), np.uint8(0)
    zero = np.rint(-low / np.float64(scale))
    return scale, np.uint8(min(max(zero, 0), _GREATEST_ACTIVATION))


def weight_codes(weight: npt.NDArray[np.floating], axis: int | None) -> Codes:
    """Signed 8-bit codes of weights, symmetric about 0.

    Args:
        axis: of the output channels, each with a scale of its own; None: one scale for all.
    """
    others = None if axis is None else tuple(n for n in range(weight.ndim) if n != axis)
    greatest = np.abs(weight).max(axis=others, keepdims=True).astype(np.float64)
    scale = (greatest / _GREATEST_WEIGHT).astype(np.float32)
    scale[scale < np.finfo(np.float32).tiny] = 1.0
    codes = np.clip(np.rint(weight / scale), -_GREATEST_WEIGHT, _GREATEST_WEIGHT).astype(np.int8)
    return Codes(codes, scale.reshape(-1) if axis is not None else scale.reshape(()))


def _bias_codes(bias: npt.NDArray[np.floating], scale: Floats) -> Codes | None:
    """32-bit codes of a bias in the unit of the sums of products; None where they do not fit.

    Args:
        bias: for every output channel, or one number for all.
        scale: of the activation times that of the weights; for every output channel, or one number for all.
    """
    codes = np.rint(bias.astype(np.float64) / scale)
    if np.abs(codes).max(initial=0) > _INT32:
        return None
    return Codes(codes.astype(np.int32), np.broadcast_to(scale, codes.shape).astype(np.float32))


def rounded(values: npt.NDArray[np.floating], precision: Precision) -> Floats:
    """Numbers rounded to bf16 or fp16, as float32; in fp16, those beyond its greatest become its greatest."""
    if precision == "fp16":
        greatest = np.finfo(np.float16).max
        half: Floats = np.clip(values, -greatest, greatest).astype(np.float16).astype(np.float32)
        return half
    import ml_dtypes

    found: Floats = np.asarray(values, np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)
    return found


_PER_CHANNEL_OPSET = 13
"""Of ONNX, that has QuantizeLinear with an axis; before, onnxruntime's own operator of that name is taken."""
_OWN_DOMAIN = "com.microsoft"
_CASTS: Mapping[Precision, int] = {"bf16": onnx.TensorProto.BFLOAT16, "fp16": onnx.TensorProto.FLOAT16}


def int8_tensors(
    nodes: Collection[onnx.NodeProto],
    constants: Collection[str] | Constants,
    outputs: Collection[str],
    arithmetic: DigitalArithmetic,
    analog: Collection[str] = (),
) -> frozenset[str]:
    """Tensors that hold int8 codes: those that a digital product in int8 reads or writes.

    Args:
        nodes: of the whole network as it is placed.
        outputs: of the network.
        analog: names of the operators on tiles.
    """
    found = digital_products(list(nodes), constants, outputs)
    own = (one for one in found if one.name not in analog and arithmetic.of(one.name) == "int8")
    return frozenset(tensor for one in own for tensor in codes_of(one, arithmetic.ranges))


def model_in_precision(
    proto: onnx.ModelProto, arithmetic: DigitalArithmetic, coded: Collection[str], analog: Collection[str] = ()
) -> onnx.ModelProto:
    """A model in the arithmetic of its machine; a copy where anything changes.

    Args:
        coded: tensors that hold int8 codes, see `int8_tensors`.
        analog: names of the operators in it that tiles compute.
    """
    return _Rewriting(proto, arithmetic, coded, analog).model()


def computes_as_file(model: OnnxModel, arithmetic: DigitalArithmetic) -> bool:
    """Whether a network without layers on tiles computes in this arithmetic as it does in its file.

    So it does where every product of a file in float32 is in fp32, or can only compute as in the file.
    """
    proto = model.as_file()
    outputs = {value.name for value in proto.graph.output}
    coded = int8_tensors(proto.graph.node, Constants(proto.graph), outputs, arithmetic)
    return not _Rewriting(proto, arithmetic, coded, ()).changes


class PlacedArithmetic:
    """Arithmetic of the digital segments of a placed network."""

    def __init__(
        self,
        arithmetic: DigitalArithmetic,
        nodes: Iterable[onnx.NodeProto],
        constants: Constants,
        outputs: Collection[str],
        analog: Collection[str],
    ) -> None:
        """Find the tensors that hold int8 codes; arguments as of `int8_tensors`."""
        self._arithmetic = arithmetic
        self._coded = int8_tensors(list(nodes), constants, outputs, arithmetic, analog)

    def of(self, segment: onnx.ModelProto) -> onnx.ModelProto:
        """A segment, or the whole network, whose products compute in it."""
        return model_in_precision(segment, self._arithmetic, self._coded)


class _Rewriting:
    """One model on its way into other number formats."""

    def __init__(
        self, proto: onnx.ModelProto, arithmetic: DigitalArithmetic, coded: Collection[str], analog: Collection[str]
    ) -> None:
        self._proto, self._arithmetic = proto, arithmetic
        self._constants = Constants(proto.graph)
        nodes = list(proto.graph.node)
        outputs = {value.name for value in proto.graph.output}
        found = (one for one in digital_products(nodes, self._constants, outputs) if one.name not in analog)
        formats = ((one, arithmetic.of(one.name)) for one in found)
        # In fp32, as in the file's own format, a product in float32 stays as it is.
        self._products = {one.output: (one, to) for one, to in formats if to is not None and to != "fp32"}
        self._coded = frozenset(coded)
        self._analog = frozenset(analog)
        self._domain = "" if opset_of(proto) >= _PER_CHANNEL_OPSET else _OWN_DOMAIN
        self._stored: dict[str, onnx.TensorProto] = {}

    @property
    def changes(self) -> bool:
        """Whether anything is rewritten."""
        tensors = (name for node in self._proto.graph.node for name in (*node.input, *node.output))
        return bool(self._products) or not self._coded.isdisjoint(tensors)

    def model(self) -> onnx.ModelProto:
        """The rewritten model."""
        if not self.changes:
            return self._proto
        nodes = list(self._rewritten())
        read = {name for node in nodes for name in (*node.input, *captured(node))}
        read |= {value.name for value in self._proto.graph.output}
        kept = (tensor for tensor in self._proto.graph.initializer if tensor.name in read)
        made = with_nodes(self._proto, nodes, kept)
        made.graph.initializer.extend(tensor for tensor in self._stored.values() if tensor.name in read)
        if self._domain and all(one.domain != self._domain for one in made.opset_import):
            made.opset_import.append(helper.make_opsetid(self._domain, 1))
        return made

    def _rewritten(self) -> Iterator[onnx.NodeProto]:
        inside: dict[str, str] = {}
        for value in self._proto.graph.input:
            if value.name in self._coded:
                inside[value.name] = f"{value.name}/int8"
                yield from self._in_codes(value.name, inside[value.name])
        for node in self._proto.graph.node:
            on_tiles = node.name in self._analog
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            if not on_tiles:
                for number, name in enumerate(node.input):
                    copy.input[number] = inside.get(name, name)
            codes: list[onnx.NodeProto] = []
            for number, name in enumerate(node.output):
                if name not in self._coded:
                    continue
                if on_tiles:  # other tiles read it as it is
                    inside[name] = f"{name}/int8"
                    codes += self._in_codes(name, inside[name])
                else:
                    copy.output[number] = f"{name}/exact"
                    codes += self._in_codes(f"{name}/exact", name, name)
            product = self._products.get(node.output[0]) if node.output else None
            before, after = ([], []) if product is None else self._product(copy, *product)
            yield from (*before, copy, *after, *codes)

    def _in_codes(self, tensor: str, name: str, ranged: str = "") -> list[onnx.NodeProto]:
        """Operators that put a tensor through its codes.

        Args:
            name: of the tensor that comes of it.
            ranged: name that its range is known by; its own by default.
        """
        low, high = self._arithmetic.ranges[ranged or tensor]
        scale, zero = activation_codes(low, high)
        key = ranged or tensor
        scales, zeros = self._store(f"{key}/scale", scale), self._store(f"{key}/zero_point", zero)
        codes = f"{name}/codes"
        return [
            self._node("QuantizeLinear", [tensor, scales, zeros], codes),
            self._node("DequantizeLinear", [codes, scales, zeros], name),
        ]

    def _product(
        self, node: onnx.NodeProto, product: DigitalProduct, precision: Precision
    ) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
        """Operators before and behind a product, whose inputs and output are changed in place."""
        if precision == "int8":
            return (self._int8(node, product) if codes_of(product, self._arithmetic.ranges) else []), []
        before: list[onnx.NodeProto] = []
        for number in range(2):
            name = node.input[number]
            if number == product.weight:
                if self._constants.dtype(name) == "float32":
                    node.input[number] = self._store(f"{name}/{precision}", rounded(self._value(name), precision))
            else:
                before += self._cast(name, f"{product.output}/{number}/{precision}", precision)
                node.input[number] = f"{product.output}/{number}/{precision}"
        output = node.output[0]
        node.output[0] = f"{output}/sum"
        return before, self._cast(node.output[0], output, precision)

    def _cast(self, tensor: str, name: str, precision: Precision) -> list[onnx.NodeProto]:
        """Rounding of a tensor to a format of 16 bits."""
        there = f"{name}/there"
        return [
            helper.make_node("Cast", [tensor], [there], name=f"{there}/Cast", to=_CASTS[precision]),
            helper.make_node("Cast", [there], [name], name=f"{name}/Cast", to=onnx.TensorProto.FLOAT),
        ]

    def _int8(self, node: onnx.NodeProto, product: DigitalProduct) -> list[onnx.NodeProto]:
        """Integers of a product's weights and bias."""
        if product.weight is None or self._constants.dtype(node.input[product.weight]) != "float32":
            return []
        name, (low, high) = node.input[product.weight], self._arithmetic.ranges[product.read[0]]
        weight = self._value(name)
        axis = _channel_axis(node, product.weight, weight.ndim) if self._arithmetic.per_channel else None
        codes = weight_codes(weight, axis)
        attributes = {} if axis is None else {"axis": axis}
        stem = name if axis is None else f"{name}/axis{axis}"  # another product may have its channels elsewhere
        stored, scale = self._store(f"{stem}/int8", codes.values), self._store(f"{stem}/scale", codes.scale)
        made = [self._node("DequantizeLinear", [stored, scale], f"{product.output}/weight", **attributes)]
        node.input[product.weight] = made[0].output[0]
        if len(node.input) > 2 and node.input[2] and node.input[2] in self._constants and product.weight == 1:
            bias = self._value(node.input[2])
            sums = _bias_codes(bias, activation_codes(low, high)[0] * codes.scale) if bias.ndim == 1 else None
            if sums is not None:
                stored = self._store(f"{product.output}/bias/int32", sums.values)
                scale = self._store(f"{product.output}/bias/scale", sums.scale)
                made.append(self._node("DequantizeLinear", [stored, scale], f"{product.output}/bias", axis=0))
                node.input[2] = made[-1].output[0]
        return made

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: int) -> onnx.NodeProto:
        made = helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", domain=self._domain)
        made.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        return made

    def _store(self, name: str, values: object) -> str:
        if name not in self._stored:
            self._stored[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def _value(self, name: str) -> np.ndarray:
        return self._constants.value(name)


def _channel_axis(node: onnx.NodeProto, operand: int, axes: int) -> int | None:
    """Axis of the output channels of a weight; None where it has none that onnxruntime takes a scale for."""
    if identity(node)[1] == "Conv":
        return 0
    if operand != 1 or axes != 2:
        return None
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return 0 if transposed else 1
