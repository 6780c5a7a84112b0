"""ConvTranspose: a convolution of the spread input by the turned kernel.

    ConvTranspose(x, W, b) = Conv(spread(x), turned(W), b)

``spread`` puts stride - 1 zeros between neighbours (and behind the last one, where they count as padding), ``turned``
reverses the kernel along its axes and swaps its channels within each group. Where k is the kernel's size, d its
dilation, s the stride, p the padding and o the output padding of an axis (onnx, docs/Operators.md), the convolution
pads by

    before: d (k - 1) - p_before        after: d (k - 1) - p_after + o - (s - 1)

and what is less than 0 is cut off. Of what tiles are given, one part in the product of the strides is no zero: they
compute a vector for every output, where the file's operator multiplies once for every input.
"""

import numpy as np
import onnx
from onnx import numpy_helper

from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule
from lhc.onnx_io.read.constants import Array
from lhc.onnx_model import OnnxModel, captured, replace_nodes

_DTYPES = ("float16", "float32", "float64")


@rule("ConvTranspose")
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where the weight is constant, and the padding known where a shape asks for it."""
    if not site.is_constant(1) or site.constants.dtype(site.name(1)) not in _DTYPES:
        return False
    weight, groups = site.value(1), site.integer("group", 1)
    kernel = weight.shape[2:]
    strides, dilations = (site.integers(name) or [1] * len(kernel) for name in ("strides", "dilations"))
    behind = site.integers("output_padding") or [0] * len(kernel)
    spans = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    pads = _padding(site, spans, strides, behind)
    if pads is None or not kernel or min(strides) < 1:
        return False
    before = [span - low for span, (low, _) in zip(spans, pads, strict=True)]
    after = [
        span - high + more - (stride - 1)
        for span, (_, high), more, stride in zip(spans, pads, behind, strides, strict=True)
    ]
    x = site.name(0) if max(strides) == 1 else _spread(site, strides)
    for axis, (low, high) in enumerate(zip(before, after, strict=True), 2):
        if min(low, high) < 0:
            x = site.cut(x, max(-low, 0), high if high < 0 else np.iinfo(np.int64).max, axis)
    inputs = [x, site.store(f"{site.name(1)}/turned", _turned(weight, groups)), *filter(None, [site.name(2)])]
    padded = [max(number, 0) for number in (*before, *after)]
    site.product("", "Conv", *inputs, output=site.node.output[0], group=groups, dilations=dilations, pads=padded)
    return True


def _padding(
    site: RewriteContext, spans: list[int], strides: list[int], behind: list[int]
) -> list[tuple[int, int]] | None:
    """Cropping before and after every axis; None where it depends on unknown sizes."""
    automatic, wanted = site.text("auto_pad", "NOTSET"), site.integers("output_shape")
    if automatic in ("NOTSET", "VALID") and not wanted:
        given = site.integers("pads") or [0] * (2 * len(spans))
        return list(zip(given[: len(spans)], given[len(spans) :], strict=True))
    sizes = (site.shape(site.name(0)) or ())[2:] if wanted else [1] * len(spans)  # else it is the same for any size
    totals = []
    for axis, (span, stride, more) in enumerate(zip(spans, strides, behind, strict=True)):
        size = sizes[axis] if axis < len(sizes) else None
        if not isinstance(size, int):
            return None
        output = wanted[axis] if wanted else size * stride
        totals.append((size - 1) * stride + more + span + 1 - output)
    if min(totals) < 0:
        return None
    smaller_first = automatic == "SAME_UPPER"
    halves = [(total // 2, total - total // 2) for total in totals]
    return halves if smaller_first else [(high, low) for low, high in halves]


def _spread(site: RewriteContext, strides: list[int]) -> str:
    """The input with zeros behind every element, whatever its sizes."""
    x, axes = site.name(0), list(range(3, 3 + 2 * len(strides), 2))
    apart = site.add("Unsqueeze", x, axes=axes) if site.opset < 13 else site.add("Unsqueeze", x, site.numbers(axes))
    pads = [0] * (2 + 2 * len(strides)) + [0, 0] + [number for stride in strides for number in (0, stride - 1)]
    padded = site.add("Pad", apart, pads=pads) if site.opset < 11 else site.add("Pad", apart, site.numbers(pads))
    sizes = site.add("Mul", site.add("Shape", x), site.numbers([1, 1, *strides]))
    return site.add("Reshape", padded, sizes)


def _turned(weight: Array, groups: int) -> Array:
    """(inputs, outputs / groups, ...kernel) -> (outputs, inputs / groups, ...kernel), kernel reversed."""
    inputs, outputs, *kernel = weight.shape
    apart = weight.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    whole: Array = apart.reshape(groups * outputs, inputs // groups, *kernel)
    return np.flip(whole, axis=tuple(range(2, whole.ndim)))


def transposed_again(model: OnnxModel, proto: onnx.ModelProto) -> None:
    """Put a file's operators in place of the convolutions that they became, with the kernels that these hold now.

    So a network whose weights were changed in this form keeps its operators, and with them its MACs and what it costs
    digitally.

    Args:
        model: in its canonical form.
        proto: a copy of it with other weights, all held in it; changed in place.
    """
    file = {} if model.file is None else {one.node.name: one for one in model.file.rewritten}
    form = {node.name: node for node in proto.graph.node}
    ours = {name: one for name, one in file.items() if one.node.op_type == "ConvTranspose" and name in form}
    if not ours:
        return
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    read = {name for node in proto.graph.node for name in (*node.input, *captured(node))}
    for name, one in ours.items():
        groups = next((attribute.i for attribute in one.node.attribute if attribute.name == "group"), 1)
        held, kernel = one.node.input[1], form[name].input[1]
        values = _turned(numpy_helper.to_array(stored[kernel]), groups)
        form[name] = onnx.NodeProto()
        form[name].CopyFrom(one.node)
        form[name].input[1] = held if held in stored and held not in read else kernel
        stored[form[name].input[1]].CopyFrom(numpy_helper.from_array(values, form[name].input[1]))
    left = {other for name, one in ours.items() for other in one.made if other != name}
    kept: list[onnx.NodeProto] = []
    wanted = {output.name for output in proto.graph.output}
    for node in reversed(form.values()):
        if node.name not in left or not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted.update((*node.input, *captured(node)))
    replace_nodes(proto.graph, reversed(kept))
    for index in reversed(range(model.file.tensors if model.file else 0, len(proto.graph.initializer))):
        if proto.graph.initializer[index].name not in wanted:
            del proto.graph.initializer[index]
