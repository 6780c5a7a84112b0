"""MatMul by a stack of matrices, or by matrices that are picked from one: a product by each, put together again.

    MatMul(x, W)    = Concat(MatMul(x_0, W_0), MatMul(x_1, W_1), …),      W (matrices, inputs, outputs)
    MatMul(x, W[i]) = Σ_e m_e · MatMul(m_e · x, W_e),      m_e = (i = e)

x has a matrix of vectors for every one of W, or one for all. So experts are written that compute side by side, and
products of single heads: MACs are those of all matrices, which is what the operator multiplies. Parts are the numbers
of the matrices.

Where matrices are picked, x is ``(rows, vectors, inputs)`` and i ``(rows,)``, by Gather or GatherND; so transformers
writes experts, the picked matrices on either side and transposed or not. Vectors of zeros are not driven on tiles; MACs
are counted as if rows were spread evenly over the matrices.
"""

import onnx
from onnx import TensorProto

from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule

_TYPES = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
_SWAPPED = [0, 2, 1]


@rule("MatMul")
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where an operand is picked from a stack, or the second is one and it is known whether the first is."""
    if not site.constants.is_stored(site.name(1)):
        return _rewrite_picked(site)
    if site.rank(1) != 3 or site.is_constant(0):
        return False
    shape = site.shape(site.name(0))
    count = site.constants.shape(site.name(1))[0]
    if shape is None or len(shape) not in (2, 3) or count < 2 or (len(shape) == 3 and shape[0] not in (1, count)):
        return False
    if site.constants.dtype(site.name(1)) not in _TYPES:
        return False
    stack, x = site.value(1), site.name(0)
    apart = len(shape) == 3 and shape[0] == count
    if len(shape) == 3 and not apart:
        x = site.add("Gather", x, site.numbers(0), axis=0)
    outputs = []
    for number, matrix in enumerate(stack):
        vectors = site.add("Gather", x, site.numbers(number), axis=0) if apart else x
        weight = site.store(f"{site.name(1)}/{number}", matrix)
        outputs.append(site.unsqueeze(site.product(str(number), "MatMul", vectors, weight), 0))
    site.add("Concat", *outputs, output=site.node.output[0], axis=0)
    return True


def _rewrite_picked(site: RewriteContext) -> bool:
    """Rewrite where one operand is picked from a stack and the other has as many axes."""
    for operand in (0, 1):
        found = _picked(site, site.name(operand))
        if found is not None and site.rank(1 - operand) == 3:
            picking, swapped = found
            _write(site, picking, swapped != (operand == 0), operand)
            return True
    return False


def _picked(site: RewriteContext, name: str) -> tuple[onnx.NodeProto, bool] | None:
    """The Gather that picks a tensor's matrices, and whether they are transposed."""
    node = site.made_by(name)
    swapped = node is not None and node.op_type == "Transpose"
    if node is not None and swapped:
        perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
        node = site.made_by(node.input[0]) if perm == _SWAPPED else None
    if node is None or node.op_type not in ("Gather", "GatherND") or any(a.i for a in node.attribute):
        return None
    stack, numbers = node.input
    shape = site.shape(numbers)
    rows = shape is not None and (len(shape) == 1 if node.op_type == "Gather" else len(shape) == 2 and shape[1] == 1)
    if not rows or not site.constants.is_stored(stack) or len(site.constants.shape(stack)) != 3:
        return None
    return (node, swapped) if site.constants.dtype(stack) in _TYPES else None


def _write(site: RewriteContext, picking: onnx.NodeProto, swapped: bool, operand: int) -> None:
    """A product by every matrix, or by its transpose; vectors in rows, which they are not where it comes first."""
    name, numbers = picking.input
    stack = site.constants.value(name)
    x, output = site.name(1 - operand), site.node.output[0]
    if operand == 0:
        x = site.add("Transpose", x, perm=_SWAPPED)
    at = site.add("Cast", site.add("Reshape", numbers, site.numbers([-1, 1, 1])), to=TensorProto.INT64)
    many = site.numbers(len(stack))
    at = site.add("Mod", site.add("Add", at, many), many)  # -1 is the last one
    parts = []
    for number, matrix in enumerate(stack):
        is_it = site.add("Equal", at, site.numbers(number))
        mask = site.add("Cast", is_it, to=_TYPES[stack.dtype.name])
        weight = site.store(f"{name}/{number}", matrix.T if swapped else matrix)
        y = site.product(str(number), "MatMul", site.add("Mul", x, mask), weight)
        site.routed[f"{site.node.name}/{number}"] = (1, len(stack), number)
        parts.append(site.add("Mul", y, mask))
    total = site.add("Sum", *parts, output=None if operand == 0 else output)
    if operand == 0:
        site.add("Transpose", total, perm=_SWAPPED, output=output)
