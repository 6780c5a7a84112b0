"""Execute annotated graphs: digital segments in onnxruntime, analog nodes on emulated aihwkit tiles."""

from lhc.runtime.bank import Bank
from lhc.runtime.executor import HybridExecutor, Ranges
from lhc.runtime.ort import observe_tensors
from lhc.runtime.parity import PARITY_TOLERANCE, parity_errors, parity_tolerance
from lhc.runtime.programmed import ProgrammedLayers
from lhc.runtime.session import HybridSession
from lhc.runtime.stream import Position

__all__ = [
    "PARITY_TOLERANCE",
    "Bank",
    "HybridExecutor",
    "HybridSession",
    "Position",
    "ProgrammedLayers",
    "Ranges",
    "observe_tensors",
    "parity_errors",
    "parity_tolerance",
]
