"""lhc: partition ONNX networks between analog in-memory computing tiles and digital cores.

Names are loaded when they are first used, so that ``import lhc`` and ``lhc --help`` load no numeric library.
Warnings go to the logger ``lhc``: they reach stderr unless the application configures logging otherwise.
"""

from typing import TYPE_CHECKING

from lhc.support.lazy_names import names_from
from lhc.support.version import VERSION

__version__ = VERSION

_LAZY = {
    "Analysis": "lhc.pipeline.analysis_and_partition_results",
    "AnalyzeOptions": "lhc.options.by_command",
    "AttributeOptions": "lhc.options.by_command",
    "AttributionResult": "lhc.report.tables.command_results",
    "CompareOptions": "lhc.options.by_command",
    "Comparison": "lhc.report.tables.comparison",
    "CompileOptions": "lhc.options.by_command",
    "CompiledModel": "lhc.lowering",
    "Effort": "lhc.pipeline.command_duration",
    "Evaluation": "lhc.results",
    "Evaluations": "lhc.report.tables.command_results",
    "FrontResult": "lhc.report.tables.command_results",
    "Goal": "lhc.passes",
    "Hardware": "lhc.hardware",
    "HybridSession": "lhc.runtime",
    "Infeasibility": "lhc.results",
    "Judge": "lhc.passes",
    "Layer": "lhc.graph",
    "LayerGraph": "lhc.graph",
    "LhcError": "lhc.errors",
    "Metric": "lhc.samples.metrics",
    "OutputsOptions": "lhc.options.by_command",
    "ParetoOptions": "lhc.options.by_command",
    "PartitionOptions": "lhc.options.by_command",
    "PartitionResult": "lhc.pipeline.analysis_and_partition_results",
    "Pass": "lhc.passes",
    "PassResult": "lhc.passes",
    "Pipeline": "lhc.passes",
    "Plan": "lhc.plan",
    "PlanDiff": "lhc.report.tables.difference",
    "RegionOptions": "lhc.options.by_command",
    "RegionResult": "lhc.report.tables.command_results",
    "Report": "lhc.report.document.report",
    "RetrainOptions": "lhc.options.by_command",
    "RewrittenModel": "lhc.pipeline.rewrites.rewritten_network",
    "RobustnessOptions": "lhc.options.by_command",
    "RobustnessResult": "lhc.report.tables.command_results",
    "RunOptions": "lhc.options.by_command",
    "SearchOptions": "lhc.passes",
    "Select": "lhc.passes",
    "SensitivityOptions": "lhc.options.by_command",
    "SensitivityTable": "lhc.results",
    "SmoothOptions": "lhc.options.by_command",
    "SplitOptions": "lhc.options.by_command",
    "Strategy": "lhc.passes",
    "SweepOptions": "lhc.options.by_command",
    "SweepResult": "lhc.report.tables.sweep_table",
    "Task": "lhc.samples.task",
    "Verdict": "lhc.results",
    "ViewOptions": "lhc.options.viewing",
    "WidenOptions": "lhc.options.by_command",
    "ZooEntry": "lhc.models",
    "analog_outputs": "lhc.commands.run",
    "analyze": "lhc.commands.analyze",
    "attribute": "lhc.commands.attribute",
    "cache": "lhc.commands.cache",
    "compare": "lhc.commands.compare",
    "compile": "lhc.commands.compile",
    "decide": "lhc.passes",
    "diff": "lhc.commands.diff",
    "estimate": "lhc.commands.estimate",
    "evaluate": "lhc.commands.run",
    "export": "lhc.commands.export",
    "feasible_region": "lhc.commands.feasible_region",
    "hardware": "lhc.commands.hardware",
    "inspect": "lhc.commands.inspect",
    "layer_graph": "lhc.commands.layer_graph",
    "models": "lhc.commands.models",
    "pareto": "lhc.commands.pareto",
    "partition": "lhc.commands.partition",
    "reapply": "lhc.commands.reapply",
    "report": "lhc.commands.report",
    "report_of": "lhc.commands.report",
    "retrain": "lhc.commands.retrain",
    "robustness": "lhc.commands.robustness",
    "run": "lhc.commands.run",
    "sensitivity": "lhc.commands.sensitivity",
    "smooth": "lhc.commands.smooth",
    "split": "lhc.commands.split",
    "sweep": "lhc.commands.sweep",
    "view": "lhc.commands.view",
    "widen": "lhc.commands.widen",
}

__all__ = ["__version__", *_LAZY]

if TYPE_CHECKING:
    from lhc.commands.analyze import analyze as analyze
    from lhc.commands.attribute import attribute as attribute
    from lhc.commands.cache import cache as cache
    from lhc.commands.compare import compare as compare
    from lhc.commands.compile import compile as compile
    from lhc.commands.diff import diff as diff
    from lhc.commands.estimate import estimate as estimate
    from lhc.commands.export import export as export
    from lhc.commands.feasible_region import feasible_region as feasible_region
    from lhc.commands.hardware import hardware as hardware
    from lhc.commands.inspect import inspect as inspect
    from lhc.commands.layer_graph import layer_graph as layer_graph
    from lhc.commands.models import models as models
    from lhc.commands.pareto import pareto as pareto
    from lhc.commands.partition import partition as partition
    from lhc.commands.reapply import reapply as reapply
    from lhc.commands.report import report as report
    from lhc.commands.report import report_of as report_of
    from lhc.commands.retrain import retrain as retrain
    from lhc.commands.robustness import robustness as robustness
    from lhc.commands.run import analog_outputs as analog_outputs
    from lhc.commands.run import evaluate as evaluate
    from lhc.commands.run import run as run
    from lhc.commands.sensitivity import sensitivity as sensitivity
    from lhc.commands.smooth import smooth as smooth
    from lhc.commands.split import split as split
    from lhc.commands.sweep import sweep as sweep
    from lhc.commands.view import view as view
    from lhc.commands.widen import widen as widen
    from lhc.errors import LhcError as LhcError
    from lhc.graph import Layer as Layer
    from lhc.graph import LayerGraph as LayerGraph
    from lhc.hardware import Hardware as Hardware
    from lhc.lowering import CompiledModel as CompiledModel
    from lhc.models import ZooEntry as ZooEntry
    from lhc.options.by_command import AnalyzeOptions as AnalyzeOptions
    from lhc.options.by_command import AttributeOptions as AttributeOptions
    from lhc.options.by_command import CompareOptions as CompareOptions
    from lhc.options.by_command import CompileOptions as CompileOptions
    from lhc.options.by_command import OutputsOptions as OutputsOptions
    from lhc.options.by_command import ParetoOptions as ParetoOptions
    from lhc.options.by_command import PartitionOptions as PartitionOptions
    from lhc.options.by_command import RegionOptions as RegionOptions
    from lhc.options.by_command import RetrainOptions as RetrainOptions
    from lhc.options.by_command import RobustnessOptions as RobustnessOptions
    from lhc.options.by_command import RunOptions as RunOptions
    from lhc.options.by_command import SensitivityOptions as SensitivityOptions
    from lhc.options.by_command import SmoothOptions as SmoothOptions
    from lhc.options.by_command import SplitOptions as SplitOptions
    from lhc.options.by_command import SweepOptions as SweepOptions
    from lhc.options.by_command import WidenOptions as WidenOptions
    from lhc.options.viewing import ViewOptions as ViewOptions
    from lhc.passes import Goal as Goal
    from lhc.passes import Judge as Judge
    from lhc.passes import Pass as Pass
    from lhc.passes import PassResult as PassResult
    from lhc.passes import Pipeline as Pipeline
    from lhc.passes import SearchOptions as SearchOptions
    from lhc.passes import Select as Select
    from lhc.passes import Strategy as Strategy
    from lhc.passes import decide as decide
    from lhc.pipeline.analysis_and_partition_results import Analysis as Analysis
    from lhc.pipeline.analysis_and_partition_results import PartitionResult as PartitionResult
    from lhc.pipeline.command_duration import Effort as Effort
    from lhc.pipeline.rewrites.rewritten_network import RewrittenModel as RewrittenModel
    from lhc.plan import Plan as Plan
    from lhc.report.document.report import Report as Report
    from lhc.report.tables.command_results import AttributionResult as AttributionResult
    from lhc.report.tables.command_results import Evaluations as Evaluations
    from lhc.report.tables.command_results import FrontResult as FrontResult
    from lhc.report.tables.command_results import RegionResult as RegionResult
    from lhc.report.tables.command_results import RobustnessResult as RobustnessResult
    from lhc.report.tables.comparison import Comparison as Comparison
    from lhc.report.tables.difference import PlanDiff as PlanDiff
    from lhc.report.tables.sweep_table import SweepResult as SweepResult
    from lhc.results import Evaluation as Evaluation
    from lhc.results import Infeasibility as Infeasibility
    from lhc.results import SensitivityTable as SensitivityTable
    from lhc.results import Verdict as Verdict
    from lhc.runtime import HybridSession as HybridSession
    from lhc.samples.metrics import Metric as Metric
    from lhc.samples.task import Task as Task

__getattr__ = names_from(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted(__all__)
