"""The ONNX model as it was read, and what identifies it.

Weights are in memory once, or not at all. Those that a file keeps in other files stay there: such a tensor names its
file by an absolute path as long as the model is in memory, and its values are mapped, never copied. The large ones of
the file itself lie in one piece beside the model, a `MemoryFile` that their tensors name
(`lhc.onnx_io.read.external_data`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, Union
from uuid import uuid4
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import Message

if TYPE_CHECKING:
    import networkx as nx
    import onnx_ir as ir

    from lhc.graph import Origin

KEY_PREFIX = "lhc."
"""Metadata keys that lhc owns start with this."""

LAYER_ANN = "layer_ann"
"""Node key that tells onnxruntime which device a node is for; other tools write it too."""

OWN_LAYER_ANN = "lhc.layer_ann"
"""Marks a node whose ``layer_ann`` is lhc's own."""

CONFIGURATION = "lhc.placement"
"""Name of ONNX's device configuration that lhc writes."""

INITIALIZERS_APART = 4
"""First IR version in which initializers need not be inputs too."""

CONFIGURED_IR = 11
"""First IR version with device configurations."""

EARLIER_IR = "lhc.ir_version"
"""Key of a model that lhc wrote device configurations into: the IR version that it had before."""

HELD = "lhc-memory:"
"""Begins the name of what is held; no path of a loaded model begins so, since these are absolute."""

_PIECE = 2**24
"""Bytes of a weight that are hashed at once."""

M = TypeVar("M", bound=Message)

_known: "WeakValueDictionary[str, MemoryFile]" = WeakValueDictionary()


class MemoryFile:
    """Bytes in memory once, under a name of their own, however many messages name them as external data.

    A message would copy its own at every use. The name is known as long as somebody has this object.
    """

    def __init__(self, data: npt.NDArray[np.uint8], name: str = "") -> None:
        """Take an array, which nobody changes from now on; in another process, under the name that it had."""
        self.name = name or f"{HELD}{uuid4().hex}"
        self.data = data
        data.flags.writeable = False
        _known[self.name] = self

    def __reduce__(self) -> "tuple[type[MemoryFile], tuple[npt.NDArray[np.uint8], str]]":
        return MemoryFile, (self.data, self.name)

    @staticmethod
    def named(name: str) -> "MemoryFile":
        """The file of that name.

        Raises:
            KeyError: there is none.
        """
        return _known[name]


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the values lie in another file, or beside the model in memory."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def is_held(tensor: onnx.TensorProto) -> bool:
    """Whether the values lie beside the model in memory."""
    return is_external(tensor) and external_entries(tensor).get("location", "").startswith(HELD)


def in_other_file(tensor: onnx.TensorProto) -> bool:
    """Whether the values lie in another file."""
    return is_external(tensor) and not is_held(tensor)


def external_entries(tensor: onnx.TensorProto) -> dict[str, str]:
    """External data of a tensor: ``location``, ``offset``, ``length``."""
    return {entry.key: entry.value for entry in tensor.external_data}


def mapped_bytes(tensor: onnx.TensorProto) -> npt.NDArray[np.uint8]:
    """The stored bytes of a tensor of a loaded model that lie in another file, mapped into memory, or beside it."""
    entries = external_entries(tensor)
    offset, length = int(entries.get("offset", 0)), int(entries["length"])
    if length == 0:
        return np.zeros(0, np.uint8)
    if entries["location"].startswith(HELD):
        return MemoryFile.named(entries["location"]).data[offset : offset + length]
    return np.memmap(entries["location"], np.uint8, "r", offset, (length,))


def store_elsewhere(tensor: onnx.TensorProto, entries: Mapping[str, object]) -> None:
    """Let a tensor say that its values lie elsewhere, and where, as `external_entries` has it."""
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))


def opset_of(proto: onnx.ModelProto) -> int:
    """Version of ONNX's own operators that a model uses."""
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """Graphs that a node holds (bodies of If, Loop, Scan), by the name of the attribute."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        yield from ((f"{attribute.name}_{index}", graph) for index, graph in enumerate(attribute.graphs))


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Operators of a graph, and those in their bodies."""
    for node in graph.node:
        yield node
        for _, inner in subgraphs(node):
            yield from all_nodes(inner)


def captured(node: onnx.NodeProto) -> Iterator[str]:
    """Tensors that the subgraphs of a node read from outside."""
    for _, graph in subgraphs(node):
        inner = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        for sub in graph.node:
            yield from (name for name in (*sub.input, *captured(sub)) if name and name not in inner)
            inner.update(sub.output)
        yield from (v.name for v in graph.output if v.name not in inner)


def tensors_read(graph: onnx.GraphProto) -> Iterator[str]:
    """Tensors that the operators of a graph read, also in their bodies, and those that are its outputs."""
    for node in graph.node:
        yield from (*node.input, *captured(node))
    yield from (value.name for value in graph.output)


def operator_graph(graph: onnx.GraphProto) -> "nx.MultiDiGraph[int]":
    """The operators of a graph by their number; edges from what writes a tensor to what reads it, with it as key.

    What reads a tensor in a body reads it too. The attribute ``writers`` has the number of what writes each tensor.
    """
    import networkx as nx

    writers = {tensor: number for number, node in enumerate(graph.node) for tensor in node.output if tensor}
    found = nx.MultiDiGraph(writers=writers)
    found.add_nodes_from(range(len(graph.node)))
    for number, node in enumerate(graph.node):
        read = (*node.input, *captured(node))
        found.add_edges_from((writers[tensor], number, tensor) for tensor in read if tensor in writers)
    return found


def upstream_of(
    operators: "nx.MultiDiGraph[int]", tensors: Iterable[str], given: Collection[str] = frozenset()
) -> set[int]:
    """The operators that tensors come from, however far above, by number.

    Args:
        operators: a graph as of `operator_graph`.
        given: names of tensors that are there already; what computes them is not looked for.
    """
    import networkx as nx

    writers = operators.graph["writers"]
    ends = {writers[tensor] for tensor in tensors if tensor in writers and tensor not in given}
    computed = nx.subgraph_view(operators, filter_edge=lambda _, __, tensor: tensor not in given)
    return set(chain.from_iterable(nx.bfs_layers(nx.reverse_view(computed), ends)))


def producers_of(graph: onnx.GraphProto, tensors: Iterable[str]) -> set[str]:
    """Names of the nodes that tensors come from, however far above."""
    return {graph.node[number].name for number in upstream_of(operator_graph(graph), tensors)}


def shallow(message: M, leave_out: str) -> M:
    """A copy of a message without one of its fields; that field is never copied on the way."""
    copy: M = type(message)()
    for name in message.DESCRIPTOR.fields_by_name:  # ListFields would read that field too
        if name == leave_out:
            continue
        value = getattr(message, name)
        if hasattr(value, "extend"):
            getattr(copy, name).extend(value)
        elif message.HasField(name) and isinstance(value, Message):
            getattr(copy, name).CopyFrom(value)
        elif message.HasField(name):
            setattr(copy, name, value)
    return copy


def without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model without its initializers, which are never copied on the way."""
    copy = shallow(proto, "graph")
    copy.graph.CopyFrom(shallow(proto.graph, "initializer"))
    return copy


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Give a graph these operators in place of its own."""
    del graph.node[:]
    graph.node.extend(nodes)


def drop_unread(graph: onnx.GraphProto) -> None:
    """Take out operators and initializers that no output of the graph comes from, in place."""
    needed = producers_of(graph, [value.name for value in graph.output])
    for index in reversed(range(len(graph.node))):
        if graph.node[index].name not in needed:
            del graph.node[index]
    read = set(tensors_read(graph))
    gone = {tensor.name for tensor in graph.initializer} - read
    for holder in (graph.initializer, graph.input):  # up to IR version 3 initializers are inputs too
        for index in reversed(range(len(holder))):
            if holder[index].name in gone:
                del holder[index]


def with_nodes(
    proto: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], tensors: Iterable[onnx.TensorProto]
) -> onnx.ModelProto:
    """A copy of a model with these operators and initializers in place of its own.

    It has IR version 4 at least, since the initializers that come are no inputs. Inputs of those that go, go as well.
    """
    copy = without_weights(proto)
    replace_nodes(copy.graph, nodes)
    copy.graph.initializer.extend(tensors)
    copy.ir_version = max(copy.ir_version, INITIALIZERS_APART)
    gone = {tensor.name for tensor in proto.graph.initializer} - {tensor.name for tensor in copy.graph.initializer}
    for index in reversed(range(len(copy.graph.input))):
        if copy.graph.input[index].name in gone:
            del copy.graph.input[index]
    return copy


def _strip(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Take lhc's metadata and device configuration out of a model, in place."""
    earlier = next((entry.value for entry in proto.metadata_props if entry.key == EARLIER_IR), "")
    if proto.ir_version == CONFIGURED_IR and earlier in map(str, range(1, CONFIGURED_IR)):
        proto.ir_version = int(earlier)
    nodes = tuple(all_nodes(proto.graph))
    for node in nodes:
        for index in reversed(range(len(node.device_configurations))):
            if node.device_configurations[index].configuration_id == CONFIGURATION:
                del node.device_configurations[index]
    holders: tuple[onnx.ModelProto | onnx.NodeProto, ...] = (proto, *nodes)
    for holder in holders:
        own = any(entry.key == OWN_LAYER_ANN for entry in holder.metadata_props)
        foreign = [entry for entry in holder.metadata_props if not entry.key.startswith(KEY_PREFIX)]
        kept = [entry for entry in foreign if not (own and entry.key == LAYER_ANN)]
        if len(kept) != len(holder.metadata_props):
            kept = [onnx.StringStringEntryProto(key=e.key, value=e.value) for e in kept]
            del holder.metadata_props[:]
            holder.metadata_props.extend(kept)
    for index in reversed(range(len(proto.configuration))):
        if proto.configuration[index].name == CONFIGURATION:
            del proto.configuration[index]
    return proto


def without_annotations(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model without any of lhc's metadata; everything else, foreign keys included, is kept."""
    return _strip(deepcopy(proto))


@dataclass(frozen=True, eq=False)
class Rewritten:
    """An operator that has another form in memory.

    Attributes:
        node: as the file, or the body that stands in its place, has it.
        made: names of the nodes in memory that take its place.
        control: what calls take, where the file leaves it open: of an If, the attribute whose body these are; of a
            Loop, a Scan or a recurrent operator, its iterations in digits; else empty.
        rule: digest of the source of the rule that made it, where that is not lhc's; else empty.
    """

    node: onnx.NodeProto
    made: frozenset[str]
    control: str = ""
    rule: str = ""

    @property
    def branch(self) -> str:
        """Branch of an If that stands in its place; empty for other operators."""
        return "" if self.control.isdigit() else self.control


@dataclass(frozen=True, eq=False)
class FileForm:
    """Form of the model in the file, where the one in memory is canonical (`lhc.canonical`).

    Attributes:
        proto: as in the file, without its initializers, which are the first ones of the model in memory.
        tensors: how many these are.
        origins: node of the model in memory -> the operator of the file that it is a part of, for those that differ.
        rewritten: operators that have another form in memory; those that hold others come first.
    """

    proto: onnx.ModelProto
    tensors: int
    origins: "Mapping[str, Origin]"
    rewritten: tuple[Rewritten, ...] = ()

    @property
    def control(self) -> dict[str, str]:
        """Control flow of calls: branch of an If, trip count of a Loop, steps of a recurrent operator, by name.

        Where the file alone tells them, they are not in it.
        """
        return {one.node.name: one.control for one in self.rewritten if one.control}


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model in memory, every node with a unique name.

    Attributes:
        proto: the model; not to be changed. Weights in other files are named by absolute paths.
        path: file it came from, or None.
        renamed: ``(old, new)`` names of nodes that had no name or a duplicate one.
        label: how it is called in messages.
        complaint: what ``onnx.checker`` has against it, though onnxruntime runs it; None where it has nothing.
        file: what the file holds, where ``proto`` is its canonical form; None where that is what the file holds.
        held: values of large weights, which ``proto`` names (`lhc.onnx_io.read.external_data`).
    """

    proto: onnx.ModelProto
    path: Path | None = None
    renamed: tuple[tuple[str, str], ...] = field(default=())
    label: str = "model"
    complaint: str | None = None
    file: FileForm | None = None
    held: MemoryFile | None = None

    @property
    def tensors(self) -> Sequence[onnx.TensorProto]:
        """Initializers that the file holds."""
        held: Sequence[onnx.TensorProto] = self.proto.graph.initializer
        return held if self.file is None else held[: self.file.tensors]

    @property
    def in_file(self) -> onnx.ModelProto:
        """The model as in the file, without its weights where ``proto`` is another form."""
        return self.proto if self.file is None else self.file.proto

    def as_file(self) -> onnx.ModelProto:
        """The model as its file holds it, but for `held` weights; not to be changed."""
        if self.file is None:
            return self.proto
        proto = deepcopy(self.file.proto)
        proto.graph.initializer.extend(self.tensors)
        return proto

    @property
    def external(self) -> tuple[onnx.TensorProto, ...]:
        """Initializers whose values lie in other files."""
        return tuple(tensor for tensor in self.proto.graph.initializer if in_other_file(tensor))

    @cached_property
    def source(self) -> str:
        """SHA-256 of graph and weights without lhc's own keys.

        The same before and after annotation, and wherever the weights are kept; weights are read piece by piece.
        """
        state = sha256(_strip(without_weights(self.in_file)).SerializeToString(deterministic=True))
        for tensor in self.tensors:
            state.update(f"|{tensor.name}|{tensor.data_type}|{tuple(tensor.dims)}|".encode())
            if is_external(tensor):
                stored = mapped_bytes(tensor)
                for start in range(0, len(stored), _PIECE):
                    state.update(stored[start : start + _PIECE].data)
            elif tensor.HasField("raw_data"):
                state.update(tensor.raw_data)
            else:
                state.update(tensor.SerializeToString(deterministic=True))
        return state.hexdigest()

    @property
    def digital_columns(self) -> dict[str, tuple[int, ...]]:
        """Products that are split in memory, and which of their columns are computed apart."""
        origins = {} if self.file is None else self.file.origins
        return {name: origin.columns for name, origin in origins.items() if origin.columns}

    @property
    def identity(self) -> str:
        """``source``, columns that are computed apart, and rules from outside: of equal ones the tiles are the same."""
        apart, rewritten = self.digital_columns, () if self.file is None else self.file.rewritten
        rules = sorted({one.rule for one in rewritten if one.rule})
        told = f"{self.source}|{apart}|{rules}" if rules else f"{self.source}|{apart}"
        return sha256(told.encode()).hexdigest() if apart or rules else self.source


class LoadedModelBase:
    """A model that was opened before: `lhc.pipeline.inputs.model_source.LoadedModel`."""


class TorchModule(Protocol):
    """Protocol of a ``torch.nn.Module``, since this layer does not import torch."""

    training: bool

    def eval(self) -> object: ...


# Whoever has an onnx-ir model has loaded its library; nobody else waits for it.
ModelSource = Union[str, Path, onnx.ModelProto, "ir.Model", OnnxModel, LoadedModelBase, TorchModule]
"""What a user may name a network by: a file or an entry of the zoo, a model in memory, or a PyTorch module."""
