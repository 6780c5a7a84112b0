"""What a placement costs on a machine: latency and energy of every layer and crossing. Pure: no execution engine.

Formulas, units, sources and checks against published figures are in ``docs/costs.md``.
"""

from lhc.costs import alpine as alpine  # registers its formulas
from lhc.costs import diana as diana
from lhc.costs.assumptions import assumptions
from lhc.costs.gains import compared, gains
from lhc.costs.others import by_operator
from lhc.costs.registry import Formulas, formulas
from lhc.costs.system import CostTerms, SystemCost, cost_of, cost_on_tiles, cost_terms
from lhc.costs.tensors import Hyperedge
from lhc.costs.units import Cost, LayerCost

__all__ = [
    "Cost",
    "CostTerms",
    "Formulas",
    "Hyperedge",
    "LayerCost",
    "SystemCost",
    "assumptions",
    "by_operator",
    "compared",
    "cost_of",
    "cost_on_tiles",
    "cost_terms",
    "formulas",
    "gains",
]
