"""PyTorch module to a clean ONNX model.

torch's dynamo exporter does the translation. Afterwards every node is named after the module it comes from
(``layer1.0.conv1``), and everything that tells of the exporting machine (stack traces, paths, the exporter's own
notes) is taken out, so that the same weights give the same bytes anywhere.
"""

import ast
import inspect
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from lhc.errors import MissingDependencyError, ModelError, UsageError
from lhc.models.zoo_entry import require
from lhc.onnx_io.read.subgraphs import free_name
from lhc.onnx_model import TorchModule
from lhc.support.log_levels import quiet_logger

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from typing_extensions import TypeIs

OPSET = 18
"""The opset that torch's exporter writes without converting."""

_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_SCOPES = "pkg.torch.onnx.name_scopes"
_NO_MODULE = "_empty_nn_module_stack_from_metadata_hook"
"""What torch notes for the sizes of inputs, which no module computes."""


def export_onnx(
    module: "torch.nn.Module",
    examples: "torch.Tensor | Mapping[str, torch.Tensor]",
    outputs: Sequence[str] | None = ("logits",),
    sequence: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """Export a module, with a dynamic first axis named ``batch``.

    Args:
        examples: inputs by the names that ``forward`` gives them, or the only one, which is then named ``x``; each with
            at least two samples (the exporter takes an axis of 1 as fixed).
        outputs: names of the graph's outputs; None leaves the exporter's.
        sequence: input -> axis that is as long as the sequence; it becomes dynamic and is named ``sequence``.

    Raises:
        MissingDependencyError: torch or onnxscript is not installed.
    """
    # onnxscript is the exporter's back end; torch reports its absence late.
    require("exporting needs torch and onnxscript", "onnxscript", "torch")
    import torch

    batch, length = torch.export.Dim("batch"), torch.export.Dim("sequence")
    alone = isinstance(examples, torch.Tensor)
    # Copies: what is one tensor here would be one input there.
    feeds = {"x": examples} if isinstance(examples, torch.Tensor) else {n: e.clone() for n, e in examples.items()}
    axes = {name: {0: batch} | ({sequence[name]: length} if sequence and name in sequence else {}) for name in feeds}
    with warnings.catch_warnings(action="ignore"), quiet_logger("onnxscript.optimizer"):
        program = torch.onnx.export(
            module,
            tuple(feeds.values()) if alone else (),
            kwargs=None if alone else feeds,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(feeds),
            output_names=None if outputs is None else list(outputs),
            dynamic_shapes=tuple(axes.values()) if alone else axes,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch's dynamo exporter returned no program")
    model = program.model_proto
    names = module_path_names(model.graph)
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    strip_metadata(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def is_module(source: object) -> "TypeIs[TorchModule]":
    """Whether something is a PyTorch module; does not load torch to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def export_module(module: TorchModule, arrays: Mapping[str, "npt.NDArray[np.generic]"]) -> onnx.ModelProto:
    """Export a user's module as it is in evaluation mode, with a dynamic first axis named ``batch``.

    Args:
        arrays: inputs by the names that ``forward`` gives them, or one array of any name for the only input; the first
            two samples are the examples that the exporter follows, floats in the type of the module's parameters.

    Raises:
        UsageError: the arrays are not the inputs of ``forward``.
        ModelError: the exporter cannot translate the module, or it fails on the samples.
        MissingDependencyError: onnxscript is not installed.
    """
    import torch

    assert isinstance(module, torch.nn.Module)
    named = _as_inputs(module, arrays)
    examples = {name: _suited(module, torch.from_numpy(_two_samples(name, array))) for name, array in named.items()}
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        exported = export_onnx(module, examples, outputs=None)
    except MissingDependencyError:
        raise
    except Exception as error:  # a user's module, and the exporter on it, can raise anything
        raise ModelError(
            f"{type(module).__name__}: torch cannot export it to ONNX with a dynamic batch: {_first_cause(error)};"
            " export it yourself and give the .onnx file"
        ) from error
    finally:
        for part, training in modes:
            part.training = training
    # A module that computes for one batch only is exported without a word, for the examples' batch.
    fixed = [value.name for value in exported.graph.input if not value.type.tensor_type.shape.dim[0].dim_param]
    if fixed:
        raise ModelError(
            f"{type(module).__name__}: its forward takes batches of one size only (input {fixed[0]}); let it take any"
        )
    return exported


def _first_cause(error: BaseException) -> str:
    """The first line of what went wrong first; the exporter wraps it in advice, with colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = re.sub("\x1b\\[[0-9;]*m", "", str(error)).splitlines()
    return next((line.strip() for line in lines if line.strip()), type(error).__name__)


def _as_inputs(
    module: "torch.nn.Module", arrays: Mapping[str, "npt.NDArray[np.generic]"]
) -> dict[str, "npt.NDArray[np.generic]"]:
    """Arrays by the names of ``forward``'s parameters, in their order."""
    parameters = inspect.signature(module.forward).parameters
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [name for name, parameter in parameters.items() if parameter.kind in kinds]
    needed = [name for name in names if parameters[name].default is inspect.Parameter.empty]
    if len(arrays) == 1 and len(needed or names) == 1:
        return {(needed or names)[0]: next(iter(arrays.values()))}
    missing, extra = sorted(set(needed) - set(arrays)), sorted(set(arrays) - set(names))
    if missing or extra or not arrays:
        found = ", ".join(sorted(arrays)) or "none"
        raise UsageError(
            f"{type(module).__name__}: its forward takes {', '.join(names)}; the data has {found}. A module is exported"
            " on samples: give arrays by these names"
        )
    return {name: arrays[name] for name in names if name in arrays}


def _suited(module: "torch.nn.Module", example: "torch.Tensor") -> "torch.Tensor":
    """An example where the module's parameters are, floats in their type."""
    like = next((parameter for parameter in module.parameters() if parameter.is_floating_point()), None)
    if like is None:
        return example
    return example.to(like.device, like.dtype if example.is_floating_point() else example.dtype)


def _two_samples(name: str, array: "npt.NDArray[np.generic]") -> "npt.NDArray[np.generic]":
    if array.ndim == 0 or len(array) == 0:
        raise UsageError(f"input {name!r} has shape {array.shape}; its first axis must hold samples")
    return np.asarray(array[np.array([0, min(1, len(array) - 1)])])


def module_path_names(graph: onnx.GraphProto) -> list[str]:
    """A unique name for every node, after the module it comes from.

    Convolutions and matrix products with a constant are named as the module that owns their weight (``layer1.0.conv1``
    for ``layer1.0.conv1.weight``) or, where the weight was transformed or is another module's, as the innermost module
    that the exporter noted. Others are named as that module and their operator (``layer1.0.relu``,
    ``attention.self.matmul``). What would occur twice gets a number: ``layer1.0.relu_1``.
    """
    weights = {tensor.name for tensor in graph.initializer}
    turned = {node.output[0] for node in graph.node if node.op_type == "Transpose" and node.input[0] in weights}
    products = [_product_path(node, weights, turned) for node in graph.node]
    names = [""] * len(products)
    taken: set[str] = set()
    for index in sorted(range(len(products)), key=lambda i: not products[i]):
        node = graph.node[index]
        wanted = products[index] or ".".join(filter(None, (_scope(node), node.op_type.lower())))
        names[index] = free_name(wanted, taken)
    return names


def strip_metadata(model: onnx.ModelProto) -> None:
    """Remove documentation strings and metadata of model, graph, nodes, values and weights, in place."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _product_path(node: onnx.NodeProto, weights: set[str], turned: set[str]) -> str:
    constant = [name for name in node.input[:2] if name in weights | turned]
    if node.op_type not in _PRODUCTS or not constant:
        return ""
    owners = [name.removesuffix(".weight") for name in constant if name in weights and name.endswith(".weight")]
    return owners[0] if owners else _scope(node)


def _scope(node: onnx.NodeProto) -> str:
    """Path of the innermost module that the exporter noted for a node; empty at the top."""
    noted = next((p.value for p in node.metadata_props if p.key == _SCOPES), "[]")
    scopes = [str(scope) for scope in ast.literal_eval(noted)]
    modules = [scope for scope in scopes[:-1] if scope != _NO_MODULE]
    return modules[-1] if modules else ""
