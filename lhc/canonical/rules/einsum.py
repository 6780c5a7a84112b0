"""Einsum of an activation and a constant: a product of matrices between transpositions and reshapes.

    Einsum<bsd,dhk->bshk>(x, w) = Reshape(MatMul(x, Reshape(w)))

What is summed over is moved behind in the activation, and in front in the weight; the rest of the output's axes follow.
A label that both operands and the output have, or one that an operand has twice, leaves the operator as it is. An
ellipsis stands for axes of one operand. Where both have such axes, or nobody knows how many, the operator stays.
"""

import math
from collections.abc import Sequence

import numpy as np

from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule
from lhc.onnx_io.operators.mac_counting import einsum_labels
from lhc.onnx_io.operators.matrix_product import Unsized


@rule("Einsum")
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where one of two operands is constant and every label stands for one axis."""
    equation = site.text("equation").replace(" ", "")
    texts = equation.replace("->", ",").split(",")
    if len(site.node.input) != 2 or len(texts) != 3:
        return False
    held = next((index for index in (1, 0) if site.is_constant(index)), None)
    if held is None or site.is_constant(1 - held):
        return False
    ranks = [len(text) if "." not in text else site.rank(index) for index, text in enumerate(texts[:2])]
    known = [rank for rank in ranks if rank is not None]  # where one is missing, the equation is of more operands
    try:
        operands, output = einsum_labels(equation, known)
    except Unsized:
        return False
    if any(len({*term}) < len(term) for term in (*operands, output)):
        return False
    weight, activation = operands[held], operands[1 - held]
    summed = [label for label in activation if label in weight and label not in output]
    rows = [label for label in activation if label not in summed]
    cols = [label for label in weight if label not in summed]
    if not rows or not summed or not cols or {*rows} & {*cols} or sorted(output) != sorted(rows + cols):
        return False
    array = site.value(held)
    if array.ndim != len(weight) or array.dtype.name not in ("float16", "float32", "float64"):
        return False
    sizes = dict(zip(weight, array.shape, strict=True))
    fed = dict(zip(activation, site.shape(site.name(1 - held)) or (), strict=False))
    if any(1 in (sizes[label], fed.get(label)) for label in summed):  # onnxruntime may repeat it
        return False
    turned = array.transpose([weight.index(label) for label in (*summed, *cols)])
    matrix = turned.reshape(math.prod(sizes[label] for label in summed), -1)
    _write(site, site.name(1 - held), activation, (rows, summed, cols), output, sizes, matrix, held)
    return True


def _write(
    site: RewriteContext,
    x: str,
    activation: Sequence[str],
    labels: tuple[list[str], list[str], list[str]],
    output: Sequence[str],
    sizes: dict[str, int],
    matrix: np.ndarray,
    held: int,
) -> None:
    """The nodes; ``labels`` of the activation's rows, of what is summed over, and of the weight's columns."""
    rows, summed, cols = labels
    order = [activation.index(label) for label in (*rows, *summed)]
    if order != sorted(order):
        x = site.add("Transpose", x, perm=order)
    if len(summed) > 1:
        x = site.add("Reshape", x, site.numbers([0] * len(rows) + [-1]))
    back = [(*rows, *cols).index(label) for label in output]
    turns, splits = back != sorted(back), len(cols) > 1
    last = site.node.output[0]
    weight = site.store(f"{site.name(held)}/matrix", matrix)
    y = site.product("", "MatMul", x, weight, output=None if turns or splits else last)
    if splits:
        shape = site.numbers([0] * len(rows) + [sizes[label] for label in cols])
        y = site.add("Reshape", y, shape, output=None if turns else last)
    if turns:
        site.add("Transpose", y, output=last, perm=back)
