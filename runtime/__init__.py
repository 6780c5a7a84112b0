"""Execute annotated graphs: digital segments in onnxruntime, analog nodes on emulated aihwkit tiles."""

from lhc.runtime.executor import HybridExecutor, ProgrammedLayers, Ranges
from lhc.runtime.ort import observe_tensors
from lhc.runtime.parity import PARITY_TOLERANCE, parity_errors
from lhc.runtime.session import HybridSession

__all__ = [
    "PARITY_TOLERANCE",
    "HybridExecutor",
    "HybridSession",
    "ProgrammedLayers",
    "Ranges",
    "observe_tensors",
    "parity_errors",
]
