"""Results of measurements: evaluations of placements, sensitivities of layers, fronts, other conditions."""

from lhc.plan import Agreement
from lhc.results.evaluation import Evaluation, SensitivityTable, Verdict, check_evaluation
from lhc.results.feasible_region import (
    FeasibleRegion,
    PointVerdict,
    RegionLine,
    RegionPoint,
    VariedField,
    check_region,
)
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
from lhc.results.sweep_row import RunFigures, SweepRow

__all__ = [
    "Agreement",
    "AtScale",
    "AtTime",
    "Attribution",
    "Calibration",
    "Evaluation",
    "FeasibleRegion",
    "Front",
    "FrontObjective",
    "FrontPoint",
    "Infeasibility",
    "LayerAttribution",
    "PointVerdict",
    "RegionLine",
    "RegionPoint",
    "Remedy",
    "Robustness",
    "RunFigures",
    "SensitivityTable",
    "SweepRow",
    "VariedField",
    "Verdict",
    "check_evaluation",
    "check_region",
]
