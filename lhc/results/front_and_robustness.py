"""Results around a placement: front, other conditions, causes of damage, infeasibility."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from lhc.plan import Sensitivity
from lhc.plan.field_types import Amount, Chips, Count, Interval, Level, Name, Samples, Seconds, Seed, Share, Spread
from lhc.results.evaluation import Evaluation
from lhc.support.number_bounds import MOST_COPIES
from lhc.support.number_formatting import scale_text, share_text

FrontObjective = Literal["macs", "latency", "energy", "tiles"]


@dataclass(frozen=True)
class Calibration:
    """Comparison of measured drops with estimated damages, over placements that were measured.

    Attributes:
        factor: sum of the drops over sum of the damages.
        spread: mean deviation of a drop from the factor times its damage, as a share of the mean drop's magnitude.
    """

    factor: float
    spread: Spread
    placements: Samples

    @classmethod
    def of(cls, damages: Sequence[float], drops: Sequence[float]) -> "Calibration | None":
        """Compare drops with estimates; None without a placement that is estimated to do damage.

        Args:
            damages: estimated, one a placement.
            drops: measured, in the same order.
        """
        if not sum(damages) > 0:
            return None
        total, size = sum(drops), sum(map(abs, drops))
        if abs(total) <= 1e-9 * size:
            total = 0.0  # but for its rounding
        factor = total / sum(damages)
        off = sum(abs(drop - factor * damage) for damage, drop in zip(damages, drops, strict=True))
        return cls(factor, off / size if size else 0.0, len(drops))

    def __str__(self) -> str:
        if self.factor <= 0:
            return f"the {self.placements} measured placements lost nothing together: estimated damage predicts no drop"
        return (
            f"measured damage is {scale_text(self.factor)} x estimated damage, {share_text(self.spread, 0)} off on"
            f" average, over {self.placements} measured placements"
        )


@dataclass(frozen=True)
class FrontPoint:
    """A placement on the front of damage against an objective.

    Attributes:
        analog: names of the analog layers, in file order.
        analog_mac_fraction: share of all MACs by stored weights that are analog.
        tiles: in use.
        latency_s: of a sample, in seconds; None where the hardware describes no costs.
        energy_j: of a sample, in joules; None likewise.
        damage: estimated: the layers' sensitivities, scaled to their copies of the weights, added up.
        predicted_drop: the damage times the front's calibration factor; None without calibration.
        evaluation: on held-out samples and chips that nothing was chosen by; None: only estimated.
        copies: layer -> copies of its weights, where these are more than one.
    """

    analog: tuple[str, ...]
    analog_mac_fraction: Share
    tiles: Count
    latency_s: Amount | None
    energy_j: Amount | None
    damage: float
    predicted_drop: float | None
    evaluation: Evaluation | None
    copies: Mapping[str, Annotated[int, Field(ge=1, le=MOST_COPIES)]] = field(default_factory=dict)

    def value(self, objective: str) -> float | None:
        """Value of an objective: a share of MACs, seconds, joules, or tiles; None where it is not known."""
        known = {"macs": self.analog_mac_fraction, "latency": self.latency_s, "energy": self.energy_j}
        return float(self.tiles) if objective == "tiles" else known[objective]


@dataclass(frozen=True)
class Front:
    """Placements of which, by estimate, none is better than another in both damage and objective.

    Attributes:
        objective: what is weighed against damage.
        limits: bounds that all placements keep: tiles, latency in s, energy in J.
        metric: in whose unit damage is.
        points: by growing damage; the verified ones and those that are only estimated.
        complete: whether these are all points of the front by estimate; else they are spread evenly over it.
        calibration: measured drops against estimated damages of the verified points.
        held_out: whether the samples of the evaluations took no part in the estimate.
    """

    objective: FrontObjective
    limits: Mapping[str, Amount]
    metric: Name
    points: tuple[FrontPoint, ...]
    complete: bool
    calibration: Calibration | None
    held_out: bool

    @property
    def verified(self) -> tuple[FrontPoint, ...]:
        """The points that were measured."""
        return tuple(point for point in self.points if point.evaluation is not None)

    @property
    def percent(self) -> bool:
        """Whether drops are shares."""
        return any(point.evaluation is not None and point.evaluation.percent for point in self.points)

    @property
    def drop_word(self) -> str:
        """Word for a worse metric of the measured points: it drops or it rises."""
        return next((point.evaluation.drop_word for point in self.verified if point.evaluation), "drop")

    @property
    def drop_metric(self) -> str:
        """Metric of the drops; sensitivities may be of another."""
        return next((point.evaluation.metric for point in self.points if point.evaluation is not None), self.metric)


@dataclass(frozen=True)
class AtTime:
    """A placement at one time of inference.

    Attributes:
        evaluation: with its time.
        gain: of drift compensation, mean over tiles; output noise is amplified as much. None without compensation.
        gain_range: least and greatest gain of a tile.
    """

    evaluation: Evaluation
    gain: Amount | None
    gain_range: Interval | None


@dataclass(frozen=True)
class AtScale:
    """A placement with all noise scaled: programming, read and output noise.

    Attributes:
        scale: factor on the standard deviations.
        evaluation: of the placement.
        within: whether it is shown to hold the budget.
    """

    scale: Amount
    evaluation: Evaluation
    within: bool


@dataclass(frozen=True)
class Robustness:
    """Drops of a placement under other conditions than those it was chosen for.

    Attributes:
        max_drop: the budget.
        drop_type: absolute, or relative to the baseline.
        times: over time, ascending.
        chips: over many chips, at the plan's time.
        chips_within: share of these chips whose own drop is within the budget.
        scales: over noise, ascending.
        margin: greatest factor on all noise that is shown to hold the budget; 0: none.
        fails_at: least factor above it that was measured not to; None: none of those tried.
        generalized: the interval over chips and samples decides, as it did of the placement.
        yield_share: share of all chips that is wanted to hold the budget one by one, besides their mean; None: none is.
        yield_shown: whether these chips show it, at the level of the intervals; the margin is of the mean alone.
        one_chip: every draw is a programming of one chip whose stuck cells are known, so that others are not judged.
        differs: in what this differs from the verification of the placement, so that both may answer differently; empty
            where samples, chips and level are the same, or the placement was not verified.
    """

    max_drop: Amount
    drop_type: Literal["absolute", "relative"]
    times: tuple[AtTime, ...]
    chips: Evaluation
    chips_within: Share
    scales: tuple[AtScale, ...]
    margin: Amount
    fails_at: Amount | None
    generalized: bool = False
    yield_share: Level | None = None
    yield_shown: bool | None = None
    one_chip: bool = False
    differs: tuple[str, ...] = ()

    def interval(self, found: Evaluation) -> tuple[float, float] | None:
        """Interval of a mean drop that decides."""
        return found.deciding(self.generalized)


@dataclass(frozen=True)
class LayerAttribution:
    """Causes of the damage of one analog layer.

    Attributes:
        damage: with every effect.
        effects: effect -> how much less damage there is without it, on the same chips; it may be negative.
        rest: damage without any of them: what mapping onto tiles alone does.
        calibration: how much more damage there is on chips that are not calibrated; None where none are.
        frozen: how much less damage there would be if a calibration saw the very read noise of inference: that much of
            the correction would be read noise passing for an error of devices. None where chips are calibrated at
            another time, or not at all.
    """

    damage: Sensitivity
    effects: Mapping[str, Sensitivity]
    rest: Sensitivity
    calibration: Sensitivity | None = None
    frozen: Sensitivity | None = None

    def share(self, effect: str) -> float | None:
        """Share of the damage that goes away without an effect; None where there is no damage."""
        return self.effects[effect].mean / self.damage.mean if self.damage.mean > 0 else None

    def is_shown(self, effect: str) -> bool:
        """Whether an effect does anything, or does good, by its interval."""
        interval = self.effects[effect].interval
        return interval is not None and not interval[0] <= 0 <= interval[1]


@dataclass(frozen=True)
class Attribution:
    """Damage of single layers by effect. Effects interact, so they need not add up.

    Attributes:
        metric: in whose unit damage is.
        layers: name -> attribution, in file order.
        draws: programmings per layer and effect.
        t_s: time of inference in seconds.
        confidence: two-sided level of the intervals over draws.
        titles: name -> how people call the row that it is in, as in `SensitivityTable`; for tables, not in JSON.
        calibrated: samples that every chip was calibrated on; 0: no chip was.
        documents: that the samples are of; None where every sample stands alone.
    """

    metric: Name
    layers: Mapping[str, LayerAttribution]
    samples: Samples
    draws: Chips
    seed: Seed
    t_s: Seconds
    confidence: Level
    titles: Annotated[Mapping[str, str], Field(exclude=True)] = field(default_factory=dict, compare=False)
    calibrated: Count = 0
    documents: Samples | None = None


@dataclass(frozen=True)
class Remedy:
    """A change of the machine that might help, measured.

    Attributes:
        change: what is changed, as an option or a field of the hardware: ``adc.bits 8 -> 10``.
        analog: the placement that was measured with it.
        evaluation: of that placement.
        within: whether it is shown to hold the budget.
        difference: interval, over chips and on these samples, of its mean drop minus that of the placement that is
            explained, each on the same chips; None with one chip.
    """

    change: str
    analog: tuple[str, ...]
    evaluation: Evaluation
    within: bool
    difference: Interval | None = None

    @property
    def none_shown(self) -> bool:
        """Whether it cannot be told from no difference."""
        return self.difference is not None and self.difference[0] <= 0 <= self.difference[1]


@dataclass(frozen=True)
class Infeasibility:
    """Obstacles where a budget cannot be met, and remedies.

    Attributes:
        analog: the placement that was verified and does not hold the budget: what was written, or, where nothing analog
            is written, what the search had chosen.
        least: the least drop of the placements with something analog that were measured: what was verified, what does
            the least estimated damage, and ``without``; all keep to the limits.
        nearest_budget: the least ``--max-drop`` that this placement is shown to hold.
        in_the_way: layers of it without which the rest held on chips of the search, the most damaging first.
        without: evaluation of the rest, which shows whether it does; None where no layers are in the way.
        remedies: changes of the machine, measured on the first ten chips of the test at most.
    """

    analog: tuple[str, ...]
    least: Evaluation
    nearest_budget: float
    in_the_way: tuple[str, ...]
    without: Evaluation | None
    remedies: tuple[Remedy, ...]

    @property
    def all_in_the_way(self) -> bool:
        """Whether no smaller part of the placement was found to be in the way: without all of it nothing is lost."""
        return bool(self.in_the_way) and set(self.in_the_way) >= set(self.analog)
