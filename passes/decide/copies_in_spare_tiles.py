"""Further copies that layers may have in tiles that a placement leaves over, and what they are predicted to bring.

With k instead of the k0 copies that its sensitivity D was found with, a layer does the damage D · k0 / k: errors of
devices are independent, so their variance falls as 1 / k, and damage grows with the variance. Copies fill whole rows of
tiles. A layer gets at most 16, up to which the law was looked at, and, where energy or latency is wanted, only as many
as leave it cheaper on tiles than digital.
"""

from collections.abc import Callable, Mapping, Sequence

from lhc.costs import LayerCost, cost_terms, costs_on_tiles, spent
from lhc.graph import LayerGraph
from lhc.hardware.tile_geometry import copies_on
from lhc.passes.decide.copies import Copies, CopyLevel, TileSet
from lhc.passes.strategies.base import Goal, Objective, damage_together, most_tiles
from lhc.plan import LayerPlan, Plan

MOST_FURTHER = 16
"""Of a layer in tiles that it takes for copies alone."""


def fills_tiles(plan: Plan, goal: Goal) -> bool:
    """Whether tiles that are left over are spent on copies: there is a bound of tiles, none of latency or energy.

    What further copies cost could lead beyond such a bound. Tiles that differ are given to layers before.
    """
    machine = plan.hardware
    if most_tiles(plan, goal.max_tiles) is None or not goal.limits.keys() <= {"tiles"} or machine.faults.differ:
        return False
    return any(machine.for_layer(layer.name).copies_obstacle is None for layer in plan.layers if layer.may_be_analog)


def extra_copies(graph: LayerGraph, plan: Plan, goal: Goal) -> Copies:
    """The copies of every placement: those that layers have anyway, and further ones in the tiles that are left over.

    Args:
        plan: with the copies that layers have anyway; those without a sensitivity get no further ones.
    """
    if not fills_tiles(plan, goal):
        return Copies(plan.copies)
    rows = {layer.name: layer for layer in plan.layers}
    ties = graph.tied(layer.name for layer in plan.layers if layer.may_be_analog)
    most = dict.fromkeys(ties, MOST_FURTHER)
    if goal.objective != "macs":
        digital = cost_terms(graph, plan.hardware, arithmetic=plan.digital).digital
        on_tiles = costs_on_tiles(graph, plan.hardware, plan.sums)
        most = {tie: _paying(tie, goal.objective, digital, on_tiles) for tie in ties}
    sets = tuple(TileSet(tie, _levels(graph, plan, [rows[name] for name in tie], most[tie])) for tie in ties)
    return Copies(plan.copies, most_tiles(plan, goal.max_tiles), sets)


def _levels(graph: LayerGraph, plan: Plan, tie: Sequence[LayerPlan], most: int) -> tuple[CopyLevel, ...]:
    """Copies that layers on the same tiles may have: those that they have anyway, and more up to ``most``."""
    name = tie[0].name
    first = CopyLevel(tie[0].copies, tie[0].tiles, damage_together(tie))
    levels, matrix = [first], graph[name].matrix
    # Where free cells are left empty, more copies were found to do harm
    # (`lhc.pipeline.steps.heal.harmful_copies`).
    if matrix is None or first.damage <= 0 or first.copies < plan.hardware.free_copies(name, matrix.rows):
        return (first,)
    for copies in _numbers(graph, plan, name, most):
        if copies > first.copies:
            tiles = plan.hardware.for_layer(name).tiles_for(matrix.rows, matrix.cols * matrix.groups, copies)
            levels.append(CopyLevel(copies, tiles, first.damage * first.copies / copies))
    return tuple(levels)


def _numbers(graph: LayerGraph, plan: Plan, name: str, most: int) -> list[int]:
    """Numbers of copies that fill rows of tiles, up to ``most``."""
    matrix, machine = graph[name].matrix, plan.hardware.for_layer(name)
    if matrix is None or machine.copies_obstacle is not None:
        return []
    filled = (copies_on(matrix.rows, machine.tiles.rows, taken) for taken in range(1, most + 1))
    return sorted({copies for copies in filled if copies <= most})


def _paying(
    tie: tuple[str, ...],
    objective: Objective,
    digital: Mapping[str, LayerCost],
    on_tiles: Callable[[str, int], LayerCost],
) -> int:
    """Most copies with which layers cost less on tiles than digital; conversions aside."""
    bound = sum(spent(digital[name], objective) for name in tie)

    def pays(copies: int) -> bool:
        return sum(spent(on_tiles(name, copies), objective) for name in tie) < bound

    return next((copies for copies in range(MOST_FURTHER, 0, -1) if pays(copies)), 0)
