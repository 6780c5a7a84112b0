"""The parity gate: without noise, quantisers and bounds, every analog operator must equal onnxruntime.

It runs the same code as the noisy emulation (unfolding, split over tiles, column scaling, partial sums, digital
bias) with the chosen hardware's geometry, and catches a wrong orientation, group order or dilation before it is
mistaken for noise.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io import Constants
from lhc.onnx_model import OnnxModel, captured
from lhc.runtime.engines.protocol import Position
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.lazy_programming import lazy_reads
from lhc.runtime.onnxruntime.activation_recorder import Observed, in_groups
from lhc.runtime.onnxruntime.segment_errors import answers_of
from lhc.runtime.onnxruntime.sessions import Array, observe_tensors, relative_error
from lhc.runtime.onnxruntime.tensor_types import tensor_types
from lhc.runtime.segments import Segment, SegmentModels

PARITY_TOLERANCE = 1e-4
"""Greatest allowed error, relative to the greatest magnitude of the operator's output, in float32 and float64."""


def parity_tolerance(dtype: str) -> float:
    """Tolerance in any float type: no less than two steps of it, since onnxruntime rounds on the way to its output.

    >>> parity_tolerance("float32"), parity_tolerance("float16")
    (0.0001, 0.001953125)
    """
    return max(PARITY_TOLERANCE, 2 * float(np.finfo(dtype).eps))


def parity_errors(
    model: OnnxModel,
    graph: LayerGraph,
    hardware: Hardware,
    names: Sequence[str],
    feeds: Mapping[str, Array],
    samples: int,
) -> dict[str, float]:
    """Error of each named layer on real inputs, relative to its output's greatest magnitude.

    Every layer is given the digital network's own activations, so errors do not add up.

    Raises:
        ModelError: a layer cannot be analog.
        DataError: the model does not run on these feeds.
        CutError: a part of it does not, where the whole model does.
    """
    executor = HybridExecutor(model, graph, names)
    machine = hardware.geometry
    products = lazy_reads(executor, machine, 0, 0, 0.0, (0,))[0].chips[0]

    errors = {}
    for some in in_groups(executor.layers, lambda layer: layer.tensors(), graph, samples):
        tensors = Observed(model, graph, [t for layer in some for t in layer.tensors()], packs=False)(feeds)
        for layer in some:
            (output,) = executor.run_layer(layer, tensors, products, Position(0, samples))
            errors[layer.name] = relative_error(output, tensors[layer.output])
        del tensors
    of_forms = _form_errors(model, graph, names, feeds)
    return {name: float(np.maximum(error, of_forms.get(name, 0.0))) for name, error in errors.items()}


def _form_errors(
    model: OnnxModel, graph: LayerGraph, names: Sequence[str], feeds: Mapping[str, Array]
) -> dict[str, float]:
    """Errors of the canonical form (`lhc.canonical`) of the operators that named layers are parts of, by layer.

    Each operator is given the same by its file and by its form, and both run on onnxruntime. Where the file asks for
    activations in 8 bits (``accuracy_level``), they are compared without.
    """
    rules = [one for one in (model.file.rewritten if model.file else ()) if not one.branch]
    wanted = {one.node.name: one for one in rules if not one.made.isdisjoint(names)}
    if not wanted:
        return {}
    constants = Constants(model.proto.graph)
    nodes = {name: _exact(one.node) for name, one in wanted.items()}
    made = {node.name: node for node in model.proto.graph.node}
    reads = {name: _read((nodes[name], *(made[n] for n in sorted(one.made)))) for name, one in wanted.items()}
    read = sorted({t for own in reads.values() for t in own if t and t not in constants and graph.producer(t)})
    tensors = dict(feeds) | observe_tensors(model, read, feeds, packs=False)
    types = tensor_types(model, read)
    file_models, form_models = (SegmentModels(model, known, types) for known in (nodes, made))
    found = {}
    for name, node in nodes.items():
        inputs = tuple(dict.fromkeys(t for t in reads[name] if t and t not in constants))
        outputs = tuple(filter(None, node.output))
        own = tuple(layer.name for layer in graph.layers if layer.name in wanted[name].made)
        given = {tensor: tensors[tensor] for tensor in inputs}
        answers = []
        for layers, models in (((name,), file_models), (own, form_models)):
            answers.append(answers_of(model, models, Segment(layers, inputs, outputs), given, feeds))
        found[name] = max(_error(ours, files) for files, ours in zip(*answers, strict=True))
    return {part: error for name, error in found.items() for part in wanted[name].made.intersection(names)}


def _read(nodes: Sequence[onnx.NodeProto]) -> tuple[str, ...]:
    """Tensors that an operator and the nodes of its canonical form read and do not compute."""
    written = {tensor for node in nodes for tensor in node.output}
    return tuple(t for node in nodes for t in (*node.input, *captured(node)) if t not in written)


def _error(ours: Array, files: Array) -> float:
    """Relative error; integers may be one step apart, where what both round lies on an edge."""
    if not np.issubdtype(files.dtype, np.integer) or ours.shape != files.shape or ours.dtype != files.dtype:
        return relative_error(ours, files)
    apart = np.abs(ours.astype(np.int64) - files.astype(np.int64))
    return relative_error(np.where(apart <= 1, files, ours), files)


def _exact(node: onnx.NodeProto) -> onnx.NodeProto:
    """The operator without activations in fewer bits."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for attribute in copy.attribute:
        if attribute.name == "accuracy_level":
            attribute.i = 0
    return copy
