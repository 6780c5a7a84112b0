"""Execute annotated graphs: digital segments in onnxruntime, analog nodes on emulated aihwkit tiles.

Names are loaded when they are first used: who reads a model needs none of what runs it.
"""

from typing import TYPE_CHECKING

from lhc.support.lazy_names import names_from

_ROOMS = {
    "LruCache": "lhc.runtime.lru_cache",
    "HybridExecutor": "lhc.runtime.executor",
    "HybridSession": "lhc.runtime.hybrid_session",
    "PARITY_TOLERANCE": "lhc.runtime.noise_free_parity",
    "Position": "lhc.runtime.engines.protocol",
    "ProgrammedLayers": "lhc.runtime.programmed_layers",
    "Ranges": "lhc.runtime.executor",
    "observe_tensors": "lhc.runtime.onnxruntime.sessions",
    "parity_errors": "lhc.runtime.noise_free_parity",
    "parity_tolerance": "lhc.runtime.noise_free_parity",
}

__all__ = [*_ROOMS]

if TYPE_CHECKING:
    from lhc.runtime.engines.protocol import Position as Position
    from lhc.runtime.executor import HybridExecutor as HybridExecutor
    from lhc.runtime.executor import Ranges as Ranges
    from lhc.runtime.hybrid_session import HybridSession as HybridSession
    from lhc.runtime.lru_cache import LruCache as LruCache
    from lhc.runtime.noise_free_parity import PARITY_TOLERANCE as PARITY_TOLERANCE
    from lhc.runtime.noise_free_parity import parity_errors as parity_errors
    from lhc.runtime.noise_free_parity import parity_tolerance as parity_tolerance
    from lhc.runtime.onnxruntime.sessions import observe_tensors as observe_tensors
    from lhc.runtime.programmed_layers import ProgrammedLayers as ProgrammedLayers

__getattr__ = names_from(__name__, _ROOMS)
