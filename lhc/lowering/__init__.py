"""Compile placed models to portable ONNX: analog nodes become ONNX functions that do what the tiles do."""

from lhc.lowering.compiled_model import CompiledModel, check_compiled_output, compile_chips
from lhc.lowering.functions.tile_read import Noise
from lhc.lowering.lower import Chip, lower
from lhc.lowering.split_into_submodels import check_split_output, split

__all__ = [
    "Chip",
    "CompiledModel",
    "Noise",
    "check_compiled_output",
    "check_split_output",
    "compile_chips",
    "lower",
    "split",
]
