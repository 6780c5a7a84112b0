"""Target of a training: the placement expected at the budget once the network is trained.

Before training, the search has ranked the layers and judged some placements on a few chips, so the drop of every
placement can be predicted. A training leaves a share of it. The network is trained for the boldest placement, layers by
damage for what they bring, whose predicted drop is within the budget by then. Layers beyond stay digital in training: a
network that many analog layers ruin would be trained away from what it knows, for a placement that no training can
save.

It is trained for the copies of weights that this placement would be tested with, those on further tiles included.

Where what is predicted to hold with the trained weights is far below that, they were trained for the wrong placement.
Then the network is trained once more, as it was given, for the best that is predicted by then. Where training changed
the damage so much that other copies are chosen which do far less of it, it is trained once more for these.
"""

from collections.abc import Mapping
from itertools import accumulate

from lhc.options.by_command import PartitionOptions
from lhc.options.training import TrainingOptions
from lhc.passes import by_worth, damage_of, objective_value, search_space
from lhc.pipeline.pipeline_state import PreparedNetwork, RecordedNetwork, SearchedNetwork
from lhc.pipeline.steps.verify.fixed_sequence_test import Forecast, Path
from lhc.pipeline.steps.verify.verify import base_drop, path_of
from lhc.samples.task import Task

LEFT = 0.45
"""Share of a drop that training is expected to leave. Seen with all layers analog (docs/trainings.md): 0.44 of
ResNet-8's, 0.50 of MiniLM's, about 0.55 of ResNet20's."""
LEFT_WITH_LABELS, LONG_STEPS = 0.2, 2000
"""The same for a training of that many steps in whose loss labels have a share: it left 0.13 of ResNet-8's drop with
all layers analog, where distillation alone left 0.44. ResNet20 gained nothing by labels. Where far less holds than was
trained for, a second training follows."""
OPEN_REASONS = frozenset({"sensitivity", "strategy", "budget", "time"})
"""Reasons of digital layers that training may turn analog."""
FALLS_SHORT = 0.3
"""Part of what was trained for that may be missed without a second training: other targets brought a layer of fourteen
at most where the first one was not hopeless."""
MISPLACED = 1.3
"""Times the damage of copies chosen after training that those trained for may do without a second training."""


def proposed(searched: SearchedNetwork) -> frozenset[str]:
    """The placement that a search found."""
    return searched.searched.result.plan.analog


def predicted_to_hold(path: Path, budget: float, room: float = 1.0) -> list[frozenset[str]]:
    """Placements on the path of a search whose predicted drop is within so many budgets, the safest first."""
    forecast, steps = Forecast.of(path, budget), zip(path.steps, path.damages, strict=True)
    return [step for step, damage in steps if forecast.predicted(damage) <= room * budget]


def search_path(searched: SearchedNetwork) -> Path:
    """The path of a search, with the drop that the network has without analog layers."""
    return path_of(searched.graph, searched.plan, searched.searched, base_drop(searched))


def reached(searched: SearchedNetwork) -> frozenset[str]:
    """The boldest placement on the path of a search that is predicted to hold; without a prediction, its own.

    A search takes one placement on a few chips to hold and the next one not to; a prediction weighs all that it judged.
    """
    if not searched.searched.judge.verdicts:
        return proposed(searched)
    holding = predicted_to_hold(search_path(searched), searched.budget.max_drop)
    return holding[-1] if holding else searched.plan.analog


def value_of(state: PreparedNetwork, placement: frozenset[str]) -> float:
    """Value of a placement by the objective; smaller is better."""
    return objective_value(state.graph, state.plan, state.goal.objective, placement)


def value_to_hold(searched: SearchedNetwork) -> float:
    """Value by the objective of what is predicted to hold; smaller is better."""
    return value_of(searched, reached(searched))


def fits_as_given(searched: SearchedNetwork) -> bool:
    """Whether a search leaves nothing to training: no layer is digital for what it loses."""
    rows = searched.searched.result.plan.layers
    return not any(row.reason in OPEN_REASONS for row in rows if row.placement == "digital")


def set_apart(tested: RecordedNetwork, training: Task) -> str:
    """Note that fewer samples decide than without a training, which takes some of them; else empty.

    Args:
        training: samples that train.
    """
    outcome, options = tested.outcome, tested.options
    shares = isinstance(options, PartitionOptions) and options.train_data is None
    if not shares:
        return ""
    what = "samples" if outcome.documents is None else "windows"
    return (
        f". Of {len(training) + len(tested.task):,} {what} {outcome.samples:,} decide, since {len(training):,} are for"
        " training: figures with and without --retrain do not compare"
    )


def expected_left(settings: TrainingOptions, samples: int) -> float:
    """Share of a drop that a training on so many samples is expected to leave."""
    helped = settings.label_share > 0 and settings.steps_for(samples) >= LONG_STEPS
    return LEFT_WITH_LABELS if helped else LEFT


def training_target(searched: SearchedNetwork, left: float = LEFT) -> frozenset[str]:
    """The layers to train as analog; those that share their weights, or move together, are taken or left together.

    Args:
        searched: the network as it was given, ranked and searched.
        left: share of a drop that the training is expected to leave.
    """
    found, graph, plan = searched.searched, searched.graph, searched.plan
    groups = by_worth(search_space(graph, plan, found.options))
    placements = [plan.analog.union(*groups[: count + 1]) for count in range(len(groups))]
    if not found.strategy.searches and proposed(searched):
        return proposed(searched)  # the rule says what is settled
    unknown = {row.name for row in plan.layers if row.sensitivity is None}
    budget = searched.budget.max_drop
    if not placements:
        return plan.analog
    if not found.judge.verdicts or budget <= 0 or not unknown.isdisjoint(placements[-1]):
        return placements[-1]
    forecast = Forecast.of(path_of(graph, plan, found), budget / left)
    damages = [damage_of(graph, plan, placement, found.options.copies.of(placement)) for placement in placements]
    drops = [forecast.predicted(damage) for damage in accumulate(damages, max)]
    return placements[max(sum(drop <= budget / left for drop in drops) - 1, 0)]


def falls_short(searched: SearchedNetwork, target: frozenset[str]) -> bool:
    """Whether what is predicted to hold, with trained weights or without, is far less than what was trained for.

    Args:
        target: the layers that were trained for.
    """
    ground, wanted = searched.plan.analog, value_of(searched, target)
    whole = value_of(searched, ground) - wanted
    return bool(reached(searched) - ground) and value_to_hold(searched) - wanted > FALLS_SHORT * whole > 0


def misplaced(searched: SearchedNetwork, target: frozenset[str], copies: Mapping[str, int]) -> bool:
    """Whether the copies that were trained for do far more damage than those that are chosen with the trained weights.

    Args:
        searched: the trained network, ranked and searched.
        target: the layers that were trained for.
        copies: of their weights in training.
    """

    def damage(held: Mapping[str, int]) -> float:
        everywhere = {name: held.get(name, 1) for name in target}
        return damage_of(searched.graph, searched.plan, target, everywhere)

    return damage(copies) > MISPLACED * damage(searched.copies.of(target))
