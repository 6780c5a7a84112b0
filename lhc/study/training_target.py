"""What a network is trained for: the placement that is expected at the budget once it is trained, not before.

Before training, the search has ranked the layers and judged some placements on a few chips, so the drop of every
placement can be predicted. A training leaves a share of it. The network is trained for the boldest placement, layers by
damage for what they bring, whose predicted drop is within the budget by then. Layers beyond stay digital in training: a
network that many analog layers ruin would be trained away from what it knows, for a placement that no training can
save.

Where the search with the trained weights comes out far below that, they were trained for the wrong placement. Then the
network is trained once more, as it was given, for the best that a search found.
"""

from itertools import accumulate

from lhc.passes import by_worth, damage_of, objective_value, search_space
from lhc.study.climb import Forecast
from lhc.study.state import Study
from lhc.study.verify import path_of

__all__ = ["falls_short", "fits_as_given", "proposed", "training_target"]

LEFT = 0.25
"""Share of a drop that training is expected to leave. Seen: 0.2 to 0.4 after full trainings of convolutional networks,
up to 0.7 after short ones (docs/retraining.md); what holds in the end is little worse for some layers too many."""
FALLS_SHORT = 0.2
"""Part of all that there is to gain that the search may miss of what was trained for, without a second training."""


def proposed(searched: Study) -> frozenset[str]:
    """The placement that a search found."""
    assert searched.searched is not None
    return searched.searched.result.plan.analog


def fits_as_given(searched: Study) -> bool:
    """Whether a search leaves nothing to training: no layer is digital for what it loses."""
    assert searched.searched is not None
    rows = searched.searched.result.plan.layers
    return not any(row.reason in ("sensitivity", "strategy", "budget") for row in rows if row.placement == "digital")


def training_target(searched: Study) -> frozenset[str]:
    """The layers to train as analog; those that share their weights, or move together, are taken or left together.

    Args:
        searched: the network as it was given, ranked and searched.
    """
    found, graph, plan = searched.searched, searched.graph, searched.plan
    assert found is not None
    groups = by_worth(search_space(graph, plan, found.options))
    placements = [plan.analog.union(*groups[: count + 1]) for count in range(len(groups))]
    if not found.strategy.searches and proposed(searched):
        return proposed(searched)  # the rule says what is settled
    unknown = {row.name for row in plan.layers if row.sensitivity is None}
    budget = searched.allowed.max_drop
    if not placements:
        return plan.analog
    if not found.judge.verdicts or budget <= 0 or not unknown.isdisjoint(placements[-1]):
        return placements[-1]
    forecast = Forecast.of(path_of(graph, plan, found), budget / LEFT)
    damages = [damage_of(graph, plan, placement, found.options.copies.of(placement)) for placement in placements]
    drops = [forecast.predicted(damage) for damage in accumulate(damages, max)]
    return placements[max(sum(drop <= budget / LEFT for drop in drops) - 1, 0)]


def falls_short(searched: Study, target: frozenset[str]) -> bool:
    """Whether what a search found, with trained weights or without, is far less than what was trained for.

    Args:
        searched: the network, searched.
        target: the layers that were trained for.
    """
    graph, plan, found = searched.graph, searched.plan, proposed(searched)

    def value(placement: frozenset[str]) -> float:
        return objective_value(graph, plan, searched.goal.objective, placement)

    whole = value(plan.analog) - value(target)
    return bool(found - plan.analog) and value(found) - value(target) > FALLS_SHORT * whole > 0
