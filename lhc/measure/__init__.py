"""Measurements: placements scored on chips and samples, in this process or others, and judged."""

from lhc.measure.budget_test import Budget, PlacementJudge
from lhc.measure.evaluator import ColumnSplitEvaluator, PlacementEvaluator, steadied
from lhc.measure.measurement import Evaluator, Measurement, SampleScores, SetScores, evaluation
from lhc.measure.running import Running
from lhc.measure.sensitivity.layer_by_layer import measure_sensitivity, ranking_metric

__all__ = [
    "Budget",
    "ColumnSplitEvaluator",
    "Evaluator",
    "Measurement",
    "PlacementEvaluator",
    "PlacementJudge",
    "Running",
    "SampleScores",
    "SetScores",
    "evaluation",
    "measure_sensitivity",
    "ranking_metric",
    "steadied",
]
