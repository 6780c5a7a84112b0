"""Table of operators that multiply: their weight inputs, and the functions that count their MACs.

One table for all of them, by domain and name; `lhc.onnx_io.operators.operator_names` has the others. Only Conv, Gemm
and MatMul can be placed on tiles; whatever else multiplies is listed with its MACs and stays digital.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx

from lhc.graph import DEQUANTIZE, MatrixShape, Obstacle, Work
from lhc.onnx_io.operators import attention_macs as attention
from lhc.onnx_io.operators import mac_counting as c
from lhc.onnx_io.operators.mac_counting import kept_whole, steps_of
from lhc.onnx_io.operators.matrix_product import Unsized
from lhc.onnx_io.operators.operands import ATTRIBUTES, Operands, Part
from lhc.onnx_io.operators.operator_names import OPAQUE, WEIGHTLESS, identity, kind_of
from lhc.onnx_io.read.constants import Constants
from lhc.onnx_io.read.shapes import Shape

LARGE = 1024
"""Stored numbers with which an operator that is not known is listed."""


NO_SIZES = "its MACs depend on sizes that are not known and count nothing"


@dataclass(frozen=True)
class Counting:
    """How the products of an operator are counted.

    Attributes:
        count: its products.
        weights: inputs that may hold weights.
        note: what is assumed, in words.
        open: whether there are products that no shape tells the number of.
    """

    count: c.Counter
    weights: tuple[int, ...] = ()
    note: str | Callable[[Operands], str] = ""
    open: bool = False


def _routed(weight: int) -> Callable[[Operands], str]:
    def note(o: Operands) -> str:
        return f"counted as {c.chosen(o)} of {o.shape(weight)[0]} experts for every token"

    return note


def _nothing(o: Operands) -> list[Part]:
    return []


def _mamba(o: Operands) -> list[Part]:
    """MACs of Mamba2Verify: a convolution of four taps for every channel and token."""
    channels = o.shape(3)[0]
    return [Part(o.size(3) // channels, 1, o.shape(0)[0], 3, channels)]


def _tokens(o: Operands) -> list[Part]:
    """MACs of MoEGroupRouter where it projects activations (tokens, inputs) by (experts, inputs)."""
    return list(c.dense(2)(o)) if o.has(2) else []


_MATMUL = Counting(c.product(0, 1), (0, 1))
_RECURRENT = Counting(c.recurrent, (1, 2), "counted at the full length of its sequences")
_STEPS = Counting(c.depthwise, (1,))
_RUN_TIME = Counting(
    _nothing, note="how many products its cache asks for is only known when it runs; counted as none", open=True
)
_CLASSICAL = Counting(c.classical, (ATTRIBUTES,))
STEPWISE = frozenset({("", "GRU"), ("", "LSTM"), ("", "RNN")})
"""Recurrent operators that are written out as products, one for every step."""
_GPU = "onnxruntime has no kernel for it on CPUs, on which lhc runs networks"
_LONG = "counted as if every token attended globally"

_ONNX: Mapping[str, Counting] = {
    "Attention": Counting(attention.standard),
    "CausalConvWithState": _STEPS,
    "Conv": Counting(c.convolution(1), (1,)),
    "ConvInteger": Counting(c.convolution(1), (1,)),
    "ConvTranspose": Counting(c.transposed(1), (1,)),
    "DeformConv": Counting(c.convolution(1), (1,), "sampling at the offsets counts nothing"),
    "Einsum": Counting(c.einsum, tuple(range(16))),
    "GRU": _RECURRENT,
    "Gemm": _MATMUL,
    "LSTM": _RECURRENT,
    "LinearAttention": Counting(attention.linear),
    "MatMul": _MATMUL,
    "MatMulInteger": _MATMUL,
    "QLinearConv": Counting(c.convolution(3), (3,)),
    "QLinearMatMul": Counting(c.product(0, 3), (0, 3)),
    "RNN": _RECURRENT,
}
_ML: Mapping[str, Counting] = dict.fromkeys(
    ("LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor"), _CLASSICAL
)
_MICROSOFT: Mapping[str, Counting] = {
    "Attention": Counting(attention.projected(1, past=4), (1,)),
    "AttnLSTM": Counting(c.recurrent, (1, 2, 8, 9, 10, 13), _RECURRENT.note),
    "CDist": Counting(c.distances, (0, 1)),
    "CausalConvWithState": _STEPS,
    "ConvTransposeWithDynamicPads": Counting(c.transposed(1), (1,)),
    "DecoderAttention": Counting(attention.decoder, (2, 3)),
    "DecoderMaskedMultiHeadAttention": Counting(attention.multi_head),
    "DecoderMaskedSelfAttention": Counting(attention.projected(1, past=4), (1,), _GPU),
    "DynamicQuantizeLSTM": _RECURRENT,
    "DynamicQuantizeMatMul": _MATMUL,
    "DynamicSparseAttention": _RUN_TIME,
    "EngramGate": Counting(attention.gate),
    "FusedConv": Counting(c.convolution(1), (1,)),
    "FusedGemm": _MATMUL,
    "FusedMatMul": _MATMUL,
    "FusedMatMulActivation": _MATMUL,
    "GatedAdd": Counting(c.gated_add, (3,)),
    "GatedDeltaNet": Counting(attention.linear),
    "GatedDeltaNetStateReplay": _RUN_TIME,
    "GatedRelativePositionBias": Counting(c.relative_bias, (3,)),
    "GemmFastGelu": Counting(c.product(0, 1), (0, 1), _GPU),
    "GemmFloat8": _MATMUL,
    "GroupQueryAttention": Counting(attention.grouped),
    "HyperConnectionLowRankMix": Counting(c.low_rank_mix, (2, 3, 4)),
    "HyperConnectionPostMix": Counting(attention.mixed_streams, (3,)),
    "LinearAttention": Counting(attention.linear),
    "LongformerAttention": Counting(attention.longformer(1, 4), (1, 4), _LONG),
    "Mamba2Verify": Counting(_mamba, (3,), "its recurrence of activations counts nothing"),
    "MatMulBlockQuantizedFp4Weight": Counting(c.packed_rows(1), (1,)),
    "MatMulBlockQuantizedFp8Weight": Counting(c.dense(1), (1,)),
    "MatMulBnb4": Counting(c.fixed((1, "N")), (1,)),
    "MatMulFpQ4": Counting(c.fixed((1, ""), columns=2), (1,)),
    "MatMulInteger16": _MATMUL,
    "MatMulIntegerToFloat": _MATMUL,
    "MatMulNBits": Counting(c.fixed((1, "N")), (1,)),
    "MatMulNBitsMlp": Counting(c.fixed((3, "N"), (6, "N")), (3, 6)),
    "MatMulNBitsQLoRA": Counting(c.fixed((1, "N")), (1, 3, 5)),
    "MatMulNBitsQkv": Counting(c.fixed((3, "Nq"), (6, "Nkv"), (9, "Nkv")), (3, 6, 9)),
    "MatMulPacked": Counting(c.fixed((1, "N")), (1,)),
    "MoE": Counting(c.experts, (2, 4, 6), _routed(2)),
    "MoEGroupRouter": Counting(_tokens, (2,)),
    "MoEPacked": Counting(c.packed_experts, (2, 3, 4), _routed(2)),
    "MultiHeadAttention": Counting(attention.multi_head),
    "NhwcConv": Counting(c.channels_last(1), (1,)),
    "NhwcFusedConv": Counting(c.channels_last(1), (1,)),
    "PackedAttention": Counting(attention.projected(1, batch=3), (1,)),
    "PackedMultiHeadAttention": Counting(attention.packed),
    "PackedSparseAttentionIndexer": _RUN_TIME,
    "PagedAttention": _RUN_TIME,
    "QAttention": Counting(attention.projected(1, past=8), (1,)),
    "QGemm": Counting(c.product(0, 3), (0, 3)),
    "QLinearConv": Counting(c.convolution(3), (3,)),
    "QMoE": Counting(c.experts, (2, 5, 8), _routed(2)),
    "QOrderedAttention": Counting(attention.projected(5, 6, 7, past=18), (5, 6, 7)),
    "QOrderedLongformerAttention": Counting(attention.longformer(2, 8), (2, 8), _LONG),
    "QOrderedMatMul": Counting(c.dense(2), (2,)),
    "RouterGateUpProj": _MATMUL,
    "SparseAttention": _RUN_TIME,
    "SparseAttentionIndexer": _RUN_TIME,
    "SparsePagedAttention": _RUN_TIME,
    "SparseToDenseMatMul": Counting(c.sparse, (0, 1)),
    "TransposeMatMul": _MATMUL,
    "VarlenCausalConvWithState": _STEPS,
    "WordConvEmbedding": Counting(c.words, (1,)),
}
_INTERNAL: Mapping[str, Counting] = {
    "Conv": Counting(c.channels_last(1), (1,)),
    "ConvTranspose": Counting(c.transposed(1, last=True), (1,)),
    "QLinearConv": Counting(c.channels_last(3), (3,)),
    "QLinearConvTranspose": Counting(c.transposed(3, last=True), (3,)),
}
_NCHWC = "com.microsoft.nchwc"
_BLOCKED = "; its weights are in blocks for one kind of CPU: save the model at the level below, ORT_ENABLE_EXTENDED"
COUNTED: Mapping[tuple[str, str], Counting] = {
    (domain, name): counting
    for domain, countings in {
        "": _ONNX,
        "ai.onnx.ml": _ML,
        "ai.onnx.preview": {"FlexAttention": Counting(attention.standard)},
        "com.microsoft": _MICROSOFT,
        _NCHWC: {"Conv": Counting(c.convolution(1), (1,))},
        "com.ms.internal.nhwc": _INTERNAL,
    }.items()
    for name, counting in countings.items()
}
"""By domain (empty for ONNX's own) and name."""
_DEQUANTISED = frozenset(
    ("com.microsoft", name)
    for name in (
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulIntegerToFloat",
        "QAttention",
        "QGemm",
        "QLinearConv",
    )
)
"""Operators of other domains that are placed on request."""


def may_multiply(node: onnx.NodeProto, functions: frozenset[tuple[str, str]] = frozenset()) -> bool:
    """Whether an operator has to be looked at: it multiplies, or lhc does not know it.

    Args:
        functions: domain and name of the model's local functions, whose bodies are looked at instead.
    """
    kind = identity(node)
    return kind not in WEIGHTLESS and kind not in functions


def found_in(
    node: onnx.NodeProto, constants: Constants, known: Callable[[str], Shape | None], samples: int, strict: bool = False
) -> tuple[Work, Obstacle] | None:
    """Products of an operator, and why it stays digital; None where it has no products.

    Args:
        known: shape of a tensor, None where nothing is known.
        strict: sizes that are symbols are an error.

    Raises:
        Unsized: strictly, a size that it depends on is a symbol.
    """
    operands, counting = Operands(node, constants, known), COUNTED.get(identity(node))
    if counting is None:
        return None if identity(node) in WEIGHTLESS else _unknown(operands)
    weights = tuple(dict.fromkeys(node.input[i] for i in counting.weights if i != ATTRIBUTES and operands.is_stored(i)))
    kind = kind_of(node)
    if not weights and ATTRIBUTES not in counting.weights:
        why = Obstacle("no-static-weight", f"{kind} multiplies what is computed at run time; tiles hold constants")
    else:
        more = f"; {DEQUANTIZE}" if identity(node) in _DEQUANTISED else _BLOCKED if node.domain == _NCHWC else ""
        why = Obstacle("unsupported", f"{_why_not(operands, kind)}{more}")
    try:
        parts = list(counting.count(operands))
        note = counting.note if isinstance(counting.note, str) else counting.note(operands)
        work = _counted(parts, operands, weights, samples)
    except (IndexError, ValueError, ZeroDivisionError, Unsized) as error:
        if strict and isinstance(error, Unsized) and error.args[0]:
            raise
        held = sum(_size(operands, name) for name in weights)
        return Work(parameters=held, weights=weights, missing="sizes"), Obstacle(
            why.reason, f"{why.detail}; {NO_SIZES}"
        )
    if not parts and not counting.open:
        return None
    return work, Obstacle(why.reason, "; ".join(filter(None, (why.detail, note))))


def _why_not(operands: Operands, kind: str) -> str:
    """Why an operator that multiplies by weights is none of the products that go on tiles."""
    node = operands.node
    if identity(node) not in STEPWISE:
        return f"lhc places Conv, Gemm and MatMul on tiles, not {kind}"
    reason = kept_whole(node, operands.constants.__contains__)
    steps = steps_of(node, operands.known(node.input[0]))
    reason = reason or (steps if isinstance(steps, str) else "its weights or activations are unusual")
    return f"lhc places {kind} on tiles step by step, and not this one: {reason}"


def _counted(parts: list[Part], operands: Operands, weights: tuple[str, ...], samples: int) -> Work:
    """The products of one sample."""
    stored, activations, parameters = [], [], 0
    for part in parts:
        matrix = MatrixShape(part.rows, part.cols, part.groups, -(-part.positions // samples))
        if min(part.rows, part.cols, part.groups, part.positions, part.parameters or 0) < 0:
            raise ValueError(f"{operands.node.op_type} of negative size")
        if part.operand is None or not operands.is_stored(part.operand):
            activations.append(matrix)
        else:
            stored.append(matrix)
            parameters += matrix.parameters if part.parameters is None else part.parameters
    return Work(tuple(stored), tuple(activations), parameters, weights)


def _size(operands: Operands, name: str) -> int:
    """Elements of a tensor; 0 where they are not known."""
    sizes = operands.known(name) or ()
    return math.prod(size if isinstance(size, int) else 0 for size in sizes)


def _unknown(operands: Operands) -> tuple[Work, Obstacle] | None:
    """An operator that is in no table: listed where it holds or reads many numbers, or a compiled network."""
    node, constants = operands.node, operands.constants
    read = {name: _size(operands, name) for name in node.input if name and name in constants}
    large = {name: size for name, size in read.items() if size >= LARGE}
    held = [len(a.floats) or math.prod(a.t.dims) for a in node.attribute if a.floats or a.HasField("t")]
    count = sum(large.values()) + sum(size for size in held if size >= LARGE)
    if not count and identity(node) not in OPAQUE:
        return None
    what = f"it reads {count:,} stored numbers" if count else "it holds a network that cannot be looked into"
    detail = f"lhc does not know {kind_of(node)}; {what}; what it multiplies counts nothing"
    return Work(parameters=count, weights=tuple(large), missing="operator"), Obstacle("unsupported", detail)
