"""Decisions: which products run on analog tiles, why, and what that rests on."""

from lhc.plan.conformance_result import Conformance, LayerConformance
from lhc.plan.layer_plan import Agreement, Basis, Decision, LayerPlan, Method, Placement, Reason, Sensitivity
from lhc.plan.schema import (
    OF_ANOTHER_NETWORK,
    SCHEMA_VERSION,
    CurvePoint,
    Estimate,
    HarmfulCalibration,
    Healing,
    Outcome,
    OutputOutcome,
    Plan,
    Retrained,
    TestedPlacement,
)

__all__ = [
    "OF_ANOTHER_NETWORK",
    "SCHEMA_VERSION",
    "Agreement",
    "Basis",
    "Conformance",
    "CurvePoint",
    "Decision",
    "Estimate",
    "HarmfulCalibration",
    "Healing",
    "LayerConformance",
    "LayerPlan",
    "Method",
    "Outcome",
    "OutputOutcome",
    "Placement",
    "Plan",
    "Reason",
    "Retrained",
    "Sensitivity",
    "TestedPlacement",
]
