"""A Llama-style decoder (Touvron et al., 2023) written as ONNX directly, its weights in a file beside it.

A layer: ``x -> x + o(attention(norm(x)))``, then ``x -> x + down(silu(gate(norm(x))) * up(norm(x)))``. RMS norm;
rotary positions that turn ``(i, i + size / 2)`` of every head by position times ``theta^(-2i / size)`` (Su et al.,
2021), grouped key and value heads (Ainslie et al., EMNLP 2023). No projection has a bias. Where the output layer shares
the embedding's weights, both read one initializer.

`lhc.models.llama` is the same in PyTorch; torch's exporter takes a minute and a half for 30 layers, and holds all
weights several times. Here one weight is in memory at a time.

Input ``input_ids`` ``(batch, sequence)``, output ``logits`` ``(batch, sequence, words)``. Short sequences are filled up
at their end by any index: no logit depends on what is behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lhc.errors import ModelError
from lhc.models.export import OPSET
from lhc.onnx_model import store_elsewhere
from lhc.samples.metrics import Array
from lhc.support.files import write_files

DATA_SUFFIX = ".data"
"""Behind the name of a model, that of the file with its weights."""
_ALIGNMENT = 4096
"""Where weights begin, in bytes: pages, so that they can be mapped."""
_IR_VERSION = 10
_FUTURE = float(np.finfo(np.float32).min)

WeightSource = Mapping[str, Callable[[], Array]]
"""Weights by Hugging Face's names without ``.weight``, ``(outputs, inputs)``; called when one is needed."""


@dataclass(frozen=True)
class DecoderSizes:
    """Sizes of a decoder.

    Attributes:
        words: size of the vocabulary.
        width: of the hidden states.
        heads: of the queries.
        key_heads: of keys and values.
        inner: width between the projections of the feed-forward.
        theta: base of the rotary frequencies.
        epsilon: of all RMS norms.
    """

    words: int
    width: int
    layers: int
    heads: int
    key_heads: int
    inner: int
    theta: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_size(self) -> int:
        """Numbers of a head."""
        return self.width // self.heads


class _Graph:
    """Nodes and weights as they are added; weights go to the data file at once."""

    def __init__(self, sizes: DecoderSizes, weights: WeightSource, data: IO[bytes], location: str) -> None:
        self.sizes = sizes
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._weights = weights
        self._data = data
        self._location = location

    def add(self, op: str, name: str, *inputs: str, **attributes: int | Sequence[int]) -> str:
        """A node of one output, which has its name; gives that name."""
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))  # type: ignore[arg-type]  # attributes, all by name
        return name

    def constant(self, name: str, values: object, dtype: type = np.int64) -> str:
        """A small initializer."""
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weight(self, name: str, shape: tuple[int, ...], turned: bool = False) -> str:
        """A stored weight, checked against its shape; ``turned``: written as ``(inputs, outputs)``, as MatMul reads it.

        Raises:
            ModelError: it is missing, has another shape or is not finite.
        """
        if name not in self._weights:
            raise ModelError(f"weights {name} are missing")
        array = np.asarray(self._weights[name](), np.float32)
        if array.shape != shape:
            raise ModelError(f"weights {name} have shape {array.shape} instead of {shape}")
        if not np.isfinite(array).all():
            raise ModelError(f"weights {name} hold NaN or infinite values")
        array = array.T if turned else array
        self._data.write(b"\0" * (-self._data.tell() % _ALIGNMENT))
        tensor = TensorProto(name=f"{name}.weight", data_type=TensorProto.FLOAT, dims=array.shape)
        store_elsewhere(tensor, {"location": self._location, "offset": self._data.tell(), "length": array.nbytes})
        self._data.write(np.ascontiguousarray(array, "<f4").data)
        self.initializers.append(tensor)
        return tensor.name

    def linear(self, path: str, x: str, inputs: int, outputs: int) -> str:
        """A product with stored weights."""
        return self.add("MatMul", path, x, self.weight(path, (outputs, inputs), turned=True))

    def norm(self, path: str, x: str) -> str:
        """RMS norm."""
        mean = self.add("ReduceMean", f"{path}.mean", self.add("Mul", f"{path}.square", x, x), "last", keepdims=1)
        root = self.add("Sqrt", f"{path}.root", self.add("Add", f"{path}.shifted", mean, "epsilon"))
        scaled = self.add("Div", f"{path}.scaled", x, root)
        return self.add("Mul", path, scaled, self.weight(path, (self.sizes.width,)))


def write_decoder(sizes: DecoderSizes, weights: WeightSource, path: Path) -> None:
    """Write a decoder and, beside it, its weights; the model last, so that one which is there is whole.

    Args:
        weights: by name; without ``lm_head`` the output layer shares the embedding's.

    Raises:
        ModelError: sizes that do not fit each other, or weights that do not fit them.
        UsageError: the place cannot be written.
    """
    if min(sizes.words, sizes.width, sizes.layers, sizes.key_heads, sizes.inner) < 1:
        raise ModelError(f"not a decoder: its sizes are {sizes}")
    if sizes.width % sizes.heads or sizes.heads % sizes.key_heads or sizes.head_size % 2:
        raise ModelError(f"not a decoder: heads do not divide its width evenly: {sizes}")
    data = path.with_name(path.name + DATA_SUFFIX)
    made: list[onnx.ModelProto] = []
    write_files(
        [
            (data, lambda file: made.append(_model(sizes, weights, file, data.name))),
            (path, lambda file: file.write(made[0].SerializeToString(deterministic=True))),
        ]
    )


def _model(sizes: DecoderSizes, weights: WeightSource, data: IO[bytes], location: str) -> onnx.ModelProto:
    graph = _Graph(sizes, weights, data, location)
    _constants(graph)
    embedding = graph.weight("embed_tokens", (sizes.words, sizes.width))
    x = graph.add("Gather", "embed_tokens.gather", embedding, "input_ids")
    for number in range(sizes.layers):
        x = _layer(graph, f"layers.{number}", x)
    x = graph.norm("norm", x)
    if "lm_head" in weights:
        head = graph.weight("lm_head", (sizes.words, sizes.width), turned=True)
    else:
        head = graph.add("Transpose", "lm_head.turned", embedding, perm=[1, 0])
    graph.nodes.append(helper.make_node("MatMul", [x, head], ["logits"], "lm_head"))
    read = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
    written = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", sizes.words])
    body = helper.make_graph(graph.nodes, "decoder", [read], [written], graph.initializers)
    imports = [helper.make_opsetid("", OPSET)]
    return helper.make_model(body, opset_imports=imports, ir_version=_IR_VERSION, producer_name="lhc")


def _constants(graph: _Graph) -> None:
    """Small constants, rotary angles ``cos`` and ``sin`` ``(sequence, size)`` and the mask of the future."""
    sizes = graph.sizes
    size, shared = sizes.head_size, sizes.heads // sizes.key_heads
    graph.constant("last", [-1])
    graph.constant("zero", 0)
    graph.constant("one", 1)
    graph.constant("none", 0.0, np.float32)
    graph.constant("epsilon", sizes.epsilon, np.float32)
    graph.constant("future", _FUTURE, np.float32)
    graph.constant("scale", size**-0.5, np.float32)
    graph.constant("halves", [size // 2, size // 2])
    graph.constant("query_heads", [0, 0, sizes.key_heads, shared, size])
    graph.constant("key_heads", [0, 0, sizes.key_heads, 1, size])
    graph.constant("joined", [0, 0, sizes.width])
    graph.constant("columns", [-1, 1])
    frequencies = sizes.theta ** (-np.arange(0, size, 2) / size)
    graph.constant("frequencies", np.tile(frequencies, 2), np.float32)
    length = graph.add("Shape", "length.shape", "input_ids", start=1, end=2)
    count = graph.add("Squeeze", "length", length)
    positions = graph.add("Range", "positions", "zero", count, "one")
    column = graph.add("Reshape", "positions.column", positions, "columns")
    later = graph.add("Less", "later", column, positions)
    graph.add("Where", "mask", later, "future", "none")
    angles = graph.add("Mul", "angles", graph.add("Cast", "angles.cast", column, to=TensorProto.FLOAT), "frequencies")
    graph.add("Cos", "cos", angles)
    graph.add("Sin", "sin", angles)


def _layer(graph: _Graph, path: str, x: str) -> str:
    sizes, attention, mlp = graph.sizes, f"{path}.self_attn", f"{path}.mlp"
    keys = sizes.key_heads * sizes.head_size
    h = graph.norm(f"{path}.input_layernorm", x)
    q, k, v = (
        graph.linear(f"{attention}.{name}_proj", h, sizes.width, outputs)
        for name, outputs in (("q", sizes.width), ("k", keys), ("v", keys))
    )
    q = _rotated(graph, f"{attention}.q", _heads(graph, f"{attention}.q", q, "query_heads", (0, 2, 3, 1, 4)))
    k = _rotated(graph, f"{attention}.k", _heads(graph, f"{attention}.k", k, "key_heads", (0, 2, 3, 1, 4)))
    k = graph.add("Transpose", f"{attention}.k.turned", k, perm=[0, 1, 2, 4, 3])
    v = _heads(graph, f"{attention}.v", v, "key_heads", (0, 2, 3, 1, 4))
    scores = graph.add("Mul", f"{attention}.scaled", graph.add("MatMul", f"{attention}.scores", q, k), "scale")
    shares = graph.add("Softmax", f"{attention}.softmax", graph.add("Add", f"{attention}.masked", scores, "mask"))
    mixed = graph.add("MatMul", f"{attention}.values", shares, v)
    mixed = graph.add("Transpose", f"{attention}.mixed", mixed, perm=[0, 3, 1, 2, 4])
    mixed = graph.add("Reshape", f"{attention}.joined", mixed, "joined")
    x = graph.add("Add", f"{attention}.sum", x, graph.linear(f"{attention}.o_proj", mixed, sizes.width, sizes.width))
    h = graph.norm(f"{path}.post_attention_layernorm", x)
    gate, up = (graph.linear(f"{mlp}.{name}_proj", h, sizes.width, sizes.inner) for name in ("gate", "up"))
    silu = graph.add("Mul", f"{mlp}.silu", gate, graph.add("Sigmoid", f"{mlp}.sigmoid", gate))
    down = graph.linear(f"{mlp}.down_proj", graph.add("Mul", f"{mlp}.gated", silu, up), sizes.inner, sizes.width)
    return graph.add("Add", f"{mlp}.sum", x, down)


def _heads(graph: _Graph, path: str, x: str, shape: str, order: Sequence[int]) -> str:
    """``(batch, sequence, width)`` to ``(batch, key heads, heads that share one, sequence, size)``."""
    return graph.add("Transpose", f"{path}.heads", graph.add("Reshape", f"{path}.split", x, shape), perm=order)


def _rotated(graph: _Graph, path: str, x: str) -> str:
    left, right = f"{path}.left", f"{path}.right"
    graph.nodes.append(helper.make_node("Split", [x, "halves"], [left, right], f"{path}.parts", axis=-1))
    across = graph.add("Concat", f"{path}.across", graph.add("Neg", f"{path}.negative", right), left, axis=-1)
    along = graph.add("Mul", f"{path}.along", x, "cos")
    return graph.add("Add", f"{path}.rotated", along, graph.add("Mul", f"{path}.turn", across, "sin"))
