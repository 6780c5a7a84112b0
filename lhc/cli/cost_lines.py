"""Latency and energy in JSON documents and closing lines."""

from collections.abc import Mapping

from lhc.costs import Cost, LayerCost, SystemCost, by_operator, cost_of
from lhc.costs.units import total
from lhc.errors import LhcError
from lhc.plan import Plan
from lhc.report.text import amount
from lhc.study.outcome import Analysis, plan_cost
from lhc.study.source import Opened
from lhc.support.tables import Table

__all__ = ["analysis_lines", "cost_line", "layer_costs", "stored_costs", "system_cost"]

Document = dict[str, object]


def _cost(cost: Cost | LayerCost) -> Document:
    return {"latency_s": cost.latency_s, "energy_j": cost.energy_j}


def _parts(costs: Mapping[str, LayerCost]) -> Document:
    return {n: _cost(c) | {"parts": {part: _cost(v) for part, v in c.parts.items()}} for n, c in costs.items()}


def layer_costs(result: Analysis) -> Document | None:
    """Of every layer, digital and analog; None where the hardware describes no costs."""
    if result.costs is None:
        return None
    digital, analog, others = result.costs.digital, result.costs.analog, result.costs.others
    return {"digital": _parts(digital), "analog": _parts(analog), "operators": _operators(others)}


def _operators(others: Mapping[str, LayerCost]) -> list[Document]:
    """What is no product, by operator."""
    return [{"operator": one.operator, "count": one.count, **_cost(one.cost)} for one in by_operator(others)]


def system_cost(cost: SystemCost | None, digital: SystemCost | None) -> Document | None:
    """Of a placement, beside all digital; None where the hardware describes no costs."""
    if cost is None or digital is None:
        return None
    return {
        **_cost(cost.total),
        "all_digital": _cost(digital.total),
        "layers": _parts(cost.layers),
        "others": _parts(cost.others),
        "operators": _operators(cost.others),
        "crossings": {name: _cost(value) for name, value in cost.crossings.items()},
        "assumptions": [str(one) for one in cost.assumptions],
    }


def _amounts(cost: SystemCost) -> str:
    return f"{amount(cost.latency_s, 's')} and {amount(cost.energy_j, 'J')} a sample"


def cost_line(cost: SystemCost, digital: SystemCost) -> str:
    """One line about a placement, beside all digital."""
    return f"estimated cost {_amounts(cost)}; all digital {_amounts(digital)}"


def analysis_lines(result: Analysis) -> str:
    """What stands under the table of ``lhc analyze``: totals, and operators that are no products, by operator.

    Empty where the hardware describes no costs.
    """
    digital, analog = (result.cost(placement) for placement in (frozenset[str](), frozenset(result.plan.eligible)))
    if digital is None or analog is None or not result.plan.layers:
        return ""
    totals = f"\nestimated cost, all digital: {_amounts(digital)}; all eligible layers analog: {_amounts(analog)}"
    others = by_operator(digital.others)
    if not others:
        return totals
    rows = [[one.operator, f"{one.count}", *_cells(one.cost)] for one in others]
    rows.append(["all of them", f"{sum(one.count for one in others)}", *_cells(total(one.cost for one in others))])
    table = Table(["other operator", "count", "µs", "µJ"], rows, right=range(1, 4))
    return f"{totals}\nof which operators that are no products, wherever these go:\n\n{table.render()}"


def _cells(cost: Cost) -> tuple[str, str]:
    return f"{1e6 * cost.latency_s:,.2f}", f"{1e6 * cost.energy_j:,.2f}"


def stored_costs(opened: Opened, plan: Plan) -> tuple[SystemCost | None, SystemCost | None]:
    """Of the placement that a model carries, and of all digital.

    None where the hardware describes no costs, the file does not tell its sizes, or it has changed.
    """
    try:
        placed = plan_cost(plan, opened.graph())
        return placed, None if placed is None else cost_of(opened.graph(), frozenset(), plan.hardware)
    except LhcError:
        return None, None
