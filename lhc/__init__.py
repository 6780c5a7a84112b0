"""lhc: partition ONNX networks between analog in-memory computing tiles and digital cores.

Names are loaded when they are first used, so that ``import lhc`` and ``lhc --help`` load no numeric library.
Warnings go to the logger ``lhc``, which shows them only where the application asks for it.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

logging.getLogger("lhc").addHandler(logging.NullHandler())

_LAZY = {
    "CompiledModel": "lhc.lowering",
    "Evaluation": "lhc.results",
    "Execution": "lhc.measure",
    "Hardware": "lhc.hardware",
    "HybridSession": "lhc.runtime",
    "LhcError": "lhc.errors",
    "Metric": "lhc.metrics",
    "PartitionResult": "lhc.outcomes",
    "Plan": "lhc.plan",
    "Retraining": "lhc.train",
    "Select": "lhc.passes",
    "SensitivityTable": "lhc.results",
    "Task": "lhc.task",
    "analog_outputs": "lhc.api",
    "analyze": "lhc.api",
    "attribute": "lhc.api",
    "compile": "lhc.api",
    "diff": "lhc.api",
    "estimate": "lhc.api",
    "evaluate": "lhc.api",
    "pareto": "lhc.api",
    "partition": "lhc.api",
    "partition_retrained": "lhc.api",
    "reapply": "lhc.api",
    "report_of": "lhc.api",
    "retrain": "lhc.api",
    "robustness": "lhc.api",
    "sensitivity": "lhc.api",
    "split": "lhc.api",
}

__all__ = ["__version__", *_LAZY]

if TYPE_CHECKING:
    from lhc.api import analog_outputs as analog_outputs
    from lhc.api import analyze as analyze
    from lhc.api import attribute as attribute
    from lhc.api import compile as compile
    from lhc.api import diff as diff
    from lhc.api import estimate as estimate
    from lhc.api import evaluate as evaluate
    from lhc.api import pareto as pareto
    from lhc.api import partition as partition
    from lhc.api import partition_retrained as partition_retrained
    from lhc.api import reapply as reapply
    from lhc.api import report_of as report_of
    from lhc.api import retrain as retrain
    from lhc.api import robustness as robustness
    from lhc.api import sensitivity as sensitivity
    from lhc.api import split as split
    from lhc.errors import LhcError as LhcError
    from lhc.hardware import Hardware as Hardware
    from lhc.lowering import CompiledModel as CompiledModel
    from lhc.measure import Execution as Execution
    from lhc.metrics import Metric as Metric
    from lhc.outcomes import PartitionResult as PartitionResult
    from lhc.passes import Select as Select
    from lhc.plan import Plan as Plan
    from lhc.results import Evaluation as Evaluation
    from lhc.results import SensitivityTable as SensitivityTable
    from lhc.runtime import HybridSession as HybridSession
    from lhc.task import Task as Task
    from lhc.train import Retraining as Retraining


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'lhc' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
