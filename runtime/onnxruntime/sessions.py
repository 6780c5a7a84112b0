"""onnxruntime: sessions on one thread, errors a user can act on, tensors observed at run time."""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

from lhc.errors import DataError, ModelError, NotFiniteError
from lhc.onnx_io import beside_data, declared_shape, input_shapes, serialized, stored_array
from lhc.onnx_model import OnnxModel, all_nodes, is_held, opset_of, producers_of, replace_nodes, subgraphs
from lhc.support.memory import give_back, large_pieces_apart

if TYPE_CHECKING:  # loaded for the first session: most models are read without one
    from lhc.runtime.onnxruntime.library import onnxruntime as ort

Array = npt.NDArray[Any]
_QDQ_OPSET = 13
_WIDE_VALUES = 2**20
"""Values that are held in float64 at once."""
ROUNDED = 1e-4
"""Share of the greatest output within which outputs of two forms of one network in float32 differ by rounding."""
STEPS = 20
"""Of a float type, that a tensor behind many layers may be from another computation of it."""

_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "ai.onnx.preview.training"}
"""Whose operators onnxruntime brings along."""
_NOTHING = {"x": np.zeros(1, np.float32)}

_READS_AS_STORED = frozenset({"Conv", "Gather", "Gemm", "MatMul"})
"""Operators past which onnxruntime moves no transposition: their weights are used as they are, packed, or fused into
others of a new name."""


@dataclass(frozen=True)
class TensorInfo:
    """Name, onnxruntime type string and shape of a model input or output, as onnxruntime's own NodeArg has them."""

    name: str
    type: str
    shape: list[int | str | None]


def _type_string(kind: onnx.TypeProto) -> str:
    """A type as onnxruntime writes it; empty where the file does not say."""
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        return f"seq({_type_string(kind.sequence_type.elem_type)})"
    if which == "optional_type":
        return f"optional({_type_string(kind.optional_type.elem_type)})"
    if which == "map_type":
        key, value = _element_name(kind.map_type.key_type), kind.map_type.value_type
        inner = _type_string(value)
        return f"map({key},{inner})"
    element = _element_name(kind.tensor_type.elem_type)
    return f"tensor({element})" if which == "tensor_type" and element else ""


def _element_name(elem_type: int) -> str:
    kinds = onnx.TensorProto.DataType
    return str(kinds.Name(elem_type)).lower() if elem_type in kinds.values() and elem_type else ""


def tensor_infos(model: OnnxModel, outputs: bool = False) -> list[TensorInfo]:
    """Inputs (without initializers) or outputs of a model."""
    graph = model.proto.graph
    wanted = graph.output if outputs else [v for v in graph.input if v.name in input_shapes(model)]
    return [TensorInfo(value.name, _type_string(value.type), list(declared_shape(value) or ())) for value in wanted]


@cache
def _pool() -> "ort.InferenceSession":
    """Have one pool of memory for all sessions of the process; what gives back its free memory (`give_back_pool`).

    A session with a pool of its own keeps what its largest run needed. A network with many analog layers is many
    sessions: 18 GB for a transformer on 40 texts of 384 tokens.
    """
    from lhc.runtime.onnxruntime.library import onnxruntime as ort

    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    # No bound. It grows by what is asked for: pieces of powers of two would never be given back.
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(0, 1, -1, -1))
    graph = onnx.parser.parse_graph("pool (float[1] x) => (float[1] y) { y = Neg (x) }")
    proto = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])
    session = ort.InferenceSession(proto.SerializeToString(), _options(), providers=["CPUExecutionProvider"])
    session.run(None, _NOTHING)  # takes a piece of its own, so that it holds none of the large ones later
    return session


def give_back_pool() -> None:
    """Give memory that nothing uses back to the system."""
    from lhc.runtime.onnxruntime.library import onnxruntime as ort

    asking = ort.RunOptions()
    asking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    _pool().run(None, _NOTHING, asking)
    give_back()


def _options() -> "ort.SessionOptions":
    from lhc.runtime.onnxruntime.library import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False  # else it takes a second piece for what it has room for in several
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def create_session(
    proto: onnx.ModelProto, label: str, packs: bool = True, exact_integers: bool = False
) -> "ort.InferenceSession":
    """An onnxruntime session on one CPU thread. Weights in other files are mapped from there.

    Args:
        label: what messages call it.
        packs: copy the weights of products into the layout of the kernels, as stock onnxruntime does; not worth it for
            a single call, whose last bits may differ then.
        exact_integers: products between QuantizeLinear and DequantizeLinear are computed with integers only where this
            processor's kernels do so without saturating sums of two products, and the opset is 13 or later, else in
            float32.

    Raises:
        ModelError: onnxruntime refuses the model, or it is larger than 2 GiB without its data files.
    """
    from lhc.runtime.onnxruntime.library import onnxruntime as ort

    _pool()
    options = _options()
    if not packs:
        options.add_session_config_entry("session.disable_prepacking", "1")
        # The next level lays weights of convolutions out anew.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    # In older files onnxruntime's fusion writes a DequantizeLinear that their opset does not know.
    if exact_integers and (opset_of(proto) < _QDQ_OPSET or not integer_products_are_exact()):
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    # Weights in 4 bits: what the file says, not activations rounded to 8 bits, as onnxruntime has it by default.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    proto, folder = beside_data(proto)
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    # onnxruntime forgets what nothing reads before it takes these, and refuses them then.
    read = {name for node in all_nodes(proto.graph) for name in node.input} | {v.name for v in proto.graph.output}
    held = {t.name: stored_array(t) for t in proto.graph.initializer if is_held(t) and t.name in read}
    large = bool(held) or folder is not None
    if large:
        give_back_pool()
    if held:
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in held.values()]  # which refer to the arrays
        options.add_external_initializers(list(held), values)  # its optimisers read these, and it copies them
        untouched = _untouched(proto.graph)
        for name, value in zip(held, values, strict=True):
            if name in untouched:
                options.add_initializer(name, value)  # takes the place of the copy
    data = serialized(proto, label)
    try:
        with large_pieces_apart():
            session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise ModelError(f"{label}: onnxruntime cannot load it: {_first_line(error)}{_hint(proto)}") from error
    if large:
        give_back_pool()
    return session


@cache
def integer_products_are_exact() -> bool:
    """Whether onnxruntime's products of unsigned and signed bytes are those of integers on this processor.

    Without the instructions for them (VNNI) its kernels add two products in 16 bits, which saturate.
    """
    from lhc.runtime.onnxruntime.library import onnxruntime as ort

    size = 64
    weight = onnx.numpy_helper.from_array(np.full((size, size), 127, np.int8), "w")
    node = onnx.helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    shapes = ("x", onnx.TensorProto.UINT8), ("y", onnx.TensorProto.INT32)
    x, y = (onnx.helper.make_tensor_value_info(name, kind, [1, size]) for name, kind in shapes)
    graph = onnx.helper.make_graph([node], "integers", [x], [y], [weight])
    proto = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])
    session = ort.InferenceSession(proto.SerializeToString(), _options(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((1, size), 255, np.uint8)})
    return bool((np.asarray(found) == size * 127 * 255).all())


def _untouched(graph: onnx.GraphProto) -> set[str]:
    """Initializers that no optimiser of onnxruntime changes under their own name.

    Others may be: where a transposition moves past an operator, what that operator reads is transposed in place.
    """
    nodes = list(all_nodes(graph))
    changed = {name for node in nodes if node.op_type not in _READS_AS_STORED for name in node.input}
    inner = {t.name for node in nodes for _, body in subgraphs(node) for t in body.initializer}
    return {t.name for t in graph.initializer} - changed - inner - {value.name for value in graph.output}


def must_run(proto: onnx.ModelProto, label: str) -> None:
    """Whether onnxruntime takes a model that onnx's checker refuses (`lhc.onnx_io.load_model`).

    Raises:
        ModelError: it does not.
    """
    create_session(proto, label)


def custom_operators(proto: onnx.ModelProto) -> str:
    """Text on operators of domains that stock onnxruntime has not, which lhc cannot run; empty where there are none."""
    own = {function.domain for function in proto.functions} | _DOMAINS
    found = dict.fromkeys(f"{node.domain}::{node.op_type}" for node in proto.graph.node if node.domain not in own)
    if not found:
        return ""
    names = ", ".join(list(found)[:5])
    return f"uses operators that stock onnxruntime has not, and lhc loads none: {names}; export it with ONNX's own"


def _hint(proto: onnx.ModelProto) -> str:
    """Hint at what stock onnxruntime may not support: operators of other domains, products of bfloat16."""
    if found := custom_operators(proto):
        return f"; it {found}"
    values = (*proto.graph.input, *proto.graph.output, *proto.graph.value_info)
    kinds = {tensor.data_type for tensor in proto.graph.initializer} | {v.type.tensor_type.elem_type for v in values}
    if onnx.TensorProto.BFLOAT16 in kinds:
        return "; it computes in bfloat16, which onnxruntime hardly does on the CPU: export it in float32 or float16"
    return ""


def run_session(
    session: "ort.InferenceSession", outputs: Sequence[str], feeds: Mapping[str, Array], label: str
) -> list[Array]:
    """Run a session.

    Raises:
        DataError: onnxruntime fails on these feeds.
    """
    try:
        result: list[Array] = session.run(list(outputs), dict(feeds))
    except Exception as error:  # as above
        why = _first_line(error)
        raise DataError(f"{label}: onnxruntime fails on this data: {why}{_whose_index(why, feeds)}") from error
    return result


def _whose_index(why: str, feeds: Mapping[str, object]) -> str:
    """Which input holds the index that an operator refuses, and its first sample; nothing where none does."""
    found = re.search(r"\bidx=(-?\d+)", why)
    if found is None:
        return ""
    for name, array in feeds.items():
        if isinstance(array, np.ndarray) and array.dtype.kind in "iu" and array.ndim:
            samples = np.argwhere(array == int(found[1]))[:1, 0]
            if len(samples):
                return f"; input {name!r} holds it, first in sample {samples[0]} of this call"
    return ""


def _first_line(error: Exception) -> str:
    """First line of an error, with the list or the sizes that it announces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = " ".join([lines[0], *(one for one in lines[1:] if lines[0].endswith(":") or one.startswith("index: "))])
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : ", "", line)[:500]


def with_outputs(proto: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """The model with these tensors as its only outputs, and what computes them; onnxruntime finds their types."""
    copy = deepcopy(proto)
    declared = {value.name: value for value in proto.graph.output}
    tensors = list(tensors)
    del copy.graph.output[:]
    copy.graph.output.extend(declared.get(t, onnx.ValueInfoProto(name=t)) for t in tensors)
    needed = producers_of(proto.graph, tensors)
    replace_nodes(copy.graph, (node for node in proto.graph.node if node.name in needed))
    return copy


def observe_tensors(
    model: OnnxModel, tensors: Sequence[str], feeds: Mapping[str, Array], packs: bool = True
) -> dict[str, Array]:
    """Values of inner tensors in one run; ``packs``: see `create_session`.

    Raises:
        ModelError: the model cannot be loaded.
        DataError: it cannot be run on these feeds.
    """
    if not tensors:
        return {}
    session = create_session(with_outputs(model.proto, tensors), model.label, packs)
    return dict(zip(tensors, run_session(session, tensors, feeds, model.label), strict=True))


def check_digital(output: Array, name: str) -> None:
    """Refuse values of the digital network that are no numbers; types that are no floats pass.

    Raises:
        NotFiniteError: they are NaN or infinite.
    """
    if output.dtype.kind == "f" and not np.isfinite(output).all():
        raise NotFiniteError(f"the digital network gives NaN or infinite values in {name!r} on these samples")


def relative_error(found: Array, expected: Array) -> float:
    """Greatest difference over the greatest magnitude; infinite if shapes or types differ, NaN if a value is NaN."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    errors, magnitudes = [0.0], [0.0]
    flat, exact = found.reshape(-1), expected.reshape(-1)
    for start in range(0, flat.size, _WIDE_VALUES):
        part = exact[start : start + _WIDE_VALUES].astype(np.float64)
        with np.errstate(invalid="ignore"):
            errors.append(np.abs(flat[start : start + _WIDE_VALUES].astype(np.float64) - part).max())
        magnitudes.append(np.abs(part).max())
    with np.errstate(invalid="ignore"):
        return float(np.max(errors) / (np.max(magnitudes) or 1.0))


def rounding(exact: float, dtype: str) -> float:
    """Greatest error of a network that computes in a float type: ``exact``, or `STEPS` of the type, which add up."""
    return max(exact, STEPS * float(np.finfo(dtype).eps))


def plain_feeds(model: OnnxModel, shapes: Mapping[str, Sequence[int]], number: int = 0) -> dict[str, Array]:
    """Inputs of one number (or empty strings) of these shapes, to observe shapes without data.

    Raises:
        ModelError: an input that is no tensor, or of a type that ONNX does not know.
    """
    feeds: dict[str, Array] = {}
    for value in model.proto.graph.input:
        if value.name in shapes:
            try:
                dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            except KeyError as error:
                raise ModelError(
                    f"{model.label}: sizes in it are only known when it runs; its input {value.name!r} is no tensor of"
                    " a known type, so zeros cannot be tried; give samples (--data)"
                ) from error
            feeds[value.name] = np.full(shapes[value.name], "" if dtype.kind == "O" else number, dtype)
    return feeds


def random_feeds(model: OnnxModel, shapes: Mapping[str, Sequence[int]], seed: int = 0) -> dict[str, Array]:
    """Inputs of these shapes: standard normal numbers where they are floats, else as of `plain_feeds`."""
    generator = np.random.default_rng(seed)
    return {
        name: generator.standard_normal(plain.shape).astype(plain.dtype) if plain.dtype.kind == "f" else plain
        for name, plain in plain_feeds(model, shapes).items()
    }


def answers_alike(before: OnnxModel, now: OnnxModel, shapes: Mapping[str, Sequence[int]]) -> bool | None:
    """Whether two networks give the same outputs for random inputs, but for rounding; None where they give none.

    Args:
        shapes: of the inputs of both.
    """
    names = {value.name for value in now.proto.graph.output}
    outputs = [value.name for value in before.proto.graph.output if value.name in names]
    try:
        feeds = random_feeds(before, shapes)
        expected, found = (observe_tensors(one, outputs, feeds, packs=False) for one in (before, now))
    except (DataError, ModelError):
        return None
    floats = [name for name in outputs if expected[name].dtype.kind == "f"]
    if not outputs or not all(np.isfinite(expected[name]).all() for name in floats):
        return None
    return all(
        relative_error(found[name], expected[name]) <= rounding(ROUNDED, str(expected[name].dtype))
        if name in floats
        else np.array_equal(found[name], expected[name])
        for name in outputs
    )
