"""lhc: partition ONNX networks between analog in-memory computing tiles and digital cores.

Names are loaded when they are first used, so that ``import lhc`` and ``lhc --help`` load no numeric library.
Warnings go to the logger ``lhc``: they reach stderr unless the application configures logging otherwise.
"""

from typing import TYPE_CHECKING

from lhc.support.lazy_names import names_from
from lhc.support.version import VERSION

__version__ = VERSION

_LAZY = {
    "CompareOptions": "lhc.options.by_command",
    "CompiledModel": "lhc.lowering",
    "Evaluation": "lhc.results",
    "Hardware": "lhc.hardware",
    "HybridSession": "lhc.runtime",
    "LhcError": "lhc.errors",
    "Metric": "lhc.samples.metrics",
    "PartitionOptions": "lhc.options.by_command",
    "PartitionResult": "lhc.pipeline.results",
    "Plan": "lhc.plan",
    "RetrainOptions": "lhc.options.by_command",
    "RunOptions": "lhc.options.by_command",
    "Select": "lhc.passes",
    "SensitivityOptions": "lhc.options.by_command",
    "SensitivityTable": "lhc.results",
    "Task": "lhc.samples.task",
    "analog_outputs": "lhc.commands.run",
    "analyze": "lhc.commands.analyze",
    "attribute": "lhc.commands.attribute",
    "compare": "lhc.commands.compare",
    "compile": "lhc.commands.compile",
    "diff": "lhc.commands.diff",
    "estimate": "lhc.commands.estimate",
    "evaluate": "lhc.commands.run",
    "layer_graph": "lhc.commands.layer_graph",
    "pareto": "lhc.commands.pareto",
    "partition": "lhc.commands.partition",
    "reapply": "lhc.commands.reapply",
    "report_of": "lhc.commands.report",
    "retrain": "lhc.commands.retrain",
    "robustness": "lhc.commands.robustness",
    "sensitivity": "lhc.commands.sensitivity",
    "smooth": "lhc.commands.smooth",
    "split": "lhc.commands.split",
    "widen": "lhc.commands.widen",
}

__all__ = ["__version__", *_LAZY]

if TYPE_CHECKING:
    from lhc.commands.analyze import analyze as analyze
    from lhc.commands.attribute import attribute as attribute
    from lhc.commands.compare import compare as compare
    from lhc.commands.compile import compile as compile
    from lhc.commands.diff import diff as diff
    from lhc.commands.estimate import estimate as estimate
    from lhc.commands.layer_graph import layer_graph as layer_graph
    from lhc.commands.pareto import pareto as pareto
    from lhc.commands.partition import partition as partition
    from lhc.commands.reapply import reapply as reapply
    from lhc.commands.report import report_of as report_of
    from lhc.commands.retrain import retrain as retrain
    from lhc.commands.robustness import robustness as robustness
    from lhc.commands.run import analog_outputs as analog_outputs
    from lhc.commands.run import evaluate as evaluate
    from lhc.commands.sensitivity import sensitivity as sensitivity
    from lhc.commands.smooth import smooth as smooth
    from lhc.commands.split import split as split
    from lhc.commands.widen import widen as widen
    from lhc.errors import LhcError as LhcError
    from lhc.hardware import Hardware as Hardware
    from lhc.lowering import CompiledModel as CompiledModel
    from lhc.options.by_command import CompareOptions as CompareOptions
    from lhc.options.by_command import PartitionOptions as PartitionOptions
    from lhc.options.by_command import RetrainOptions as RetrainOptions
    from lhc.options.by_command import RunOptions as RunOptions
    from lhc.options.by_command import SensitivityOptions as SensitivityOptions
    from lhc.passes import Select as Select
    from lhc.pipeline.results import PartitionResult as PartitionResult
    from lhc.plan import Plan as Plan
    from lhc.results import Evaluation as Evaluation
    from lhc.results import SensitivityTable as SensitivityTable
    from lhc.runtime import HybridSession as HybridSession
    from lhc.samples.metrics import Metric as Metric
    from lhc.samples.task import Task as Task

__getattr__ = names_from(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted(__all__)
