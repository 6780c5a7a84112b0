"""Bodies of If, Loop, Scan and local functions in the place of their operator, where it is known which way calls take.

    y = If(c) {then: f(x), else: g(x)}   ->   y = f(x), for calls in which c is true
    y = Loop(3, x) {x -> f(x)}           ->   y = f(f(f(x)))
    y = F(x), a local function           ->   what F computes

Nodes of branches keep their names where these are unique, so that products have the names that
`lhc.onnx_io.read.subgraphs` gives them; those of iterations end with the iteration's number, those of functions begin
with the call. Iterations share what the body stores, which is programmed once. A branch is right only as long as the
condition has its value, and engines see to it; iterations whose number the file leaves open are written so that
onnxruntime fails in a call with another number.

A call of a local function stands for its operators:

    y = Block<alpha = 2>(x, w)   ->   the operators of Block, given x, w and alpha

onnx, docs/IR.md: an attribute of an operator in a function may refer to one of the call; where the call has none, the
function's default counts, and without that the attribute is left out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace

import onnx

from lhc.canonical.control_flow.loop_unrolling import UnrolledLoop, unroll
from lhc.errors import ModelError
from lhc.graph import Origin
from lhc.onnx_io.annotate.annotations import COMPILED_KEY
from lhc.onnx_io.operators.operator_names import identity, kind_of
from lhc.onnx_io.operators.operator_table import may_multiply
from lhc.onnx_io.read.constants import Constants
from lhc.onnx_io.read.shapes import inferred_shapes
from lhc.onnx_io.read.subgraphs import free_name, inner_nodes
from lhc.onnx_model import OnnxModel, Rewritten, opset_of, replace_nodes, subgraphs, without_weights
from lhc.support.number_formatting import counted

Functions = Mapping[tuple[str, str], onnx.FunctionProto]


def _functions_with_products(model: OnnxModel) -> Functions:
    """The functions of a model that multiply, by domain and name; none of a compiled model, which is no network.

    Not those that have overloads, or are written for other versions of operators than the model.
    """
    proto = model.proto
    if any(entry.key == COMPILED_KEY for entry in proto.metadata_props):
        return {}
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    functions = {
        (function.domain, function.name): function
        for function in proto.functions
        if not function.overload and all(versions.get(e.domain) == e.version for e in function.opset_import)
    }
    return {key: one for key, one in functions.items() if _multiplies(one.node, functions, {key})}


def _multiplies(nodes: Iterable[onnx.NodeProto], functions: Functions, seen: set[tuple[str, str]]) -> bool:
    for node in nodes:
        called = functions.get(identity(node))
        if called is None and may_multiply(node):
            return True
        if (
            called is not None
            and identity(node) not in seen
            and _multiplies(called.node, functions, seen | {identity(node)})
        ):
            return True
        if any(_multiplies(graph.node, functions, seen) for _, graph in subgraphs(node)):
            return True
    return False


def _operators_of(call: onnx.NodeProto, function: onnx.FunctionProto) -> list[onnx.NodeProto]:
    """The operators of a function with the attributes of a call; tensors have the function's names."""
    given = {a.name: a for a in function.attribute_proto} | {a.name: a for a in call.attribute}
    nodes = []
    for node in function.node:
        nodes.append(onnx.NodeProto())
        nodes[-1].CopyFrom(node)
        _fill(nodes[-1], given)
    return nodes


def _fill(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Put values in the place of references."""
    for attribute in list(node.attribute):
        if not attribute.ref_attr_name:
            continue
        value = given.get(attribute.ref_attr_name)
        if value is None:
            node.attribute.remove(attribute)
            continue
        name = attribute.name
        attribute.CopyFrom(value)
        attribute.name = name
    for _, graph in subgraphs(node):
        for inner in graph.node:
            _fill(inner, given)


_HOLDERS = frozenset({("", "If"), ("", "Loop"), ("", "Scan")})


@dataclass(eq=False)
class Written:
    """The operators of a graph, with bodies in the place of those that held them.

    Attributes:
        tensors: initializers of the bodies.
        rewritten: what held a body that stands in its place; those that hold others come first.
        origins: node of an iteration -> the node of the body that it is.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)
    rewritten: list[Rewritten] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)


def holds_products(node: onnx.NodeProto) -> bool:
    """Whether the bodies of an operator hold one that may multiply."""
    return any(may_multiply(inner) or holds_products(inner) for _, g in subgraphs(node) for inner in g.node)


def write_out(model: OnnxModel, control: Mapping[str, str]) -> Written:
    """The operators of a model as its file has it, with bodies in the place of their operator.

    Args:
        control: what calls take, as in `lhc.plan.Plan.control`.
    """
    functions = _functions_with_products(model)
    held = [node for node in model.proto.graph.node if identity(node) in _HOLDERS]
    if not control and not functions and not any(map(holds_products, held)):
        return Written(list(model.proto.graph.node))
    return _Writer(model, control, functions).run()


class _Writer:
    """Writes the bodies of one model out."""

    def __init__(
        self, model: OnnxModel, control: Mapping[str, str], functions: Mapping[tuple[str, str], onnx.FunctionProto]
    ) -> None:
        self._control = control
        self._functions = functions
        self._constants = Constants(model.proto.graph)
        self._shapes = inferred_shapes(model) if any(n.op_type == "Scan" for n in model.proto.graph.node) else {}
        self._opset = opset_of(model.proto)
        self._graph = without_weights(model.proto).graph
        for inner in list(inner_nodes(self._graph)):
            inner.node.name = inner.name
        self._names = {node.name for node in self._graph.node}
        self._producers = {tensor: node for node in self._graph.node for tensor in node.output}
        stored = Counter(tensor.name for tensor in model.proto.graph.initializer)
        written = stored + Counter(_written(self._graph))
        # What is written once only keeps its name; bodies that stay, or come back, have the others.
        self._tensors = {tensor for tensor, times in written.items() if times > 1} | {*_own(self._graph), *stored}
        self._made = Written()

    def run(self) -> Written:
        """All of it."""
        self._made.nodes = [made for node in self._graph.node for made in self._in_place_of(node)]
        return self._made

    def _in_place_of(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        control, function = self._control.get(node.name, ""), self._functions.get(identity(node))
        bodies = dict(subgraphs(node))
        holds = function is not None or identity(node) in _HOLDERS
        if not holds or any(body.sparse_initializer for body in bodies.values()):
            return [node]
        place = len(self._made.rewritten)
        if function is not None:
            made = self._call(node, function)
        elif node.op_type == "If" and control in bodies:
            made = self._branch(node, bodies[control], control)
        elif node.op_type != "If" and holds_products(node):
            loop = unroll(node, bodies["body"], control, self._constants, self._producers, self._shapes, self._opset)
            if loop is None:
                return [node]
            made = self._iterations(loop)
            control = control if loop.is_open else ""
        else:
            return [node]
        self._made.rewritten.insert(place, Rewritten(node, frozenset(one.name for one in made), control))
        return made

    def _branch(self, node: onnx.NodeProto, body: onnx.GraphProto, branch: str) -> list[onnx.NodeProto]:
        if len(body.output) != len(node.output):
            raise ModelError(
                f"If {node.name!r}: {branch} gives {counted(len(body.output), 'output')} and not {len(node.output)}; no"
                " runtime runs this model"
            )
        names = {tensor: self._tensor(tensor, f"{node.name}/{tensor}") for tensor in _own(body)}
        self._store(body, names)
        made = []
        for index, inner in enumerate(body.node):
            path = f"{node.name}/{branch}/{inner.name or f'{inner.op_type}_{index}'}"
            made += self._in_place_of(self._copied(inner, names, inner.name or path, path))
        return made + [
            self._identity(node, index, names.get(value.name, value.name), output)
            for index, (output, value) in enumerate(zip(node.output, body.output, strict=True))
            if output
        ]

    def _call(self, node: onnx.NodeProto, function: onnx.FunctionProto) -> list[onnx.NodeProto]:
        """Nodes of a called function, as parts of the call or of the operator that holds the call."""
        inputs = [*node.input, *[""] * len(function.input)]
        names = dict(zip(function.input, inputs, strict=False))
        own = [tensor for inner in function.node for tensor in inner.output if tensor]
        names |= {tensor: self._tensor(f"{node.name}/{tensor}", f"{node.name}/{tensor}") for tensor in own}
        caller = self._made.origins.get(node.name) or Origin(node.name, kind_of(node))
        made = []
        for index, inner in enumerate(_operators_of(node, function)):
            path = f"{node.name}/{inner.name or f'{inner.op_type}_{index}'}"
            copy = self._copied(inner, names, path, path)
            self._made.origins[copy.name] = replace(caller, part=copy.name.removeprefix(f"{caller.node}/"))
            made += self._in_place_of(copy)
        ends = zip(function.output, node.output, strict=False)
        return made + [
            self._identity(node, i, names.get(own, own), output) for i, (own, output) in enumerate(ends) if output
        ]

    def _iterations(self, loop: UnrolledLoop) -> list[onnx.NodeProto]:
        """One iteration after the other; what the body stores is stored once."""
        node, body = loop.node, loop.body
        stored = [inner for inner in body.node if identity(inner) == ("", "Constant")]
        held = [*(tensor.name for tensor in body.initializer), *(tensor for inner in stored for tensor in inner.output)]
        shared = {tensor: self._tensor(tensor, f"{node.name}/{tensor}") for tensor in held}
        self._store(body, shared)
        made = [self._copied(inner, shared, inner.name or f"{node.name}/Constant", node.name) for inner in stored]
        made += self._added(loop.before(self._tensor))
        states = list(loop.states)
        collected: list[list[str]] = [[] for _ in loop.collected]
        for iteration in range(loop.count):
            names = shared | loop.given(iteration, states)
            own = [tensor for tensor in _own(body) if tensor not in names]
            names |= {
                tensor: self._tensor(f"{tensor}/{iteration}", f"{node.name}/{tensor}/{iteration}") for tensor in own
            }
            for index, inner in enumerate(body.node):
                if inner in stored:
                    continue
                path = f"{node.name}/body/{inner.name or f'{inner.op_type}_{index}'}"
                copy = self._copied(inner, names, f"{inner.name or path}/{iteration}", f"{path}/{iteration}")
                self._made.origins[copy.name] = Origin(inner.name or path, kind_of(inner), str(iteration))
                made += self._in_place_of(copy)
            states = [names.get(tensor, tensor) for tensor in loop.next_states]
            for every, tensor in zip(collected, loop.collected, strict=True):
                every.append(names.get(tensor, tensor))
        made += self._added(loop.behind(collected, self._tensor))
        ends = zip(node.output, states, strict=False)
        return made + [self._identity(node, i, state, output) for i, (output, state) in enumerate(ends) if output]

    def _added(self, found: tuple[list[onnx.NodeProto], list[onnx.TensorProto]]) -> list[onnx.NodeProto]:
        nodes, tensors = found
        self._made.tensors += tensors
        for node in nodes:
            node.name = free_name(node.name, self._names)
        return nodes

    def _store(self, body: onnx.GraphProto, names: Mapping[str, str]) -> None:
        for tensor in body.initializer:
            self._made.tensors.append(deepcopy(tensor))
            self._made.tensors[-1].name = names[tensor.name]

    def _copied(self, node: onnx.NodeProto, names: Mapping[str, str], name: str, path: str) -> onnx.NodeProto:
        copy = _renamed(node, names)
        copy.name = free_name(name, self._names, path)
        return copy

    def _identity(self, node: onnx.NodeProto, index: int, tensor: str, output: str) -> onnx.NodeProto:
        name = free_name(f"{node.name}/{index}", self._names)
        return onnx.helper.make_node("Identity", [tensor], [output], name)

    def _tensor(self, name: str, path: str) -> str:
        return free_name(name, self._tensors, path)


def _own(graph: onnx.GraphProto) -> list[str]:
    """Tensors that a graph itself holds, is given or writes."""
    held = [value.name for value in (*graph.input, *graph.initializer)]
    return held + [tensor for node in graph.node for tensor in node.output if tensor]


def _written(graph: onnx.GraphProto) -> Iterator[str]:
    """The same with those of the bodies in it."""
    yield from _own(graph)
    for node in graph.node:
        for _, inner in subgraphs(node):
            yield from _written(inner)


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy with other names of tensors, also where its bodies read them."""
    copy = deepcopy(node)
    copy.input[:] = [names.get(tensor, tensor) for tensor in node.input]
    copy.output[:] = [names.get(tensor, tensor) for tensor in node.output]
    for _, graph in subgraphs(copy):
        own = {*_own(graph)}
        seen = {old: new for old, new in names.items() if old not in own}
        nodes = [_renamed(inner, seen) for inner in graph.node]
        replace_nodes(graph, nodes)
        for value in graph.output:
            value.name = seen.get(value.name, value.name)
    return copy
