"""Results of measurements: evaluations of placements, sensitivities of layers, fronts, other conditions."""

from lhc.plan import Agreement
from lhc.results.evaluation import Evaluation, SensitivityTable, Verdict, check_evaluation
from lhc.results.front_and_robustness import (
    AtScale,
    AtTime,
    Attribution,
    Calibration,
    Front,
    FrontObjective,
    FrontPoint,
    Infeasibility,
    LayerAttribution,
    Remedy,
    Robustness,
)

__all__ = [
    "Agreement",
    "AtScale",
    "AtTime",
    "Attribution",
    "Calibration",
    "Evaluation",
    "Front",
    "FrontObjective",
    "FrontPoint",
    "Infeasibility",
    "LayerAttribution",
    "Remedy",
    "Robustness",
    "SensitivityTable",
    "Verdict",
    "check_evaluation",
]
