"""Lowering of a plan and programmed matrices to an ONNX model in which every analog node calls a function.

The functions are in domain ``lhc.analog`` and part of the model, so that stock onnxruntime runs it; digital products
are in the number formats of the plan's machine. Node names stay, and so do lhc's keys; ``lhc.compiled`` says which chip
the file is.

Bodies are written for opset 13 and later; older models are converted up. onnxruntime has no random kernels for opset
22 and later, so models that draw noise are converted down to 21.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from lhc.canonical import nested_again, placed_form, placed_proto, written_branches
from lhc.errors import ModelError
from lhc.graph import Layer, LayerGraph
from lhc.hardware import Hardware
from lhc.hardware.converters import Converters
from lhc.lowering.analog_calls import Call, lowered_call
from lhc.lowering.functions.library import DOMAIN, Library, unique_name
from lhc.lowering.functions.tile_read import Noise
from lhc.onnx_io import Constants, mark_compiled, whole
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_io.read.external_data import read_in
from lhc.onnx_io.read.shapes import inferred_graph, outline, tensor_shapes
from lhc.onnx_io.write import Store, in_memory
from lhc.onnx_model import OnnxModel, all_nodes, is_external, opset_of, replace_nodes, shallow, subgraphs, tensors_read
from lhc.plan import Plan
from lhc.programmed_matrix import Correction, ProgrammedMatrix
from lhc.runtime.digital_precision.model_in_precision import int8_tensors, model_in_precision
from lhc.runtime.operators.epilogue import epilogues

FIRST_OPSET = 13
FIRST_INTEGER_OPSET = 10
"""The first that has QLinearMatMul, into which onnxruntime joins a MatMul and the int8 codes around it."""
LAST_RANDOM_OPSET = 21
"""onnxruntime 1.32 on CPUs: RandomNormalLike and its kin have kernels up to this version."""
_CONVERTED = {"", "ai.onnx", "ai.onnx.ml"}
"""Domains whose operators onnx's converter leaves right."""


def _with_fitting_opset(proto: onnx.ModelProto, noise: Noise, label: str) -> onnx.ModelProto:
    """The model in a version that its compiled form can have: itself, or a conversion.

    Raises:
        ModelError: it has to be converted and cannot be.
    """
    version = opset_of(proto)
    if version < FIRST_OPSET:
        return _converted(proto, FIRST_OPSET, label, "compiled models need opset 13 or later; export it anew")
    if noise == "on" and version > LAST_RANDOM_OPSET:
        way_out = (
            "onnxruntime draws no random numbers in models of opset 22 and later; compile with --noise input (you"
            " feed the noise) or --noise off"
        )
        return _converted(proto, LAST_RANDOM_OPSET, label, way_out)
    return proto


def _converted(proto: onnx.ModelProto, version: int, label: str, way_out: str) -> onnx.ModelProto:
    what = f"{label}: cannot be converted from opset {opset_of(proto)} to {version}"
    if proto.functions:
        raise ModelError(f"{what}: onnx's converter drops the functions that the model has; {way_out}")
    hardmax = next((node for node in all_nodes(proto.graph) if node.op_type == "Hardmax" and not node.domain), None)
    if hardmax is not None and opset_of(proto) < 13 <= version:
        raise ModelError(f"{what}: the converter leaves Hardmax {hardmax.name!r}, which opset 13 redefines; {way_out}")
    used = {node.domain for node in all_nodes(proto.graph)}
    others = sorted(used - _CONVERTED)
    if others:
        raise ModelError(f"{what}: it has operators of {', '.join(others)}; {way_out}")
    try:
        plain = _importing_only(whole(proto), {*used, "", "ai.onnx"})
        converted = onnx.version_converter.convert_version(plain, version)
        _sample_as_before(proto, converted)
        onnx.checker.check_model(converted)
    except (RuntimeError, ValueError, onnx.checker.ValidationError, onnx.version_converter.ConvertError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"{what}: {reason[:300]}; {way_out}") from error
    _check_kept(proto, converted, what, way_out)
    return converted


def _sample_as_before(proto: onnx.ModelProto, converted: onnx.ModelProto) -> None:
    """Give every Resize the coordinates that Upsample and Resize had before opset 11; the converter leaves them out.

    Those are asymmetric; a nearest pixel is the one below where a picture grows and the one above where it shrinks, as
    in onnxruntime.

    Raises:
        ValueError: nearest pixels at scales that are not known, or that grow along one axis and shrink along another.
    """
    if opset_of(proto) >= 11:
        return
    constants = Constants(converted.graph)
    for node in all_nodes(converted.graph):
        if node.op_type != "Resize" or node.domain:
            continue
        node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        if any(one.name == "mode" and one.s != b"nearest" for one in node.attribute):
            continue
        scales = constants.value(node.input[2]) if node.input[2] in constants else None
        if scales is None or scales.min() < 1 < scales.max():
            reason = "are no constants" if scales is None else "enlarge one axis and shrink another"
            raise ValueError(f"{node.name!r} takes nearest pixels, and its scales {reason}")
        node.attribute.append(helper.make_attribute("nearest_mode", "floor" if scales.min() >= 1 else "ceil"))


def _importing_only(proto: onnx.ModelProto, domains: set[str]) -> onnx.ModelProto:
    """The model without imports of other domains: onnxruntime saves those of all that it knows."""
    kept = [entry for entry in proto.opset_import if entry.domain in domains]
    if len(kept) == len(proto.opset_import):
        return proto
    copy = shallow(proto, "opset_import")
    copy.opset_import.extend(kept)
    return copy


def _check_kept(proto: onnx.ModelProto, converted: onnx.ModelProto, what: str, way_out: str) -> None:
    """Nodes and outputs must be found again under their names."""
    names = {node.name for node in converted.graph.node} | {value.name for value in converted.graph.output}
    lost = sorted(({node.name for node in proto.graph.node} | {v.name for v in proto.graph.output}) - names)
    if lost:
        raise ModelError(f"{what}: the conversion lost {', '.join(lost[:3])}; {way_out}")


@dataclass(frozen=True)
class Chip:
    """Chip that a compiled model is: its programming, and the time of its read.

    Attributes:
        draw: number of the programming.
        t_s: seconds after the first read; None before any drift.
    """

    seed: int
    draw: int
    t_s: float | None


def lower(
    model: OnnxModel,
    graph: LayerGraph,
    plan: Plan,
    matrices: Mapping[str, ProgrammedMatrix],
    noise: Noise = "on",
    chip: Chip | None = None,
    corrections: Mapping[str, Correction] | None = None,
    store: Store | None = None,
) -> onnx.ModelProto:
    """An ordinary ONNX model that does what the placed model does on one chip.

    Args:
        matrices: what the tiles hold, by tile set (``HybridExecutor.states``).
        noise: ``on`` draws output noise whenever the model runs; ``off`` leaves it out; ``input`` reads standard normal
            deviates from one more input ``NAME.deviates`` for every analog node.
        chip: which one it is, for the metadata.
        corrections: of the chip's outputs, by layer, where it is calibrated.
        store: makes the initializers, where what they hold is not to be in the model; weights that lie elsewhere stay
            there then.

    Raises:
        ModelError: the model has to be converted to another opset and cannot be, or a layer's input has no known rank.
    """
    placed = placed_proto(model, graph, plan.analog) if plan.analog else model.as_file()
    fitting = placed
    if plan.analog or (plan.digital is not None and opset_of(placed) < FIRST_INTEGER_OPSET):
        fitting = _with_fitting_opset(placed, noise, model.label)
    if fitting is not placed and written_branches(model, plan.analog):
        raise ModelError(
            f"{model.label}: it must be converted to another opset, and onnx's converter cannot convert branches that"
            " no sample takes. Export it for opset 13 to 21. A newer model compiles with --noise off as well"
        )
    proto = _in_precision(fitting, model, graph, plan)
    proto = deepcopy(fitting) if proto is fitting else proto
    made = _Lowering(model, graph, proto, matrices, plan.hardware, noise, corrections or {}, store or in_memory)
    made.run(plan.analog)
    for tensor in filter(is_external, proto.graph.initializer if store is None else ()):
        read_in(tensor)
    mark_compiled(proto, model, plan, graph, {"noise": noise} | (asdict(chip) if chip is not None else {}))
    return proto


def _in_precision(proto: onnx.ModelProto, model: OnnxModel, graph: LayerGraph, plan: Plan) -> onnx.ModelProto:
    """The model with its digital products in the number formats of the plan.

    What a session computes in the pass of an analog layer writes no codes there, and none here.
    """
    if plan.digital is None:
        return proto
    constants, outputs = Constants(proto.graph), {value.name for value in proto.graph.output}
    coded = int8_tensors(proto.graph.node, constants, outputs, plan.digital, plan.analog)
    with_analog = set(plan.analog)
    if plan.analog:
        nodes, placed = placed_form(model, graph, plan.analog)
        behind = epilogues(placed, nodes, plan.analog, Constants(model.proto.graph))
        with_analog |= {name for epilogue in behind.values() for name in epilogue.nodes}
    return model_in_precision(proto, plan.digital, coded, with_analog)


@dataclass(eq=False)
class _Lowering:
    """Rewrites one model, ``proto``, in place."""

    model: OnnxModel
    graph: LayerGraph
    proto: onnx.ModelProto
    matrices: Mapping[str, ProgrammedMatrix]
    hardware: Hardware
    noise: Noise
    corrections: Mapping[str, Correction]
    store: Store

    def __post_init__(self) -> None:
        self._library = Library(opset_of(self.proto))
        self._shapes = tensor_shapes(inferred_graph(outline(self.proto)))
        self._taken = _tensor_names(self.proto.graph)
        self._tensors: dict[object, str] = {}

    def run(self, analog: frozenset[str]) -> None:
        if not analog:
            return
        weights = set()
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in self.proto.graph.node]
        placed: list[tuple[str, onnx.NodeProto]] = []
        for node in nodes:
            if node.name not in analog:
                placed.append((node.name, node))
                continue
            layer = self.graph[node.name]
            if layer.weight is None or layer.weight.tile_set not in self.matrices:
                raise ModelError(f"{self.model.label}: nothing is programmed for layer {node.name!r}")
            weights.add(layer.weight.name)
            matrix = self.matrices[layer.weight.tile_set]
            placed += ((node.name, made) for made in self._called(node, layer, matrix))
        replace_nodes(self.proto.graph, nested_again(self.model, analog, placed))
        _drop_unused(self.proto.graph, weights)
        self.proto.functions.extend(self._library.protos())
        self.proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        least = helper.find_min_ir_version_for([e for e in self.proto.opset_import if e.domain != DOMAIN], True)
        self.proto.ir_version = max(self.proto.ir_version, least, 8)  # functions came with version 8

    def _called(self, node: onnx.NodeProto, layer: Layer, matrix: ProgrammedMatrix) -> list[onnx.NodeProto]:
        """The call in the node's place; behind it, an Add of the chip's offsets where it is calibrated."""
        assert layer.weight is not None
        correction = self.corrections.get(node.name)
        if correction is not None:
            matrix = matrix.with_gain(correction.gain)
        io = Converters.of(self.hardware.for_layer(node.name))
        if self.noise == "off":
            io = io.quiet
        product = Product.of_layer(node, layer)
        shape = self._shapes.get(product.activation)
        call = lowered_call(
            product, layer, matrix, io, self.noise, self._library, None if shape is None else len(shape)
        )
        names = dict(call.graph_tensors)
        for name, array in call.tensors.items():
            names[name] = self._initializer(layer.weight.name, name, array, (matrix.devices, name, call.function.name))
        for name, value in call.numbers.items():
            names[name] = self._initializer("lhc", name, np.array(value, np.float32), (name, value))
        if "deviates" in call.inputs:
            names["deviates"] = self._deviates(node, call)
        inputs = [names[name] for name in call.inputs]
        output = node.output[0] if correction is None else unique_name(f"{node.output[0]}.without_offset", self._taken)
        called = helper.make_node(call.function.name, inputs, [output], node.name, domain=DOMAIN, **call.attributes)
        if correction is None:
            return [called]
        shape = self._shapes.get(node.output[0])
        window = product.window
        axes = len(shape) if shape is not None else 2 if window is None else 2 + len(window.kernel)
        offset = product.per_output(correction.offset, axes)
        array = np.asarray(offset, layer.weight.dtype)
        name = self._initializer(node.name, "offset", array, (node.name, "offset", layer.weight.dtype))
        return [called, helper.make_node("Add", [output, name], list(node.output), f"{node.name}.offset")]

    def _initializer(self, stem: str, name: str, array: npt.NDArray[Any], key: object) -> str:
        """The tensor that holds an array; one for all calls that are given the same."""
        key = (key, array.shape, sha256(np.ascontiguousarray(array).data).digest())
        if key not in self._tensors:
            self._tensors[key] = unique_name(f"{stem}.{name}", self._taken)
            self.proto.graph.initializer.append(self.store(self._tensors[key], array))
        return self._tensors[key]

    def _deviates(self, node: onnx.NodeProto, call: Call) -> str:
        """One more input of the model."""
        name = unique_name(f"{node.name}.deviates", self._taken)
        shape = self._shapes.get(node.output[0])
        dims = None if shape is None else [call.reads, *shape]
        self.proto.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims))
        return name


def _tensor_names(graph: onnx.GraphProto) -> set[str]:
    names = {v.name for v in (*graph.input, *graph.output, *graph.value_info)} | {t.name for t in graph.initializer}
    for node in graph.node:
        names.update((*node.input, *node.output))
        for _, inner in subgraphs(node):
            names |= _tensor_names(inner)
    return names


def _drop_unused(graph: onnx.GraphProto, weights: set[str]) -> None:
    """Take out the original weights that nothing reads any more."""
    unread = weights - set(tensors_read(graph))
    for holder in (graph.initializer, graph.input, graph.value_info):
        for index in reversed(range(len(holder))):
            if holder[index].name in unread:
                del holder[index]
    _drop_constants(graph, unread)


def _drop_constants(graph: onnx.GraphProto, unread: set[str]) -> None:
    """Take them out of a graph, and of the bodies in it."""
    for node in list(graph.node):
        if node.op_type == "Constant" and node.output[0] in unread:
            graph.node.remove(node)
        for _, inner in subgraphs(node):
            _drop_constants(inner, unread)
