"""ONNX functions of a compiled model, built with onnxscript: one for every structure that occurs.

A function holds structure only; numbers (steps, ranges, deviations, weights) are inputs of its calls, so that layers
share functions and Netron shows the numbers at the calls. Two functions never have one name: ONNX's ``overload`` would
allow it, but onnx's own reference evaluator takes the last of them for all.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir
from onnxscript import OpBuilder, build_function

DOMAIN = "lhc.analog"
FLOAT = int(ir.DataType.FLOAT)
Values = Mapping[str, ir.Value]
Body = Callable[[OpBuilder, Values], Any]
"""From the builder of a function and its inputs by name to its output, or outputs."""


def value(name: str, type_: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    """A named tensor of any shape."""
    return ir.Value(name=name, type=ir.TensorType(type_))


def attribute_values(op: OpBuilder, name: str) -> Any:
    """The function's own attribute of that name as a tensor."""
    values = ir.Attr("value_ints", ir.AttributeType.INTS, None, ref_attr_name=name)
    return op.Constant(value_ints=values, _outputs=[value(name, ir.DataType.INT64)])


def references(*names: str) -> dict[str, ir.Attr]:
    """Attributes of a node that are those of the function it is in."""
    kinds = {name: ir.AttributeType.INT if name == "group" else ir.AttributeType.INTS for name in names}
    return {name: ir.Attr(name, kind, None, ref_attr_name=name) for name, kind in kinds.items()}


def call(op: OpBuilder, function: ir.Function, given: Values, *outputs: ir.Value) -> Any:
    """Call a function of the library from another one, which has the same attributes.

    Args:
        given: its inputs by name, and perhaps others.
    """
    results: Any = list(outputs)  # the builder is annotated for names, but keeps the types of values
    inputs = (given[wanted.name or ""] for wanted in function.inputs)
    return op.call(function, *inputs, _outputs=results, **references(*function.attributes))


def reduce_max(op: OpBuilder, x: Any, name: str, axis: int = -1, keep: bool = False) -> Any:
    """Maximum over an axis, which is kept or not; operators take axes as an input from opset 18 on."""
    if (op.version or 0) >= 18:
        return op.ReduceMax(x, [axis], keepdims=int(keep), _outputs=[name])
    return op.ReduceMax(x, axes=[axis], keepdims=int(keep), _outputs=[name])


def beside(op: OpBuilder, per_vector: Any, name: str) -> Any:
    """``(...)`` as ``(..., 1)``: a number for every vector, to be combined with the vectors.

    The last thing to do: onnxruntime is twenty times slower with a last axis of 1 where it combines that with a scalar.
    """
    return op.Unsqueeze(per_vector, [-1], _outputs=[name])


def sizes(op: OpBuilder, x: Any, start: int, end: int | None = None) -> Any:
    """Sizes of the axes from ``start`` to ``end``; Shape can leave axes out from opset 15 on."""
    if (op.version or 0) >= 15:
        return op.Shape(x, start=start) if end is None else op.Shape(x, start=start, end=end)
    return op.Slice(op.Shape(x), [start], [2**31 - 1 if end is None else end])


def unique_name(wanted: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; it is taken from now on."""
    unique, number = wanted, 1
    while unique in taken:
        number += 1
        unique = f"{wanted}_{number}"
    taken.add(unique)
    return unique


class Library:
    """The functions of one model."""

    def __init__(self, opset: int) -> None:
        """Start without functions; their bodies use this version of ONNX's operators."""
        self.opset = opset
        self._functions: dict[Hashable, ir.Function] = {}
        self._names: set[str] = set()

    def function(
        self,
        name: str,
        structure: Hashable,
        inputs: Sequence[str],
        body: Body,
        doc: str,
        attributes: Sequence[str] = (),
        types: Mapping[str, ir.DataType] | None = None,
    ) -> ir.Function:
        """The function of a structure, built where it is new.

        Args:
            name: wanted; a second structure of that name gets a number.
            structure: everything that the body depends on.
            attributes: lists of integers that a call gives.
            types: element types of inputs that are not float32.
        """
        key = (name, structure)
        if key not in self._functions:
            function = build_function(
                lambda op, *given: body(op, dict(zip(inputs, given, strict=True))),
                [value(wanted, (types or {}).get(wanted, ir.DataType.FLOAT)) for wanted in inputs],
                domain=DOMAIN,
                name=unique_name(name, self._names),
                attributes=[ir.Attr(wanted, ir.AttributeType.INTS, None) for wanted in attributes],
                opset_imports={"": self.opset, DOMAIN: 1},
            )
            function.doc_string = doc
            _tidy(function)
            self._functions[key] = function
        return self._functions[key]

    def protos(self) -> list[onnx.FunctionProto]:
        """All functions, those that are called before those that call them.

        Types of inner values are left out: they follow from the calls, and were a fifth of the functions' bytes.
        """
        protos = [ir.to_proto(function) for function in self._functions.values()]
        for proto in protos:
            del proto.value_info[:]
        return protos


def _tidy(function: ir.Function) -> None:
    """Unique names that say what a value is, without the builder's own marks."""
    taken = {given.name or "" for given in function.inputs}
    for node in function.all_nodes():
        node.metadata_props.clear()
        for output in node.outputs:
            output.name = unique_name((output.name or "").removeprefix("v_"), taken)
        node.name = node.outputs[0].name
