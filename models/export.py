"""PyTorch module to a clean ONNX model.

torch's dynamo exporter does the translation. Afterwards every node is named after the module it comes from
(``layer1.0.conv1``), and everything that tells of the exporting machine (stack traces, paths, the exporter's own
notes) is taken out, so that the same weights give the same bytes anywhere.
"""

import ast
import warnings
from typing import TYPE_CHECKING

import onnx

from lhc.errors import MissingDependencyError

if TYPE_CHECKING:
    import torch

__all__ = ["OPSET", "export_onnx", "module_path_names", "strip_metadata"]

OPSET = 18
"""The opset that torch's exporter writes without converting."""

_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_SCOPES = "pkg.torch.onnx.name_scopes"


def export_onnx(
    module: "torch.nn.Module", example: "torch.Tensor", input_name: str = "x", output_name: str = "logits"
) -> onnx.ModelProto:
    """Export a module of one input and one output, with a dynamic first axis named ``batch``.

    Args:
        module: in evaluation mode.
        example: an input with at least two samples (the exporter takes an axis of 1 as fixed).
        input_name: name of the graph's input.
        output_name: name of the graph's output.

    Raises:
        MissingDependencyError: torch or onnxscript is not installed.
    """
    try:
        import onnxscript  # noqa: F401  # the exporter's back end; torch reports its absence late
        import torch
    except ImportError as error:
        raise MissingDependencyError(f"exporting needs torch and onnxscript: {error}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
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


def module_path_names(graph: onnx.GraphProto) -> list[str]:
    """A unique name for every node, after the module it comes from.

    Convolutions and matrix products are named as the module that owns their weight (``layer1.0.conv1`` for
    ``layer1.0.conv1.weight``) or, where the weight was transformed, as the innermost module the exporter noted.
    Others are named as that module and their operator (``layer1.0.relu``). What would occur twice gets a number:
    ``layer1.0.relu_1``.
    """
    weights = {tensor.name for tensor in graph.initializer}
    products = [_product_path(node, weights) for node in graph.node]
    names = [""] * len(products)
    taken: set[str] = set()
    for index in sorted(range(len(products)), key=lambda i: not products[i]):
        node = graph.node[index]
        wanted = products[index] or ".".join(filter(None, (_scope(node), node.op_type.lower())))
        names[index] = _unique(wanted, taken)
        taken.add(names[index])
    return names


def strip_metadata(model: onnx.ModelProto) -> None:
    """Remove documentation strings and metadata of model, graph, nodes, values and weights, in place."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _unique(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def _product_path(node: onnx.NodeProto, weights: set[str]) -> str:
    if node.op_type not in _PRODUCTS:
        return ""
    owners = [name.removesuffix(".weight") for name in node.input if name in weights and name.endswith(".weight")]
    return owners[0] if owners else _scope(node)


def _scope(node: onnx.NodeProto) -> str:
    """Path of the innermost module that the exporter noted for a node; empty at the top."""
    noted = next((p.value for p in node.metadata_props if p.key == _SCOPES), "[]")
    scopes = [str(scope) for scope in ast.literal_eval(noted)]
    return scopes[-2] if len(scopes) > 1 else ""
