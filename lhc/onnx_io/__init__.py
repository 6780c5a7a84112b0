"""ONNX files in and out: models to graphs, plans to metadata and back."""

from lhc.onnx_io.annotate.annotations import (
    annotate,
    compiled_from,
    compiled_in,
    compiled_note,
    contradictions,
    has_annotations,
    mark_compiled,
    node_keys,
    put_own_keys_first,
    read_plan,
    refuse_compiled,
)
from lhc.onnx_io.annotate.reattach import find_layers, reapplied_plan
from lhc.onnx_io.annotate.third_party_annotations import (
    add_device_configurations,
    configured_placements,
    layer_assignment,
    lost_configurations,
    nnpa_config,
    placements_in,
)
from lhc.onnx_io.read.constants import Constants, free_name, stored_array
from lhc.onnx_io.read.external_data import (
    ExternalData,
    beside_data,
    check_place,
    copy_path,
    data_files,
    relative,
    whole,
)
from lhc.onnx_io.read.graph_reader import read_graph
from lhc.onnx_io.read.model_files import inline_functions, load_model
from lhc.onnx_io.read.random_operators import random_operators
from lhc.onnx_io.read.shapes import (
    Shape,
    declared_shape,
    example_shapes,
    infer_shapes,
    input_shapes,
    shape_option,
    static_batch,
)
from lhc.onnx_io.read.training_mode import training_mode
from lhc.onnx_io.rewrites.low_rank_adapters import able_to_adapt, adapters_of, with_adapters
from lhc.onnx_io.write import check_output, held_in, retrained_from, save_model, serialized

__all__ = [
    "Constants",
    "ExternalData",
    "Shape",
    "able_to_adapt",
    "adapters_of",
    "add_device_configurations",
    "annotate",
    "beside_data",
    "check_output",
    "check_place",
    "compiled_from",
    "compiled_in",
    "compiled_note",
    "configured_placements",
    "contradictions",
    "copy_path",
    "data_files",
    "declared_shape",
    "example_shapes",
    "find_layers",
    "free_name",
    "has_annotations",
    "held_in",
    "infer_shapes",
    "inline_functions",
    "input_shapes",
    "layer_assignment",
    "load_model",
    "lost_configurations",
    "mark_compiled",
    "nnpa_config",
    "node_keys",
    "placements_in",
    "put_own_keys_first",
    "random_operators",
    "read_graph",
    "read_plan",
    "reapplied_plan",
    "refuse_compiled",
    "relative",
    "retrained_from",
    "save_model",
    "serialized",
    "shape_option",
    "static_batch",
    "stored_array",
    "training_mode",
    "whole",
    "with_adapters",
]
