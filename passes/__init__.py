"""Decisions: what may be analog, what the user wants, and strategies that search a placement.

Pure: no torch, aihwkit or onnxruntime. A pass takes the graph and a plan and returns a new plan.
"""

from lhc.passes.base import Judge, Pass, PassResult, Pipeline, Step
from lhc.passes.gates import ParityGate
from lhc.passes.groups import wanted_together
from lhc.passes.order import anything_pays, by_worth
from lhc.passes.qualify import Qualify, initial_plan
from lhc.passes.search_base import (
    DEFAULT_GOAL,
    Curvature,
    Goal,
    Objective,
    SearchOptions,
    damage_of,
    decide,
    kept_limits,
    objective_value,
)
from lhc.passes.search_front import EstimatedFront, front
from lhc.passes.search_space import Point, SearchSpace, search_space
from lhc.passes.select import FollowPlan, Select
from lhc.passes.strategies import STRATEGIES, Strategy, check_goal, default_objective, strategy_of

__all__ = [
    "DEFAULT_GOAL",
    "STRATEGIES",
    "Curvature",
    "EstimatedFront",
    "FollowPlan",
    "Goal",
    "Judge",
    "Objective",
    "ParityGate",
    "Pass",
    "PassResult",
    "Pipeline",
    "Point",
    "Qualify",
    "SearchOptions",
    "SearchSpace",
    "Select",
    "Step",
    "Strategy",
    "anything_pays",
    "by_worth",
    "check_goal",
    "damage_of",
    "decide",
    "default_objective",
    "front",
    "initial_plan",
    "kept_limits",
    "objective_value",
    "search_space",
    "strategy_of",
    "wanted_together",
]
