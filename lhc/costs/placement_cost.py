"""Costs of a placement, and their additive terms for a solver."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from lhc.costs.assumptions import Assumption, assumptions
from lhc.costs.crossings import Hyperedge, converted, elements, hyperedges
from lhc.costs.digital_operators import handling
from lhc.costs.models.registry import Formulas, formulas, work_of
from lhc.costs.number_formats import NumberFormats, number_formats
from lhc.costs.units import Cost, LayerCost, total
from lhc.errors import ConfigError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.support.documentation_links import page

if TYPE_CHECKING:
    from lhc.plan.digital_arithmetic import DigitalArithmetic


@dataclass(frozen=True)
class CostTerms:
    """Additive terms of the cost of any placement of a graph on a machine.

    A placement costs the analog terms of its analog products, the digital ones of the others, all of ``others``, and
    ``crossing`` times the elements of the tensors that it converts.

    Attributes:
        analog: cost of every product on tiles; products without a constant matrix have none.
        digital: cost of every operator that multiplies on the digital core, those in bodies and functions too.
        others: cost of the operators that are no products and not free, wherever these go; `by_operator` adds it up.
        tensors: those that may be converted; none where crossings are free.
        crossing: conversion of one element.
    """

    analog: Mapping[str, LayerCost]
    digital: Mapping[str, LayerCost]
    others: Mapping[str, LayerCost]
    tensors: tuple[Hyperedge, ...]
    crossing: Cost


@dataclass(frozen=True)
class SystemCost:
    """Cost of a placement, per sample.

    Attributes:
        layers: cost of every operator that multiplies where it is placed, in file order.
        others: cost of the operators that are no products.
        crossings: cost of every converted tensor, by the operator that writes it.
        assumptions: what all of this rests on.
    """

    layers: Mapping[str, LayerCost]
    others: Mapping[str, LayerCost]
    crossings: Mapping[str, Cost]
    assumptions: tuple[Assumption, ...]

    @property
    def total(self) -> Cost:
        """Cost of products, other operators and conversions together."""
        layers = (cost.total for part in (self.layers, self.others) for cost in part.values())
        return total([*layers, *self.crossings.values()])

    @property
    def latency_s(self) -> float:
        """Seconds."""
        return self.total.latency_s

    @property
    def energy_j(self) -> float:
        """Joules."""
        return self.total.energy_j


Sums = Mapping[str, Sequence[float]]
TileCost = Callable[[str, int], LayerCost]


def cost_terms(
    graph: LayerGraph,
    hardware: Hardware,
    copies: Mapping[str, int] = MappingProxyType({}),
    sums: Sums = MappingProxyType({}),
    arithmetic: "DigitalArithmetic | None" = None,
) -> CostTerms:
    """The terms of which the cost of every placement consists.

    Args:
        copies: layer -> copies of its weights on tiles; one where it is missing.
        sums: layer -> how great sums in its columns are (`lhc.hardware.converters.repeated_reads`), where
            measured.
        arithmetic: of the digital products, once it is known.

    Raises:
        ConfigError: the hardware describes no costs.
        ModelError: the size of a product is not known.
    """
    numbers = number_formats(graph, hardware, arithmetic)
    model, handled = _formulas(graph, hardware, numbers), handling(graph, elements(graph))
    analog: dict[str, LayerCost] = {}
    digital: dict[str, LayerCost] = {}
    others: dict[str, LayerCost] = {}
    for layer in graph.layers:
        if layer.multiplies:
            digital[layer.name] = model.digital(layer, work_of(layer), numbers(layer))
            if layer.weight is not None and layer.matrix is not None and layer.matrix.parameters:
                analog[layer.name] = model.analog(layer, layer.matrix, copies.get(layer.name, 1), sums.get(layer.name))
        elif layer.name in handled:
            cost = model.other(layer, handled[layer.name])
            if cost is not None:
                others[layer.name] = cost
    digital |= {layer.name: model.digital(layer, work_of(layer), numbers(layer)) for layer in graph.nested}
    free = model.crossing == Cost()
    return CostTerms(analog, digital, others, () if free else hyperedges(graph), model.crossing)


def costs_on_tiles(graph: LayerGraph, hardware: Hardware, sums: Sums = MappingProxyType({})) -> TileCost:
    """Function for the cost of one product on tiles, from its name and the copies of its weights.

    Args:
        sums: see `cost_terms`.

    Raises:
        ConfigError: the hardware describes no costs.
    """
    model = _formulas(graph, hardware, number_formats(graph, hardware))

    def cost(name: str, copies: int) -> LayerCost:
        matrix = graph[name].matrix
        assert matrix is not None
        return model.analog(graph[name], matrix, copies, sums.get(name))

    return cost


def cost_of(
    graph: LayerGraph,
    placement: frozenset[str],
    hardware: Hardware,
    copies: Mapping[str, int] = MappingProxyType({}),
    sums: Sums = MappingProxyType({}),
    arithmetic: "DigitalArithmetic | None" = None,
) -> SystemCost:
    """Latency and energy of one sample with exactly these layers analog; other arguments: see `cost_terms`.

    Raises:
        ConfigError: the hardware describes no costs.
        ModelError: the size of a product is not known.
        UsageError: a name that cannot be analog.
    """
    terms = cost_terms(graph, hardware, copies, sums, arithmetic)
    wrong = sorted(placement - terms.analog.keys())
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: no product with a constant matrix, so it has no cost on tiles")
    layers = {name: (terms.analog if name in placement else terms.digital)[name] for name in terms.digital}
    tensors = converted(terms.tensors, frozenset(layers), placement)
    crossings = {edge.tensor: terms.crossing.times(edge.elements) for edge in tensors}
    return SystemCost(layers, terms.others, crossings, assumptions(hardware))


def _formulas(graph: LayerGraph, hardware: Hardware, numbers: NumberFormats) -> Formulas:
    if hardware.costs is None:
        raise ConfigError(f"hardware {hardware.name!r} describes no costs: give it a section 'costs' ({page('costs')})")
    return formulas(hardware.costs, hardware, graph, numbers)
