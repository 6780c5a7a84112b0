"""lhc: partition ONNX networks between analog in-memory computing tiles and digital cores.

Names are loaded when they are first used, so that ``import lhc`` and ``lhc --help`` load no numeric library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_LAZY = {
    "Evaluation": "lhc.results",
    "Hardware": "lhc.hardware",
    "HybridSession": "lhc.runtime",
    "LhcError": "lhc.errors",
    "Metric": "lhc.task",
    "PartitionResult": "lhc.outcomes",
    "Plan": "lhc.plan",
    "Select": "lhc.passes",
    "SensitivityTable": "lhc.results",
    "Task": "lhc.task",
    "analog_outputs": "lhc.api",
    "analyze": "lhc.api",
    "compile": "lhc.api",
    "evaluate": "lhc.api",
    "partition": "lhc.api",
    "sensitivity": "lhc.api",
}

__all__ = ["__version__", *_LAZY]

if TYPE_CHECKING:
    from lhc.api import analog_outputs, analyze, compile, evaluate, partition, sensitivity
    from lhc.errors import LhcError
    from lhc.hardware import Hardware
    from lhc.outcomes import PartitionResult
    from lhc.passes import Select
    from lhc.plan import Plan
    from lhc.results import Evaluation, SensitivityTable
    from lhc.runtime import HybridSession
    from lhc.task import Metric, Task


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'lhc' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
