"""Read model files, sort their nodes, and give every node a unique name.

Every node comes after those whose outputs it reads. onnxruntime runs nodes in any order, and its float16 converter
writes them so; ONNX asks for a topological one.

Of files of other tools that are taken for models, only first bytes and the names in an archive are looked at
(`unsupported_format`); nothing is unpacked, unpickled or run.
"""

import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message

from lhc.errors import ModelError, UsageError
from lhc.graph import cycle_in
from lhc.onnx_io.read.external_data import held_apart, resolve, whole
from lhc.onnx_io.read.shapes import inlined
from lhc.onnx_model import (
    OnnxModel,
    all_nodes,
    is_external,
    operator_graph,
    replace_nodes,
    subgraphs,
    without_annotations,
    without_weights,
)
from lhc.support.memory import give_back

if TYPE_CHECKING:
    import onnx_ir as ir

_EXPORT = "model.eval() and torch.onnx.export(model, args, 'model.onnx', dynamo=True), or give it to lhc.partition"
_WITHOUT_GRAPH = f"which has no graph; load its weights into the PyTorch module that they belong to, call {_EXPORT}"
_TORCH = f"a file of PyTorch (.pt, .pth), {_WITHOUT_GRAPH}"
_TORCHSCRIPT = f"a TorchScript file; take the PyTorch module that it was made from, call {_EXPORT}"
_EXPORTED = (
    "a program of torch.export (.pt2); call torch.onnx.export(torch.export.load(FILE), args, 'model.onnx', dynamo=True)"
)
_KERAS = "load it by keras.models.load_model and call model.export('model.onnx', format='onnx'), or use tf2onnx"
_FIRST_BYTES = (
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file (.h5), as Keras writes; {_KERAS}"),
    (4, b"TFL3", "a file of TensorFlow Lite; use tf2onnx: python -m tf2onnx.convert --tflite FILE --output model.onnx"),
    (4, b"ORTM", "a file in onnxruntime's own format (.ort); give the ONNX model that it was made from"),
    (0, b"GGUF", f"a GGUF file, {_WITHOUT_GRAPH}"),
    *((0, bytes((0x80, protocol, 0x8A)), _TORCH) for protocol in range(2, 6)),  # its first object is a long number
    *(
        (0, bytes((0x80, protocol)), "a pickle; lhc opens none, so export the network to ONNX")
        for protocol in range(2, 6)
    ),
)
_SAVED_MODEL = "a model of TensorFlow; use tf2onnx: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"


def unsupported_format(path: Path) -> str | None:
    """Format of a file or folder that is no ONNX model, with advice; None where the format is unknown.

    A guess from the content, whatever the file is called.
    """
    try:
        if path.is_dir():
            return _SAVED_MODEL if (path / "saved_model.pb").is_file() else None
        if not path.is_file():
            return None  # a pipe would be waited for
        with path.open("rb") as file:
            start = file.read(16)
        size = path.stat().st_size
    except OSError:
        return None
    if start.startswith(b"PK\x03\x04"):
        return _archive(path)
    if len(start) > 8 and start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= size - 8:
        return f"a file of safetensors, {_WITHOUT_GRAPH}"
    return next((text for place, mark, text in _FIRST_BYTES if start[place : place + len(mark)] == mark), None)


def _archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged archive"
    inner = {name.partition("/")[2] for name in names}
    if "models/model.json" in inner or "serialized_exported_program.json" in {*inner, *names}:
        return _EXPORTED
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return _TORCHSCRIPT
    if "data.pkl" in inner:
        return _TORCH
    if "model.weights.h5" in names:
        return f"a file of Keras (.keras); {_KERAS}"
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of arrays (.npz); samples go to --data"
    return "an archive; give the .onnx file in it"


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Sort the nodes of a graph and of the bodies in it, in place; those that are in order stay where they are.

    A graph with a cycle stays as it is.
    """
    for node in graph.node:
        for _, inner in subgraphs(node):
            sort_nodes(inner)
    order = _order(graph)
    if order == sorted(order):
        return
    nodes = [onnx.NodeProto.FromString(graph.node[index].SerializeToString()) for index in order]
    replace_nodes(graph, nodes)


def _order(graph: onnx.GraphProto) -> list[int]:
    """Numbers of the nodes in the topological order that is nearest to the file's."""
    import networkx as nx

    try:
        return list(nx.lexicographical_topological_sort(operator_graph(graph)))
    except nx.NetworkXUnfeasible:
        return list(range(len(graph.node)))


_LARGE = 2**20
"""Initializers of more bytes are checked one by one, so that no second copy of all weights is made."""


def load_model(
    source: "str | Path | onnx.ModelProto | ir.Model | OnnxModel",
    label: str | None = None,
    probe: Callable[[Path], bool] | None = None,
    runs: Callable[[onnx.ModelProto, str], None] | None = None,
) -> OnnxModel:
    """A checked model whose nodes are in order and have unique names. Weights in other files stay there.

    Args:
        source: path of an ``.onnx`` file, a ModelProto or onnx-ir model (copied), or a model that was loaded
            before.
        label: what messages call it; the path by default.
        probe: called with the path before native code gets to see the model; raises to refuse it, and says whether
            the checker is known to have nothing against it.
        runs: called with a model that ``onnx.checker`` refuses, and its label: a ModelError says that onnxruntime
            refuses it too, else onnxruntime counts. Without it the checker does.

    Raises:
        ModelError: missing, empty, truncated or not ONNX, refused by ``onnx.checker``, or with weights in other files
            that are missing, too short or outside its folder.
        UsageError: something else than a model.
    """
    if isinstance(source, OnnxModel):
        return source
    source, checked = _as_proto(source), False
    if isinstance(source, onnx.ModelProto):
        label = label or "model"
        _check_text(source, label)
        with suppress(KeyError):  # what names nothing that is held is refused below
            source = whole(source)
        if any(map(is_external, source.graph.initializer)):
            raise ModelError(f"{label}: its weights are in other files, which only a path can find; give its path")
        proto, path = deepcopy(source), None
    elif not isinstance(source, str | Path):
        raise UsageError(
            f"the model is of type {type(source).__name__}; give a path or an onnx.ModelProto; a PyTorch module goes to"
            " lhc.partition, with samples"
        )
    else:
        path = Path(source)
        label = label or str(path)
        proto = _read(path)
        _check_text(proto, label)
        resolve(proto, path.parent, label)
        if probe is not None:
            checked = probe(path)
    sort_nodes(proto.graph)
    _check_outside(proto, label)
    renamed, complaint = _name_nodes(proto), None if checked else _complaint(proto)
    if complaint is not None:
        _ask_onnxruntime(proto, label, complaint, runs)
    proto, held = held_apart(proto)
    if held is not None:
        give_back()
    return OnnxModel(proto, path, renamed, label, complaint, held=held)


def _ask_onnxruntime(
    proto: onnx.ModelProto, label: str, complaint: str, runs: Callable[[onnx.ModelProto, str], None] | None
) -> None:
    """Refuse a model that onnxruntime refuses as onnx's checker did."""
    if "topologically sorted" in complaint and (cycle := _cycle(proto.graph)):
        complaint = f"its graph has a cycle: {cycle}; an operator can only read what is computed before it"
    twice = "; two values have one name: export it with other output_names" if "single static" in complaint else ""
    refused = ModelError(f"{label}: not a valid ONNX model: {complaint}{twice}")
    if runs is None:
        raise refused
    try:
        runs(proto, label)
    except ModelError as error:
        raise refused from error


def _cycle(graph: onnx.GraphProto) -> str | None:
    """A cycle of a graph whose operators have names."""
    import networkx as nx

    return cycle_in(nx.relabel_nodes(operator_graph(graph), dict(enumerate(node.name for node in graph.node))))


def _as_proto(source: "str | Path | onnx.ModelProto | ir.Model") -> str | Path | onnx.ModelProto:
    """An onnx-ir model as a ModelProto; whoever has one has loaded onnx-ir."""
    loaded = sys.modules.get("onnx_ir")
    if loaded is not None and isinstance(source, loaded.Model):
        proto: onnx.ModelProto = loaded.to_proto(source)
        return proto
    return source  # type: ignore[return-value]  # the rest


def _read(path: Path) -> onnx.ModelProto:
    try:
        if not path.exists():
            raise ModelError(f"{path}: no such file")
        if not path.is_file():
            raise ModelError(f"{path}: not a file{_looks(path)}; give the path of an .onnx file")
        if path.stat().st_size == 0:
            raise ModelError(f"{path}: the file is empty")
        proto = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX model{_looks(path) or f', or a truncated one ({error})'}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    if not proto.graph.node and (what := _looks(path)):
        raise ModelError(f"{path}: not an ONNX model{what}")
    return proto


def _looks(path: Path) -> str:
    """Format that the file looks like, as the end of a sentence."""
    found = unsupported_format(path)
    return "" if found is None else f"; it looks like {found}"


def _check_text(proto: onnx.ModelProto, label: str) -> None:
    for field, text in _not_text(proto):
        raise ModelError(
            f"{label}: not a valid ONNX model: a {field!r} is {text[:100]!r}, which is not UTF-8; export it again"
        )


def _not_text(message: Message) -> Iterator[tuple[str, bytes]]:
    """Strings of a message and of those in it that are no UTF-8, each with the name of its field.

    protobuf reads such a string all the same, and hands it out as bytes. Fields of bytes, which hold weights, are not
    touched: protobuf would copy them.
    """
    texts, inner = _fields(message.DESCRIPTOR)
    for name in texts:
        value = getattr(message, name)
        values = (value,) if isinstance(value, str | bytes) else value
        yield from ((name, one) for one in values if isinstance(one, bytes))
    for name in inner:
        value = getattr(message, name)
        if not isinstance(value, Message):  # it is repeated
            for one in value:
                yield from _not_text(one)
        elif message.HasField(name):
            yield from _not_text(value)


@cache
def _fields(kind: Descriptor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the fields of text, and of those of messages."""
    wanted = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE)
    texts, inner = (tuple(field.name for field in kind.fields if field.type == one) for one in wanted)
    return texts, inner


def _check_outside(proto: onnx.ModelProto, label: str) -> None:
    """Refuse what neither onnx's checker nor onnxruntime tells well."""
    if not proto.ir_version or not proto.graph.node:
        raise ModelError(f"{label}: not an ONNX model (no operators in it), or a truncated one")
    if not proto.graph.output:
        raise ModelError(f"{label}: not a valid ONNX model: it has no outputs")
    for node in all_nodes(proto.graph):
        for found in node.attribute:
            problem = _attribute_problem(node, found)
            if problem is not None:
                raise ModelError(
                    f"{label}: not a valid ONNX model: attribute {found.name[:100]!r} of {node.op_type[:100]}"
                    f" {node.name[:100]!r} {problem}"
                )


def _attribute_problem(node: onnx.NodeProto, found: onnx.AttributeProto) -> str | None:
    """Text of ONNX's own operators is UTF-8, but for that of a Constant, which may be any bytes."""
    if found.ref_attr_name:
        return "refers to an attribute of a function, and is in none"
    if node.domain not in ("", "ai.onnx") or node.op_type == "Constant":
        return None
    try:
        b"".join((found.s, *found.strings)).decode()
    except UnicodeDecodeError:
        return "is text that is not UTF-8; export it again"
    return None


def _complaint(proto: onnx.ModelProto) -> str | None:
    """Complaint of ``onnx.checker`` about a model; None where it has none."""
    light = without_weights(proto)
    try:
        for tensor in proto.graph.initializer:
            if is_external(tensor) or tensor.ByteSize() > _LARGE:
                light.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=[0])
            else:
                light.graph.initializer.append(tensor)
        onnx.checker.check_model(light)
        for tensor in proto.graph.initializer:
            if tensor.ByteSize() > _LARGE:
                onnx.checker.check_tensor(tensor)
    except (onnx.checker.ValidationError, ValueError, EncodeError) as error:
        return next(iter(str(error).strip().splitlines()), "no reason given")[:500]
    return None


def _name_nodes(proto: onnx.ModelProto) -> tuple[tuple[str, str], ...]:
    """Name unnamed nodes and suffix duplicates (onnxruntime refuses duplicates); returns what changed."""
    taken = {node.name for node in proto.graph.node}
    seen: set[str] = set()
    suffixes: dict[str, int] = {}
    renamed: list[tuple[str, str]] = []
    for index, node in enumerate(proto.graph.node):
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        stem = node.name or f"{node.op_type}_{index}"
        new, suffix = stem, suffixes.get(stem, 0)
        while new in taken or new in seen:
            suffix += 1
            new = f"{stem}_{suffix}"
        suffixes[stem] = suffix
        renamed.append((node.name, new))
        node.name = new
        seen.add(new)
    return tuple(renamed)


def inline_functions(model: OnnxModel) -> onnx.ModelProto:
    """The network with the bodies of its local functions in place of their calls, and without lhc's annotations.

    Raises:
        ModelError: onnx cannot do it.
    """
    light = inlined(without_weights(without_annotations(model.as_file())), model.label)
    light.graph.initializer.extend(model.tensors)
    return light
