"""Steps of a recurrent operator as one row: they multiply by the same weights, one after the other.

    recurrent_0, recurrent_1, …, recurrent_11  →  recurrent, 12 steps

A first step whose state is 0 multiplies nothing, and is not counted.

A plan has a row for each of them, since each is a product of its own; people read one. A retrained network holds the
products themselves: there the names tell.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from lhc.plan.layer_plan import LayerPlan
from lhc.plan.schema import Plan

Found = TypeVar("Found")


def folded(plan: Plan) -> Plan:
    """The plan as people read it: one row for all steps of a part."""
    return plan.model_copy(update={"layers": folded_rows(plan.layers)})


def folded_rows(layers: Sequence[LayerPlan]) -> tuple[LayerPlan, ...]:
    """The rows, steps under the name of the first; their work is added up."""
    return tuple(_one(group) for group in _groups(layers))


def first_steps(layers: Sequence[LayerPlan]) -> dict[str, str]:
    """The name under which every layer's row is folded."""
    return {layer.name: group[0].name for group in _groups(layers) for layer in group}


def folded_titles(plan: Plan) -> dict[str, str]:
    """Titles of the rows that layers are folded into, by the layer's name."""
    titles = folded(plan).titles
    return {name: titles[first] for name, first in first_steps(plan.layers).items()}


def layers_among(plan: Plan, names: Iterable[str]) -> tuple[str, ...]:
    """Titles of the layers with these names, as tables have them; in the order of the names."""
    return tuple(by_title(dict.fromkeys(names), folded_titles(plan)))


def by_title(found: Mapping[str, Found], titles: Mapping[str, str]) -> dict[str, Found]:
    """Findings by the title of a layer; recurrent steps are alike, so the first one's is kept.

    Args:
        found: by the names of layers.
        titles: see `folded_titles`; a layer that has none is called by its name.
    """
    rows: dict[str, Found] = {}
    for name, one in found.items():
        rows.setdefault(titles.get(name, name), one)
    return rows


def _groups(layers: Iterable[LayerPlan]) -> list[list[LayerPlan]]:
    """Layers that read the same weights for the same operator, in the same place for the same reason."""
    found: dict[tuple[str | None, ...], list[LayerPlan]] = {}
    for layer in layers:
        operator = layer.origin or layer.stem
        key = (layer.name,) if layer.weight is None else (operator, layer.weight, layer.placement, layer.reason)
        found.setdefault(key, []).append(layer)
    return list(found.values())


def _one(group: Sequence[LayerPlan]) -> LayerPlan:
    first = group[0]
    if len(group) == 1:
        return first
    measured = next((layer for layer in group if layer.sensitivity is not None), first)
    return first.model_copy(
        update={
            "steps": len(group),
            "macs": sum(layer.macs for layer in group),
            "activation_macs": sum(layer.activation_macs for layer in group),
            "sensitivity": measured.sensitivity,
            "with_copies": measured.with_copies,
        }
    )
