"""Costs of a placement on a machine: latency and energy of every layer and crossing. Pure: no execution engine.

Formulas, units, sources and checks against published figures are in ``docs/costs.md``.
"""

from lhc.costs.assumptions import assumptions
from lhc.costs.chip_area_and_power import Area, SystemFigures, system_figures
from lhc.costs.crossings import Hyperedge
from lhc.costs.digital_operators import by_operator
from lhc.costs.models import alpine as alpine  # registers its formulas
from lhc.costs.models import diana as diana
from lhc.costs.models.registry import Formulas, Power, formulas, power_of, schedule_of
from lhc.costs.placement_cost import CostTerms, SystemCost, cost_of, cost_terms, costs_on_tiles
from lhc.costs.replicas_and_throughput import Throughput
from lhc.costs.units import Cost, LayerCost, compared, gains, spent

__all__ = [
    "Area",
    "Cost",
    "CostTerms",
    "Formulas",
    "Hyperedge",
    "LayerCost",
    "Power",
    "SystemCost",
    "SystemFigures",
    "Throughput",
    "assumptions",
    "by_operator",
    "compared",
    "cost_of",
    "cost_terms",
    "costs_on_tiles",
    "formulas",
    "gains",
    "power_of",
    "schedule_of",
    "spent",
    "system_figures",
]
