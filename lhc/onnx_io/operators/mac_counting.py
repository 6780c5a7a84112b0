"""MACs of all operators but attention, and steps of recurrent ones.

Each function yields the products of one operator over the whole batch. Shapes and attributes are those of ONNX's and
onnxruntime's operator documentation (docs/Operators.md, docs/ContribOperators.md). Biases, scales, activations and
normalisations count nothing; padding of stored weights is left out where the operator tells it.

Recurrent operators (LSTM, GRU, RNN) have a number of steps (`steps_of`), and obstacles to writing them out step by step
(`kept_whole`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import onnx

from lhc.onnx_io.operators.matrix_product import Unsized
from lhc.onnx_io.operators.operands import ATTRIBUTES, Operands, Part
from lhc.onnx_io.read.shapes import Shape

MOST_STEPS = 256
"""Steps that are written out."""

_CLIPS = {"activation_alpha", "activation_beta", "clip"}


def kept_whole(node: onnx.NodeProto, is_constant: Callable[[str], bool]) -> str | None:
    """Reason why an operator stays whole, whatever the number of its steps; None where nothing keeps it."""
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
    """Number of steps of an operator, or why it is not known or too large; ``shape``: of its first input."""
    layout = any(a.name == "layout" and a.i for a in node.attribute)
    steps = None if shape is None or len(shape) != 3 else shape[1 if layout else 0]
    if not isinstance(steps, int):
        return "how many steps it takes, samples tell (--data)"
    return steps if 0 < steps <= MOST_STEPS else f"it takes {steps:,} steps, and at most {MOST_STEPS} are written out"


Counter = Callable[[Operands], Iterable[Part]]
"""The products of an operator."""


def product(first: int, second: int) -> Counter:
    """MACs of MatMul, Gemm and fused forms; attributes ``transA``, ``transBatchA`` and the like count."""

    def count(o: Operands) -> Iterator[Part]:
        left = _oriented(o.shape(first), o.integer("transA"), o.integer("transBatchA"))
        right = _oriented(o.shape(second), o.integer("transB"), o.integer("transBatchB"))
        yield _multiplied(left, right, _held(o, first, second))

    return count


def _oriented(shape: tuple[int, ...], last: int, batch: int) -> tuple[int, ...]:
    """An operand after its transpositions: those of the batch axes with the first matrix axis, then of the last two."""
    if len(shape) < 2:
        return shape
    if batch:
        shape = (*shape[1:-1], shape[0], shape[-1])
    return (*shape[:-2], shape[-1], shape[-2]) if last else shape


def _held(o: Operands, first: int, second: int) -> int | None:
    """Which of two operands is stored, the second where both are."""
    return next((index for index in (second, first) if o.is_stored(index)), None)


def _multiplied(left: tuple[int, ...], right: tuple[int, ...], operand: int | None) -> Part:
    """``left @ right`` by the rules of numpy.matmul."""
    rows = left[-1]
    height = left[-2] if len(left) > 1 else 1
    width = right[-1] if len(right) > 1 else 1
    batch = math.prod(np.broadcast_shapes(left[:-2], right[:-2]))
    stored = left if operand == 0 else right
    cols, positions = (height, width * batch) if operand == 0 else (width, height * batch)
    return Part(rows, cols, positions, operand, parameters=math.prod(stored))


def dense(weight: int) -> Counter:
    """MACs of a product over the activation's last axis, in whatever order the matrix is stored."""

    def count(o: Operands) -> Iterator[Part]:
        *outer, rows = o.shape(0)
        yield Part(rows, o.size(weight) // max(rows, 1), math.prod(outer), weight)

    return count


def packed_rows(weight: int) -> Counter:
    """MACs of a product by weights (outputs, …) of which several lie in one stored element."""

    def count(o: Operands) -> Iterator[Part]:
        *outer, rows = o.shape(0)
        yield Part(rows, o.shape(weight)[0], math.prod(outer), weight)

    return count


def fixed(*weights: tuple[int, str], columns: int | None = None) -> Counter:
    """MACs of products whose sizes are the attributes ``K`` and another.

    Args:
        weights: the input that holds each, and the attribute with its number of outputs.
        columns: input that holds both sizes, where no attributes do.
    """

    def count(o: Operands) -> Iterator[Part]:
        positions = math.prod(o.shape(0)[:-1])
        for index, name in weights:
            rows, cols = (
                o.value(columns).reshape(-1).tolist() if columns is not None else (o.integer("K"), o.integer(name))
            )
            yield Part(int(rows), int(cols), positions, index)
        if o.node.op_type == "MatMulNBitsQLoRA" and o.has(3) and o.size(3):
            rank = o.shape(3)[0]
            yield Part(o.integer("K"), rank, positions, 3)
            yield Part(rank, o.integer("N"), positions, 5)

    return count


def convolution(weight: int, last: bool = False) -> Counter:
    """MACs of convolutions: every weight is used once for every output position.

    Args:
        weight: input with the kernel (outputs, inputs / groups, ...kernel).
        last: channels are the output's last axis.
    """

    def count(o: Operands) -> Iterator[Part]:
        kernel, out = o.shape(weight), o.output()
        in_last = last or o.integer("channels_last") == 1
        groups = max(o.integer("group", 1), 1)
        places = out[0] * math.prod(out[1:-1] if in_last else out[2:])
        yield Part(math.prod(kernel[1:]), kernel[0] // groups, places, weight, groups)

    return count


def channels_last(weight: int) -> Counter:
    """MACs of convolutions that keep channels last."""
    return convolution(weight, last=True)


def transposed(weight: int, last: bool = False) -> Counter:
    """MACs of transposed convolutions: every weight is used once for every input position."""

    def count(o: Operands) -> Iterator[Part]:
        kernel, read = o.shape(weight), o.shape(0)
        groups = max(o.integer("group", 1), 1)
        places = read[0] * math.prod(read[1:-1] if last else read[2:])
        yield Part(kernel[0] // groups, math.prod(kernel[1:]), places, weight, groups)

    return count


def depthwise(o: Operands) -> Iterator[Part]:
    """MACs of depthwise convolutions by kernels (channels, 1, ...kernel), one output for every input."""
    kernel, read = o.shape(1), o.shape(0)
    yield Part(math.prod(kernel[1:]), 1, math.prod(read) // kernel[0], 1, kernel[0])


def words(o: Operands) -> Iterator[Part]:
    """MACs of WordConvEmbedding: a convolution over the letters of each word; W (filters, 1, window, embedding)."""
    kernel, (*outer, letters) = o.shape(1), o.shape(0)
    places = math.prod(outer) * max(letters - kernel[2] + 1, 1)
    yield Part(math.prod(kernel[1:]), kernel[0], places, 1)


def recurrent(o: Operands) -> Iterator[Part]:
    """MACs of RNN, GRU and LSTM: every weight is used once for every step of every sequence.

    X (steps, sequences, inputs), or (sequences, steps, inputs) in ``layout`` 1; W and R (directions, ...). AttnLSTM
    also attends to a memory M (sequences, moments, depth) at every step.
    """
    steps, sequences = o.shape(0)[:2]
    if o.integer("layout") == 1:
        steps, sequences = sequences, steps
    for weight in (1, 2):
        yield _each_direction(o, weight, steps * sequences)
    if o.node.op_type == "AttnLSTM":
        moments, depth = o.shape(11)[1:]
        yield _each_direction(o, 8, steps * sequences)
        yield _each_direction(o, 9, moments * sequences)
        yield _each_direction(o, 10, steps * sequences * moments)
        yield Part(moments, depth, steps * sequences, None, o.shape(1)[0])
        if o.has(13):
            yield _each_direction(o, 13, steps * sequences)


def _each_direction(o: Operands, weight: int, positions: int) -> Part:
    directions, *matrix = o.shape(weight)
    return Part(matrix[-1], math.prod(matrix[:-1]), positions, weight, directions)


def distances(o: Operands) -> Iterator[Part]:
    """MACs of CDist: one multiplication for every element of every pair of rows."""
    left, right = o.shape(0), o.shape(1)
    yield _multiplied(left, (right[1], right[0]), _held(o, 0, 1))


def sparse(o: Operands) -> Iterator[Part]:
    """MACs of a sparse matrix by a dense one: as many as stored entries; as if dense where it comes at run time."""
    left = _oriented(o.shape(0), o.integer("transA"), 0)
    right = _oriented(o.shape(1), o.integer("transB"), 0)
    entries = o.constants.entries(o.node.input[0])
    if entries is None:
        yield _multiplied(left, right, _held(o, 0, 1))
    else:
        yield Part(1, entries, math.prod(right) // right[-2], 0)


def einsum(o: Operands) -> Iterator[Part]:
    """MACs of Einsum, operand by operand from the left; a pair that sums over nothing is no product."""
    ranks = [len(o.shape(index)) for index in range(len(o.node.input))]
    terms, kept = einsum_labels(o.text("equation"), ranks)
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms):
        for label, size in zip(term, o.shape(index), strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    left, held = terms[0], 0 if o.is_stored(0) else None
    for index, right in enumerate(terms[1:], 1):
        later = {*kept, *(label for term in terms[index + 1 :] for label in term)}
        summed = [label for label in dict.fromkeys((*left, *right)) if label not in later]
        stored = index if o.is_stored(index) else held
        if summed:
            yield _summed(left, right, summed, sizes, stored, index)
        left = tuple(label for label in dict.fromkeys((*left, *right)) if label in later)
        held = held if o.is_stored(index) else None


def _summed(
    left: Sequence[str],
    right: Sequence[str],
    summed: Sequence[str],
    sizes: dict[str, int],
    stored: int | None,
    index: int,
) -> Part:
    """A product of two operands; ``stored`` is the one with weights, ``index`` the right one."""
    weight, other = (left, right) if stored is not None and stored != index else (right, left)
    both = set(weight) & set(other)

    def count(labels: Sequence[str] | set[str]) -> int:
        return math.prod(sizes[label] for label in labels if label not in summed)

    rows = math.prod(sizes[label] for label in summed)
    parameters = math.prod(sizes[label] for label in weight)
    return Part(rows, count(set(weight) - both), count(set(other) - both), stored, count(both), parameters)


def einsum_labels(equation: str, ranks: Sequence[int]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Labels of every operand of an Einsum and of its output; an ellipsis is given labels of its own.

    Args:
        ranks: axes of every operand.

    Raises:
        Unsized: the equation is of other operands.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise Unsized(())
    terms = [_labels(text, rank) for text, rank in zip(texts, ranks, strict=True)]
    hidden = max(([label for label in term if len(label) > 1] for term in terms), key=len)
    if arrow:
        before, dots, after = right.partition("...")
        return terms, (*before, *(hidden if dots else ()), *after)
    seen = [label for term in terms for label in term]
    return terms, (*hidden, *(label for label in sorted({*seen}) if len(label) == 1 and seen.count(label) == 1))


def _labels(text: str, axes: int) -> tuple[str, ...]:
    before, dots, after = text.partition("...")
    hidden = axes - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise Unsized(())
    return (*before, *(f"...{hidden - place}" for place in range(hidden)), *after)


def experts(o: Operands) -> Iterator[Part]:
    """MACs of MoE and QMoE: each token goes through ``k`` experts; stored weights are those of all.

    fc1 (experts, fused · inner, hidden), fc2 (experts, hidden, inner), fc3 as fc1 or not given; of QMoE several
    quantised values lie in a byte.
    """
    quantised = o.node.op_type == "QMoE"
    hidden, tokens = o.shape(0)[-1], math.prod(o.shape(0)[:-1])
    for number, weight in enumerate((2, 5, 8) if quantised else (2, 4, 6), 1):
        if not o.has(weight):
            continue
        shape = o.shape(weight)
        total = math.prod(shape) * (_packing(o, weight, number) if quantised else 1)
        inner = total // (shape[0] * hidden)
        rows, cols = (inner, hidden) if number == 2 else (hidden, inner)
        yield Part(rows, cols, tokens * chosen(o), weight, parameters=total)


def chosen(o: Operands) -> int:
    """Experts for every token; the sparse mixer always takes two."""
    return 2 if o.integer("use_sparse_mixer") == 1 else o.integer("k", 1)


def _packing(o: Operands, weight: int, number: int) -> int:
    """Values in one stored element."""
    if o.dtype(weight) not in ("uint8", "int8", "") or o.text("quant_type", "int") == "fp8":
        return 1
    bits = o.integer(f"fc{number}_expert_weight_bits") or o.integer("expert_weight_bits", 4)
    if not 0 < bits <= 8:
        raise ValueError(f"{bits} bits")
    return 8 // bits if o.text("quant_type", "int") == "int" else 2


def packed_experts(o: Operands) -> Iterator[Part]:
    """MACs of MoEPacked: gate and up (experts, inner, bytes), down (experts, hidden, bytes)."""
    hidden, tokens = o.shape(0)[-1], math.prod(o.shape(0)[:-1])
    number, inner = o.shape(2)[:2]
    for weight in (2, 3, 4):
        if o.has(weight):
            rows, cols = (inner, hidden) if weight == 4 else (hidden, inner)
            yield Part(rows, cols, tokens * o.integer("k", 1), weight, parameters=number * inner * hidden)


def gated_add(o: Operands) -> Iterator[Part]:
    """MACs of GatedAdd where its gate is projected by weights (inputs, 1)."""
    if o.has(3):
        *outer, rows = o.shape(2)
        yield Part(rows, 1, math.prod(outer), 3)


def relative_bias(o: Operands) -> Iterator[Part]:
    """MACs of GatedRelativePositionBias: every head of every token by a weight (head size, outputs)."""
    rows, cols = o.shape(3)
    yield Part(rows, cols, o.size(0) // max(rows, 1), 3)


def low_rank_mix(o: Operands) -> Iterator[Part]:
    """MACs of HyperConnectionLowRankMix: down, up and gate, each (inputs, outputs)."""
    tokens = math.prod(o.shape(0)[:-1])
    for weight in (2, 3, 4):
        rows, cols = o.shape(weight)
        yield Part(rows, cols, tokens, weight)


def classical(o: Operands) -> Iterator[Part]:
    """MACs of linear models and support vector machines, whose weights are attributes.

    One multiplication a weight: a kernel, radial ones too, is a product with every support vector.
    """
    shape = o.shape(0)
    samples = shape[0] if len(shape) > 1 else 1
    for name in ("coefficients", "support_vectors"):
        if o.floats(name):
            yield Part(1, o.floats(name), samples, ATTRIBUTES)
