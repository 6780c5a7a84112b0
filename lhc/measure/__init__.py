"""Measurements: samples from files, splits, sensitivity of layers, and the judge of joint placements."""

from lhc.measure.attribution import measure_attribution
from lhc.measure.bench import Bench, Progress, silent, steadied
from lhc.measure.data import load_task
from lhc.measure.execution import HERE, Execution, Running
from lhc.measure.infeasible import explain_infeasibility
from lhc.measure.judge import Budget, PlacementJudge
from lhc.measure.measurement import Evaluator, Measurement, SampleScores, SetScores, evaluation
from lhc.measure.placing import Found, place
from lhc.measure.ranking import RankingMethod, check_method, sensitivities
from lhc.measure.robustness import TIMES_S, measure_robustness
from lhc.measure.sensitivity import measure_sensitivity, ranking_metric
from lhc.measure.splits import MIN_SPLIT_SAMPLES, Splits, split_task, stratified_order

__all__ = [
    "HERE",
    "MIN_SPLIT_SAMPLES",
    "TIMES_S",
    "Bench",
    "Budget",
    "Evaluator",
    "Execution",
    "Found",
    "Measurement",
    "PlacementJudge",
    "Progress",
    "RankingMethod",
    "Running",
    "SampleScores",
    "SetScores",
    "Splits",
    "check_method",
    "evaluation",
    "explain_infeasibility",
    "load_task",
    "measure_attribution",
    "measure_robustness",
    "measure_sensitivity",
    "place",
    "ranking_metric",
    "sensitivities",
    "silent",
    "split_task",
    "steadied",
    "stratified_order",
]
