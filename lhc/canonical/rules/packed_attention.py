"""Attention and QAttention (com.microsoft): three projections by one packed matrix, and attention of what they give.

    Attention(x, W, b)  = MultiHeadAttention(x Wq + bq, x Wk + bk, x Wv + bv),      W = (Wq | Wk | Wv)
    QAttention(x, W, b) = Attention(s_x · (x - z_x), s_W · (W - z_W), b)

onnxruntime, docs/ContribOperators.md. Scale and zero point of an activation may be computed, one for the whole of it.
The parts of the operator are ``q``, ``k`` and ``v``. Past keys and values come, and present ones go, as one tensor
``(2, sequences, heads, tokens, size)``. With rotary embeddings, a buffer that is shared from call to call or a mask
that MultiHeadAttention does not take, it stays as it is.
"""

from lhc.canonical.integer_operands import float_codes, matrix_values, may_be_one
from lhc.canonical.rewrite_context import RewriteContext, cut_parts
from lhc.canonical.rule_registry import rule
from lhc.onnx_io.read.constants import Array

_MASK, _PAST, _BIAS_OF_SCORES, _LENGTH = 3, 4, 5, 6
_Q_BIAS, _Q_SCALE, _Q_WEIGHT_SCALE, _Q_MASK, _Q_ZERO, _Q_WEIGHT_ZERO, _Q_PAST = range(2, 9)


@rule("Attention", domain="com.microsoft")
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where the packed matrix is constant."""
    weight = site.is_constant(1) and site.rank(1) == 2 and site.constants.dtype(site.name(1)) in ("float32", "float16")
    if not weight or site.name(_LENGTH) or site.integer("do_rotary") or (site.name(2) and not site.is_constant(2)):
        return False
    if not _takes(site, _MASK):
        return False
    bias = site.value(2) if site.name(2) else None
    return _write(site, site.name(0), site.value(1), bias, (_MASK, _BIAS_OF_SCORES), _PAST)


@rule("QAttention", domain="com.microsoft", on_request=True)
def rewrite_quantised(site: RewriteContext) -> bool:
    """Rewrite a product of integers where weights and bias are constant."""
    if site.integer("do_rotary") or not site.is_constant(_Q_BIAS) or not may_be_one(site, _Q_SCALE, _Q_ZERO):
        return False
    packed = matrix_values(site, 1, _Q_WEIGHT_SCALE, _Q_WEIGHT_ZERO, 1)
    if packed is None or packed.ndim != 2 or not _takes(site, _Q_MASK):
        return False
    x = float_codes(site, site.name(0), site.name(_Q_ZERO), site.name(_Q_SCALE))
    return _write(site, x, packed, site.value(_Q_BIAS), (_Q_MASK, None), _Q_PAST)


def _takes(site: RewriteContext, mask: int) -> bool:
    """Whether MultiHeadAttention takes a mask of this shape; where it is not known, the parity gate sees.

    It does not take ends and starts of sequences ``(2 * sequences)``, nor one number a sequence ``(sequences, 1)``.
    """
    shape, given = site.shape_of(mask), site.shape_of(0)
    if shape is None or given is None or len(given) != 3:
        return shape is None or len(shape) in (1, 2, 3)
    (sequences, tokens, _), last = given, shape[-1]
    if len(shape) == 2:
        return last != 1 or tokens == 1
    starts_too = len(shape) == 1 and isinstance(last, int) and isinstance(sequences, int) and last == 2 * sequences
    return len(shape) in (1, 3) and not starts_too


def _write(
    site: RewriteContext, x: str, packed: Array, bias: Array | None, others: tuple[int, int | None], past: int
) -> bool:
    """Three products and attention of what they give; False where sizes do not fit.

    Args:
        packed: the three matrices side by side.
        bias: of the three, one after the other; None for none.
        others: inputs with the mask and with what is added to scores; None where it has no such input.
        past: input with keys and values of earlier calls.
    """
    node = site.node
    sizes = site.integers("qkv_hidden_sizes") or [packed.shape[1] // 3] * 3
    if sum(sizes) != packed.shape[1]:
        return False
    biases = None if bias is None else cut_parts(bias, sizes, 0)
    projected = []
    for index, (part, matrix) in enumerate(zip("qkv", cut_parts(packed, sizes, 1), strict=True)):
        y = site.product(part, "MatMul", x, site.store(f"{site.name(1)}/{part}", matrix))
        if biases is not None:
            y = site.add("Add", y, site.store(f"{site.name(2)}/{part}", biases[index]))
        projected.append(y)
    attended = [*projected, "", *("" if index is None else site.name(index) for index in others)]
    if site.name(past):
        attended += [site.add("Gather", site.name(past), site.numbers(which), axis=0) for which in (0, 1)]
    while not attended[-1]:
        attended.pop()
    site.add("MultiHeadAttention", *attended, output=node.output[0], domain="com.microsoft")
    attention = site.nodes[-1]
    kept = ("num_heads", "mask_filter_value", "scale", "unidirectional")
    attention.attribute.extend(a for a in node.attribute if a.name in kept)
    if len(node.output) > 1 and node.output[1]:
        attention.output.extend(site.new_name(f"{node.name}/{which}") for which in ("keys", "values"))
        both = [site.unsqueeze(tensor, 0) for tensor in attention.output[1:]]
        site.add("Concat", *both, output=node.output[1], axis=0)
    return True
