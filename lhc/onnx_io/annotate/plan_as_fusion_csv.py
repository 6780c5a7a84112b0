"""The analog layers of a plan as aihwkit's CSV for the Fusion chip: target conductances of its devices."""

from collections.abc import Iterator, Mapping

import numpy as np
import onnx

from lhc.errors import ModelError
from lhc.graph import LayerGraph
from lhc.hardware.aihwkit_config.fusion_csv_format import FusionLayer, fusion_conductances, fusion_text
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_io.read.constants import Constants
from lhc.onnx_model import OnnxModel
from lhc.plan import Plan

_CONV = "AnalogConv{}d"
_LINEAR = "AnalogLinear"


def fusion_csv(model: OnnxModel, graph: LayerGraph, plan: Plan) -> str:
    """Target conductances of all analog layers, tiles and mapping those of the plan's machine.

    Layers are numbered among themselves; aihwkit numbers the modules of a PyTorch network, which a file does not know.

    Raises:
        ModelError: a grouped convolution, weights in slices or copies, or one scale a tile: the file has none of these.
    """
    constants, nodes = Constants(model.proto.graph), {node.name: node for node in model.proto.graph.node}
    return fusion_text(list(_layers(constants, nodes, graph, plan)))


def _layers(
    constants: Constants, nodes: Mapping[str, onnx.NodeProto], graph: LayerGraph, plan: Plan
) -> Iterator[FusionLayer]:
    placed = [layer for layer in plan.layers if layer.placement == "analog"]
    for number, layer in enumerate(placed, start=1):
        machine, known = plan.hardware.for_layer(layer.name), graph[layer.name]
        assert known.weight is not None
        form = Product.of_layer(nodes[layer.name], known)
        odd = {
            "is a grouped convolution": form.groups > 1,
            "has copies of its weights (--copies off places it without)": layer.copies > 1,
            "has weights in slices (mapping.slices, cell_bits)": machine.mapping.cell_bits is not None,
            "has one scale a tile (mapping.columnwise: false)": not machine.mapping.columnwise,
            "has weights that are not scaled (mapping.omega: 0)": machine.mapping.omega == 0,
        }
        if wrong := [what for what, is_so in odd.items() if is_so]:
            raise ModelError(f"layer {layer.name!r} {wrong[0]}, which aihwkit's Fusion CSV does not have")
        matrix = np.ascontiguousarray(form.matrix(constants.value(known.weight.name)), np.float32)
        kind = _LINEAR if form.window is None else _CONV.format(len(form.window.kernel))
        values = fusion_conductances(matrix, machine.tiles.rows, machine.tiles.cols, machine.mapping.omega)
        height, width = matrix.shape
        yield FusionLayer(layer.name, number, kind, height, width, values)
