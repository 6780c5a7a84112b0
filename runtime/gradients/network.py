"""An ONNX network as a torch module with gradients.

The graph is interpreted: its operators run one after the other as torch functions (`operators.elementwise`,
`operators.shape`, `operators.neural`), so any tensor can be asked for, and any product can be replaced by something
else. Weights of products are parameters under the names that the file gives them; what nodes share, they share here.
Operators that the ONNX standard defines by others, and functions of the model itself, are inlined first.

onnx2pytorch computes the same numbers, but keeps weights and outputs of products to itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import torch
from torch import Tensor, nn

from lhc.errors import ModelError
from lhc.graph import Layer, LayerGraph, obstacle
from lhc.onnx_io import Constants, stored_array
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_io.operators.operator_names import identity
from lhc.onnx_model import OnnxModel, captured, operator_graph, opset_of, subgraphs, upstream_of
from lhc.runtime.gradients.operators.elementwise import (
    ELEMENTWISE,
    Function,
    Operator,
    UnsupportedOperatorError,
    tensor_of,
)
from lhc.runtime.gradients.operators.neural import LAYERS
from lhc.runtime.gradients.operators.onnxruntime_operators import CONTRIB, HEADS
from lhc.runtime.gradients.operators.quantisation import QLINEAR, QUANTISED
from lhc.runtime.gradients.operators.shape import SHAPES
from lhc.runtime.onnxruntime.activation_recorder import in_groups
from lhc.runtime.onnxruntime.sessions import Array, observe_tensors, relative_error, rounding
from lhc.runtime.operators.operand_shapes import OperandShapes
from lhc.runtime.torch_settings import CPU, computing_on, made_here
from lhc.samples.sample_axis import CALL, SampleAxis

__all__ = [
    "OPERATORS",
    "DifferentiableModel",
    "Replacement",
    "UnsupportedOperatorError",
    "parity",
    "parity_limit",
    "with_samples_first",
]

OPERATORS: Mapping[str, Function] = {**ELEMENTWISE, **SHAPES, **LAYERS, **QUANTISED}
"""Every standard operator that has a differentiable function."""

Replacement = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""``(activation, weight, bias) -> output`` of a product: shapes as the operator's; the weight as the file stores it."""

_STANDARD = ("", "ai.onnx")
_CONTRIB = "com.microsoft"
_OF_CONTRIB = {**CONTRIB, **HEADS, **QLINEAR}
_IF = ("", "If")
_ROUNDS = frozenset({"DynamicQuantizeLinear", "QuantizeLinear", *QLINEAR} - {"DequantizeLinear"})
_STEPS = 4


class DifferentiableModel(nn.Module):
    """A network whose outputs, and all tensors inside, are differentiable functions of weights and inputs.

    Attributes:
        device: where it computes; the CPU at first.
    """

    def __init__(self, model: OnnxModel, graph: LayerGraph) -> None:
        """Prepare the graph; nothing is computed yet. Weights are the model's own memory: training copies them."""
        super().__init__()
        self.device = CPU
        self.model = model
        self.graph = graph
        opset = opset_of(model.proto)
        proto = _inlined(model.proto, opset)
        self._operators = [Operator.of(node, opset, model.label) for node in proto.graph.node]
        self._wiring = operator_graph(proto.graph)
        self._products = {layer.name: layer for layer in graph.candidates if _is_product(layer)}
        nodes = {node.name: node for node in model.proto.graph.node}
        known = [(nodes[layer.name], layer) for layer in self._products.values() if obstacle(layer) is None]
        self._operands = {node.name: OperandShapes(Product.of_layer(node, layer), layer) for node, layer in known}
        constants = Constants(model.proto.graph)
        weights = [layer.weight.name for layer in self._products.values() if layer.weight is not None]
        for name in (name for name in weights if name in constants):
            # register_parameter refuses names with dots, which names of initializers usually have.
            self._parameters[name] = nn.Parameter(tensor_of(constants.value(name)))
        self._constants = dict(_tensors(t for t in proto.graph.initializer if t.name not in self._parameters))
        self._schedules: dict[tuple[str, ...], list[tuple[Operator, tuple[str, ...]]]] = {}

    def compute_on(self, device: torch.device) -> None:
        """Compute on another device from now on."""
        self.to(device)
        self._constants = {name: value.to(device) for name, value in self._constants.items()}
        self.device = device

    def forward(
        self,
        feeds: Mapping[str, Array | Tensor],
        outputs: Sequence[str] | None = None,
        replace: Mapping[str, Replacement] | None = None,
    ) -> dict[str, Tensor]:
        """Compute tensors, and only what they depend on.

        Args:
            outputs: names of any tensors; the model's outputs by default.
            replace: name of a product -> what computes its output instead.

        Raises:
            UnsupportedOperatorError: an operator that is needed has no differentiable function; names it.
            DataError: an input of a product does not fit its weight.
            ModelError: there is no such tensor, or an operator fails on these feeds.
        """
        wanted = tuple(self.graph.outputs if outputs is None else outputs)
        values: dict[str, Tensor] = {**self._constants, **self._parameters}  # type: ignore[dict-item]  # none is None
        values.update((name, self._tensor(name, value)) for name, value in feeds.items())
        with computing_on(self.device):
            for operator, finished in self._schedule(wanted):
                values.update(self._run(operator, values, replace or {}))
                for name in finished:
                    values.pop(name, None)
        return {name: values[name] for name in wanted}

    def _schedule(self, wanted: tuple[str, ...]) -> list[tuple[Operator, tuple[str, ...]]]:
        """The operators that are needed, each with the tensors that nobody reads after it."""
        if wanted not in self._schedules:
            self._schedules[wanted] = self._plan(wanted)
        return self._schedules[wanted]

    def _plan(self, wanted: tuple[str, ...]) -> list[tuple[Operator, tuple[str, ...]]]:
        given = {*self._constants, *self._parameters, *self.graph.inputs}
        read = set(wanted)
        plan = []
        for number in sorted(upstream_of(self._wiring, wanted, given), reverse=True):
            operator = self._operators[number]
            _check_known(operator)
            reads = set(filter(None, (*operator.node.input, *captured(operator.node))))
            plan.append((operator, tuple((reads | set(operator.node.output)) - read)))
            read |= reads
        missing = read - given - {tensor for operator, _ in plan for tensor in operator.node.output}
        if missing:
            raise ModelError(f"{self.model.label}: nothing computes {', '.join(map(repr, sorted(missing)))}")
        return plan[::-1]

    def _tensor(self, name: str, value: Array | Tensor) -> Tensor:
        if isinstance(value, Tensor):
            return value.to(self.device)
        try:
            return tensor_of(np.require(value, requirements="C")).to(self.device)
        except TypeError as error:
            raise ModelError(f"{self.model.label}: torch has no type for input {name!r}, {value.dtype}") from error

    def _run(
        self, operator: Operator, values: Mapping[str, Tensor], replace: Mapping[str, Replacement]
    ) -> dict[str, Tensor]:
        node = operator.node
        inputs = [values[name] if name else None for name in node.input]
        if node.name in self._operands:
            _check(self._products[node.name], inputs, self._operands[node.name])
        result: Any
        try:
            if node.name in replace:
                result = _replaced(self._products[node.name], inputs, replace[node.name])
            elif identity(node) == _IF:
                result = self._branch(operator, values)
            else:
                result = _function(node)(operator, *inputs)
        except (RuntimeError, IndexError, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            where = "" if self.device.type == "cpu" else f" on {self.device}"
            failed = f"{self.model.label}: {node.op_type} {node.name!r} fails in torch{where}: {reason}"
            raise ModelError(failed) from error
        results = result if isinstance(result, tuple) else (result,)
        return {name: value for name, value in zip(node.output, results, strict=False) if name}

    def _branch(self, operator: Operator, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Outputs of the branch of an If that its condition chooses."""
        chosen = "then_branch" if bool(values[operator.node.input[0]].reshape(-1)[0]) else "else_branch"
        body = dict(subgraphs(operator.node))[chosen]
        seen = {**values, **{name: made_here(value) for name, value in _tensors(body.initializer)}}
        for node in body.node:
            inner = Operator.of(node, operator.opset, operator.label)
            _check_known(inner)
            seen.update(self._run(inner, seen, {}))
        return tuple(seen[value.name] for value in body.output)


def parity(
    network: DifferentiableModel, feeds: Mapping[str, Array], tensors: Sequence[str] | None = None
) -> dict[str, float]:
    """Difference of the module from onnxruntime, on the whole path from the inputs.

    Args:
        tensors: those that are compared; by default outputs of all products with a constant weight, and the model's.

    Returns:
        Greatest difference by name of the tensor, relative to its greatest magnitude.

    Raises:
        ModelError, DataError: either of the two cannot run.
    """
    if tensors is None:
        products = (layer.outputs[0] for layer in network.graph.candidates if _is_product(layer))
        tensors = (*products, *network.graph.outputs)
    samples = max((len(array) for array in feeds.values() if array.ndim), default=1)
    errors: dict[str, float] = {}
    for names in in_groups(dict.fromkeys(tensors), lambda name: (name,), network.graph, samples):
        expected = observe_tensors(network.model, names, feeds, packs=False)
        with torch.no_grad():
            found = network(feeds, names)
        errors |= {
            name: relative_error(found[name].detach().cpu().numpy(), tensor_of(expected[name]).numpy())
            for name in names
        }
        del expected, found
    return errors


def with_samples_first(tensor: Tensor, axis: SampleAxis) -> Tensor:
    """A tensor of the network with samples on its first axis, a view."""
    return tensor[None] if axis == CALL else tensor.movedim(axis, 0)


def parity_limit(network: DifferentiableModel, exact: float) -> float:
    """Greatest difference allowed from onnxruntime: ``exact``, steps of 8 bits where it rounds, or half precision.

    What lies on an edge goes to either neighbour, by the order in which sums were taken.
    """
    weights = [layer.weight for layer in network.graph.candidates if _is_product(layer)]
    exact = max([exact, *(rounding(exact, weight.dtype) for weight in weights if weight is not None)])
    rounds = any(node.op_type in _ROUNDS for node in network.model.proto.graph.node)
    return max(exact, _STEPS / 127) if rounds else exact


def _inlined(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model with functions replaced by what they are made of, but for operators that are known here."""
    if len(proto.functions) == 0 and all(n.op_type in OPERATORS and n.domain in _STANDARD for n in proto.graph.node):
        return proto
    copy = deepcopy(proto)
    for node in copy.graph.node:
        _write_defaults(node, opset)
    known = [("", name) for name in OPERATORS]
    try:
        return onnx.inliner.inline_selected_functions(copy, known, exclude=True, inline_schema_functions=True)
    except RuntimeError:  # onnx asserts that it knows all types; without them the operators stay, and are refused
        return proto


def _write_defaults(node: onnx.NodeProto, opset: int) -> None:
    """Give attributes that are left out their default values, which the inliner forgets."""
    if node.domain not in _STANDARD or node.op_type in OPERATORS:
        return
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return
    present = {attribute.name for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in present and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _is_product(layer: Layer) -> bool:
    """Whether a candidate has a constant weight."""
    return layer.weight is not None and layer.weight.dtype.startswith("float")


def _check(layer: Layer, inputs: Sequence[Tensor | None], operands: OperandShapes) -> None:
    """torch takes some shapes that ONNX does not, such as an image without samples."""
    assert layer.weight is not None
    activation = inputs[1 - layer.weight.operand]
    extra = inputs[2] if len(inputs) > 2 else None
    assert activation is not None
    operands.check(activation.shape, None if extra is None else extra.shape)


def _replaced(layer: Layer, inputs: Sequence[Tensor | None], function: Replacement) -> Tensor:
    assert layer.weight is not None
    operand = layer.weight.operand
    activation, weight = inputs[1 - operand], inputs[operand]
    assert activation is not None
    assert weight is not None
    return function(activation, weight, inputs[2] if len(inputs) > 2 else None)


def _function(node: onnx.NodeProto) -> Function:
    return _OF_CONTRIB[node.op_type] if node.domain == _CONTRIB else OPERATORS[node.op_type]


def _check_known(operator: Operator) -> None:
    node = operator.node
    if node.domain == _CONTRIB and node.op_type in _OF_CONTRIB:
        return
    if identity(node) == _IF:
        return
    if node.domain not in _STANDARD:
        raise operator.unsupported(f"operators of domain {node.domain} are not known")
    if node.op_type not in OPERATORS:
        raise operator.unsupported("it has no differentiable function in lhc")


def _tensors(held: Iterable[onnx.TensorProto]) -> "Iterable[tuple[str, Tensor]]":
    """Initializers as tensors; texts, which torch has no type for, are left out."""
    for tensor in held:
        if tensor.data_type != onnx.TensorProto.STRING:
            yield tensor.name, tensor_of(stored_array(tensor))
