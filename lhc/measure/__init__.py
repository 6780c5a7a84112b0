"""Measurements: placements scored on chips and samples, in this process or others, and judged."""

from lhc.measure.bench import Bench, steadied
from lhc.measure.execution import Running
from lhc.measure.judge import Budget, PlacementJudge
from lhc.measure.layer_damage import measure_sensitivity, ranking_metric
from lhc.measure.measurement import Evaluator, Measurement, SampleScores, SetScores, evaluation
from lhc.measure.parting_bench import PartingBench

__all__ = [
    "Bench",
    "Budget",
    "Evaluator",
    "Measurement",
    "PartingBench",
    "PlacementJudge",
    "Running",
    "SampleScores",
    "SetScores",
    "evaluation",
    "measure_sensitivity",
    "ranking_metric",
    "steadied",
]
