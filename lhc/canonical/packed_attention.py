"""Attention (com.microsoft): three projections by one packed matrix, and attention of what they give.

    Attention(x, W, b) = MultiHeadAttention(x Wq + bq, x Wk + bk, x Wv + bv),      W = (Wq | Wk | Wv)

onnxruntime, docs/ContribOperators.md. The parts of the operator are ``q``, ``k`` and ``v``. With past keys, rotary
embeddings or a mask that MultiHeadAttention does not take, it stays as it is.
"""

from lhc.canonical.site import OperatorSite, cut_parts

__all__ = ["rewrite"]

_MASK, _PAST, _BIAS_OF_SCORES = 3, 4, 5


def rewrite(site: OperatorSite) -> bool:
    """Rewrite where the packed matrix is constant and nothing is kept from call to call."""
    node = site.node
    weight = site.is_constant(1) and site.rank(1) == 2 and site.constants.dtype(site.name(1)) in ("float32", "float16")
    more = any(site.name(index) for index in (_PAST, 6)) or len([name for name in node.output if name]) > 1
    if not weight or more or site.integer("do_rotary") or (site.name(2) and not site.is_constant(2)):
        return False
    if site.name(_MASK) and site.rank(_MASK) not in (None, 1, 2, 3):  # where it is not known, the parity gate sees
        return False
    packed = site.value(1)
    sizes = site.integers("qkv_hidden_sizes") or [packed.shape[1] // 3] * 3
    if sum(sizes) != packed.shape[1]:
        return False
    biases = cut_parts(site.value(2), sizes, 0) if site.name(2) else None
    projected = []
    for index, (part, matrix) in enumerate(zip("qkv", cut_parts(packed, sizes, 1), strict=True)):
        y = site.product(part, "MatMul", site.name(0), site.store(f"{site.name(1)}/{part}", matrix))
        if biases is not None:
            y = site.add("Add", y, site.store(f"{site.name(2)}/{part}", biases[index]))
        projected.append(y)
    attended = [*projected, "", site.name(_MASK), site.name(_BIAS_OF_SCORES)]
    while not attended[-1]:
        attended.pop()
    site.add("MultiHeadAttention", *attended, output=node.output[0], domain="com.microsoft")
    kept = ("num_heads", "mask_filter_value", "scale", "unidirectional")
    site.nodes[-1].attribute.extend(a for a in node.attribute if a.name in kept)
    return True
