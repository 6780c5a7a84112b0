"""Mutants that keep the structure valid: names, sizes, types, attributes, plans that could be, but not together.

`tests.fuzz.mutations` damages files; these are files that open, whose parts contradict each other. Each depends on its
number and the seed alone.
"""

import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tests.networks import drawn, parsed

__all__ = ["BASES", "annotate", "data_of", "mutant"]

SIZES = (0, 1, 2, 3, 5, 8, 17, 10**6, 2**40, -1, -7, 2**62)
FLOATS = (0.0, -1.0, 5e-324, 1e-45, 1e30, 1e38, 1e308, -1e308, 1e-12)
TYPES = (
    *(TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.INT4),
    *(TensorProto.UINT4, TensorProto.FLOAT4E2M1, TensorProto.INT8, TensorProto.INT64, TensorProto.BOOL),
    *(TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.UINT64),
)
OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", "Add", "Softmax", "Flatten", "Einsum", "QLinearConv")
NAMES = ("", "x", "image", "a/b", "weird [1]", "é", "\x1b]0;t\x07", "=1+1", "a\rb", "<b>", "*", "re:(a+)+$")

CONVOLUTIONS = """<ir_version: 8, opset_import: ["" : 17]>
small (float[N, 2, 6, 6] image) => (float[N, 4] logits) {
  [stem] c = Conv <pads = [1, 1, 1, 1]> (image, w, b)
  [act] r = Relu (c)
  [depth] d = Conv <group = 4, strides = [2, 2]> (r, k)
  [pool] p = GlobalAveragePool (d)
  [flat] f = Flatten (p)
  [hidden] h = MatMul (f, u)
  [head] logits = Gemm <transB = 1> (h, v, a)
}"""
TOKENS = """<ir_version: 8, opset_import: ["" : 17]>
tokens (float[N, 5, 6] x) => (float[N, 5, 3] y) {
  [q] q = MatMul (x, wq)
  [k] k = MatMul (x, wk)
  [t] t = Transpose <perm = [0, 2, 1]> (k)
  [s] s = MatMul (q, t)
  [p] p = Softmax (s)
  [o] o = MatMul (p, x)
  [n] n = Add (o, x)
  [out] y = MatMul (n, wo)
}"""
SHAPES: dict[str, tuple[int, ...]] = {
    "w": (4, 2, 3, 3),
    "b": (4,),
    "k": (8, 1, 3, 3),
    "u": (8, 6),
    "v": (4, 6),
    "a": (4,),
}
BASES: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "convolutions": (CONVOLUTIONS, SHAPES),
    "tokens": (TOKENS, {"wq": (6, 6), "wk": (6, 6), "wo": (6, 3)}),
}


def base(name: str) -> onnx.ModelProto:
    """A network by its name."""
    text, weights = BASES[name]
    return parsed(text, drawn(weights))


def data_of(name: str, samples: int = 24) -> dict[str, np.ndarray]:
    """Samples of a network."""
    rng = np.random.default_rng(1)
    if name == "tokens":
        return {"x": rng.normal(size=(samples, 5, 6)).astype(np.float32)}
    return {
        "image": rng.normal(size=(samples, 2, 6, 6)).astype(np.float32),
        "labels": rng.integers(0, 4, samples),
    }


def annotate(name: str, data: str, out: str) -> list[str]:
    """The command that gives a network its plan."""
    metric = ["--metric", "nmse"] if name == "tokens" else []
    few = ["--samples", "24", "--draws", "2", "--max-drop", "0.5", "--objective", "macs", "--quiet"]
    return ["partition", f"{name}.onnx", "--data", data, *few, *metric, "-o", out]


def mutant(model: onnx.ModelProto, rng: Random) -> onnx.ModelProto:
    """The network with one to three of its parts changed; one with a plan has that changed as often as the network."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    planned = any(entry.key.startswith("lhc.") for entry in changed.metadata_props)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kinds = PLANS if planned and rng.random() < 0.5 else NETWORKS
        rng.choice(kinds)(changed, rng)
    return changed


def _renames_nodes(model: onnx.ModelProto, rng: Random) -> None:
    for number, node in enumerate(model.graph.node):
        if rng.random() < 0.7:
            node.name = rng.choice((*NAMES, f"renamed{number}", node.op_type))


def _renames_a_tensor(model: onnx.ModelProto, rng: Random) -> None:
    old = rng.choice([name for node in model.graph.node for name in node.output])
    new = rng.choice((*NAMES, f"{old}2"))
    for node in model.graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name == old:
                    names[at] = new


def _sizes_an_attribute(model: onnx.ModelProto, rng: Random) -> None:
    node = rng.choice([n for n in model.graph.node if n.attribute] or list(model.graph.node))
    choices: dict[str, Callable[[], object]] = {
        "kernel_shape": lambda: [rng.choice(SIZES) for _ in range(rng.choice((1, 2, 2, 3)))],
        "strides": lambda: [rng.choice(SIZES) for _ in range(rng.choice((1, 2, 2, 3)))],
        "dilations": lambda: [rng.choice(SIZES) for _ in range(rng.choice((1, 2, 2, 3)))],
        "pads": lambda: [rng.choice(SIZES) for _ in range(rng.choice((2, 4, 4, 6)))],
        "group": lambda: rng.choice(SIZES),
        "transA": lambda: rng.choice(SIZES),
        "transB": lambda: rng.choice(SIZES),
        "alpha": lambda: rng.choice(FLOATS),
        "beta": lambda: rng.choice(FLOATS),
        "axis": lambda: rng.choice(SIZES),
        "perm": lambda: [rng.choice((0, 1, 2, 3, -1)) for _ in range(3)],
        "auto_pad": lambda: rng.choice(("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "NONE")),
        "equation": lambda: rng.choice(("ij,jk", "...i,ij->...j", "", "i->", "abc,abc,abc->")),
    }
    name = rng.choice([a.name for a in node.attribute if a.name in choices] * 3 + list(choices))
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    value = choices[name]()
    kind = AttributeProto.INTS if isinstance(value, list) else None
    try:
        node.attribute.append(helper.make_attribute(name, value, attr_type=kind))
    except (OverflowError, ValueError):
        node.attribute.append(helper.make_attribute(name, 1))


def _reshapes_a_weight(model: onnx.ModelProto, rng: Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    shape = list(tensor.dims)
    kind = rng.randrange(5)
    if kind == 0:
        shape = shape[::-1]
    elif kind == 1:
        shape = [1, *shape]
    elif kind == 2:
        shape = shape[1:]
    elif kind == 3 and shape:
        shape[rng.randrange(len(shape))] = rng.choice((0, 1, 2, 7))
    else:
        shape = [int(np.prod(shape))]
    array = np.resize(numpy_helper.to_array(tensor), shape) if tensor.data_type == TensorProto.FLOAT else None
    if array is not None:
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), tensor.name))


def _revalues_a_weight(model: onnx.ModelProto, rng: Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    if tensor.data_type == TensorProto.FLOAT:
        array = numpy_helper.to_array(tensor).copy()
        with np.errstate(over="ignore"):
            value = np.float32(rng.choice((*FLOATS, float("inf"), float("nan"))))
        if rng.random() < 0.5:
            array[...] = value
        elif array.size:
            array.flat[rng.randrange(array.size)] = value
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _retypes_a_value(model: onnx.ModelProto, rng: Random) -> None:
    graph = model.graph
    if rng.random() < 0.3:
        rng.choice(graph.initializer).data_type = rng.choice(TYPES)
        return
    value = rng.choice([*graph.input, *graph.output, *graph.value_info])
    value.type.tensor_type.elem_type = rng.choice((*TYPES, 0, 99))


def _resizes_a_value(model: onnx.ModelProto, rng: Random) -> None:
    value = rng.choice([*model.graph.input, *model.graph.output, *model.graph.value_info])
    dims = value.type.tensor_type.shape.dim
    kind = rng.randrange(4)
    if kind == 0 and dims:
        del dims[rng.randrange(len(dims))]
    elif kind == 1:
        dims.add().dim_value = rng.choice(SIZES)
    elif kind == 2 and dims:
        dims[rng.randrange(len(dims))].dim_param = rng.choice(("N", "M", "", "N+1"))
    elif dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(SIZES)


def _tells_a_wrong_shape(model: onnx.ModelProto, rng: Random) -> None:
    name = rng.choice([name for node in model.graph.node for name in node.output if name])
    sizes = [rng.choice((*SIZES, "N")) for _ in range(rng.choice((0, 1, 2, 3, 4)))]
    kind = rng.choice((TensorProto.FLOAT, TensorProto.FLOAT, *TYPES))
    model.graph.value_info.append(helper.make_tensor_value_info(name, kind, sizes))


def _replaces_an_operator(model: onnx.ModelProto, rng: Random) -> None:
    node = rng.choice(model.graph.node)
    node.op_type = rng.choice((*OPERATORS, "NoSuch"))
    if rng.random() < 0.2:
        node.domain = rng.choice(("com.microsoft", "own", "ai.onnx.ml"))


def _rewires(model: onnx.ModelProto, rng: Random) -> None:
    node = rng.choice(model.graph.node)
    names = [*[t.name for t in model.graph.initializer], *[v.name for v in model.graph.input], ""]
    names += [name for other in model.graph.node for name in other.output]
    kind = rng.randrange(4)
    if kind == 0 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind == 1:
        node.input.append(rng.choice(names))
    elif kind == 2 and node.input:
        del node.input[-1]
    else:
        node.output.append(rng.choice(("", "more")))


def _drops_or_doubles_a_node(model: onnx.ModelProto, rng: Random) -> None:
    nodes = model.graph.node
    at = rng.randrange(len(nodes))
    if rng.random() < 0.5 and len(nodes) > 1:
        del nodes[at]
    else:
        twin = nodes.add()
        twin.CopyFrom(nodes[at])
        twin.output[0] = f"{twin.output[0]}_twin"
        if rng.random() < 0.5:
            twin.name = f"{twin.name}_twin"


def _changes_versions(model: onnx.ModelProto, rng: Random) -> None:
    if rng.random() < 0.5:
        model.opset_import[0].version = rng.choice((1, 6, 7, 9, 11, 13, 18, 21, 23, 99))
    else:
        model.ir_version = rng.choice((1, 3, 4, 7, 10, 11, 99))


def _renames_layers(model: onnx.ModelProto, rng: Random) -> None:
    """As an optimiser does that keeps the model's metadata and drops the nodes'."""
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
        if rng.random() < 0.5:
            del node.metadata_props[:]


def _forges_a_number(model: onnx.ModelProto, rng: Random) -> None:
    """One leaf of the plan, the hardware or the result is another value of about its kind."""
    entries = [entry for entry in model.metadata_props if entry.key in ("lhc.plan", "lhc.hardware", "lhc.result")]
    entry = rng.choice(entries) if entries else None
    try:
        document = json.loads(entry.value) if entry else None
    except ValueError:
        return
    leaves: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        pairs: Iterable[tuple[Any, Any]] = ()
        if isinstance(holder, dict | list):
            pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, value in pairs:
            if isinstance(value, dict | list):
                waiting.append(value)
            else:
                leaves.append((holder, key))
    if entry is None or not leaves:
        return
    holder, key = rng.choice(leaves)
    old = holder[key]
    new: object = rng.choice((None, *NAMES))
    if isinstance(old, bool):
        new = not old
    elif isinstance(old, int):
        new = rng.choice((*SIZES, old + 1))
    elif isinstance(old, float):
        new = rng.choice((*FLOATS, 1e300, old * 2, -old))
    elif isinstance(old, str) and rng.random() < 0.5:
        new = rng.choice(("analog", "digital", "mixed", "eligible", "sensitivity", "lionheart", "kl", "accuracy"))
    holder[key] = new
    entry.value = json.dumps(document)


def _mixes_annotations(model: onnx.ModelProto, rng: Random) -> None:
    holders = [node.metadata_props for node in model.graph.node if node.metadata_props]
    if len(holders) > 1:
        one, other = rng.sample(holders, 2)
        swapped = [(e.key, e.value) for e in one], [(e.key, e.value) for e in other]
        for holder, pairs in zip((other, one), swapped, strict=True):
            del holder[:]
            for key, value in pairs:
                holder.add(key=key, value=value)


Kind = Callable[[onnx.ModelProto, Random], None]
NETWORKS: tuple[Kind, ...] = (
    _renames_nodes, _renames_a_tensor, _sizes_an_attribute, _sizes_an_attribute, _reshapes_a_weight,
    _revalues_a_weight, _retypes_a_value, _resizes_a_value, _tells_a_wrong_shape, _tells_a_wrong_shape,
    _replaces_an_operator, _rewires, _drops_or_doubles_a_node, _changes_versions,
)  # fmt: skip
PLANS: tuple[Kind, ...] = (_renames_layers, _forges_a_number, _forges_a_number, _forges_a_number, _mixes_annotations)
