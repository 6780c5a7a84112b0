"""Compile placed models to portable ONNX: analog nodes become ONNX functions that do what the tiles do."""

from lhc.lowering.compiled import CompiledModel, compile_chips, noise_mode
from lhc.lowering.converters import Noise
from lhc.lowering.lower import COMPILED_KEY, Chip, lower

__all__ = ["COMPILED_KEY", "Chip", "CompiledModel", "Noise", "compile_chips", "lower", "noise_mode"]
