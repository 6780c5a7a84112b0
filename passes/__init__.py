"""Decisions: what may be analog, what the user wants, and strategies that search a placement.

Pure: no torch, aihwkit or onnxruntime. A pass takes the graph and a plan and returns a new plan.
"""

from lhc.passes.base import Judge, Pass, PassResult, Pipeline, Step
from lhc.passes.decide.copies import ChooseCopies, Copies
from lhc.passes.decide.copies_in_spare_tiles import extra_copies, fills_tiles
from lhc.passes.decide.copies_that_pay import ProfitableCopies
from lhc.passes.decide.digital_columns import ChooseDigitalColumns
from lhc.passes.decide.eligibility import (
    LeaveUnjudged,
    ParityGate,
    Qualify,
    initial_plan,
    judged_layers,
    qualified_plan,
)
from lhc.passes.decide.layer_groups import groups_of, wanted_together
from lhc.passes.decide.user_selection import FollowPlan, Select, match_layers
from lhc.passes.passes_as_text import pass_of, strategy_class
from lhc.passes.search.front import front
from lhc.passes.search.linear_objective_and_constraints import search_space
from lhc.passes.search.placement_program import SearchSpace
from lhc.passes.strategies.base import (
    DEFAULT_GOAL,
    NOT_MET,
    Curvature,
    Goal,
    Objective,
    SearchOptions,
    Strategy,
    damage_of,
    damage_together,
    decide,
    kept_limits,
    objective_value,
)
from lhc.passes.strategies.registry import STRATEGIES, check_goal, default_objective, strategy_of
from lhc.passes.strategies.sensitivity_order import anything_pays, by_worth

__all__ = [
    "DEFAULT_GOAL",
    "NOT_MET",
    "STRATEGIES",
    "ChooseCopies",
    "ChooseDigitalColumns",
    "Copies",
    "Curvature",
    "FollowPlan",
    "Goal",
    "Judge",
    "LeaveUnjudged",
    "Objective",
    "ParityGate",
    "Pass",
    "PassResult",
    "Pipeline",
    "ProfitableCopies",
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
    "damage_together",
    "decide",
    "default_objective",
    "extra_copies",
    "fills_tiles",
    "front",
    "groups_of",
    "initial_plan",
    "judged_layers",
    "kept_limits",
    "match_layers",
    "objective_value",
    "pass_of",
    "qualified_plan",
    "search_space",
    "strategy_class",
    "strategy_of",
    "wanted_together",
]
