"""Evaluations: numbers with their intervals, and how they were measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from lhc.options.declaration.value_parsing import Engine
from lhc.options.shared import DropType
from lhc.plan import Agreement, Decision, Plan, Sensitivity
from lhc.plan.field_types import (
    ROUNDING,
    Count,
    Digest,
    Interval,
    Level,
    Name,
    Samples,
    Seconds,
    Seed,
    Spread,
    alike,
    check_interval,
)
from lhc.plan.recurrent_steps import by_title
from lhc.plan.sensitivity_wording import ranking_basis
from lhc.support.notebook import Tabled, axes_or_new
from lhc.support.number_formatting import bounds_text, drop_word, level_text, number_text
from lhc.support.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Evaluation:
    """A placement judged on samples over several draws.

    Attributes:
        percent: the metric is a share.
        baseline: the digital network's value on the same samples.
        values: the value of every draw.
        std: their standard deviation.
        interval: of the mean, over draws, within 0 and 1 where it is a share; None with one draw.
        drop: mean damage against the baseline; larger is worse. In the metric's unit, or relative to the baseline.
        drop_interval: of the mean drop over draws, on these samples.
        sample_interval: of the mean drop over draws and samples.
        drops: the drop of every draw.
        t_s: time of inference in seconds.
        confidence: two-sided level of the intervals.
        calibrated: samples that every chip was calibrated on, none of them judged; 0: no chip was.
        documents: that the samples are of; None where every sample stands alone.
        data: SHA-256 of all samples that were given, as `Outcome.data`; None where it was not needed.
        skipped: SHA-256 of the samples before them, which ``--skip`` left out; None where there are none, or unknown.
        higher_is_better: direction of the metric; None in those of earlier versions.
        against: SHA-256 of the network that drops are against, as `Retrained.source`; None: the placed one's own.
        engine: how products on tiles were computed.
        engine_reason: why so, as a clause; None where that is the default.
        calibrated_at_s: when chips were last calibrated, in seconds; None where they were not, or it is not known.
        outputs: of every output by itself, where several are judged; drops here are the greatest of theirs then, each
            as a share of its budget, in the unit of the first.
    """

    metric: Name
    percent: bool
    baseline: float
    values: tuple[float, ...]
    mean: float
    std: Spread
    interval: Interval | None
    drop: float
    drop_interval: Interval | None
    sample_interval: Interval | None
    drops: tuple[float, ...]
    samples: Samples
    seed: Seed
    t_s: Seconds
    confidence: Level
    calibrated: Count = 0
    documents: Samples | None = None
    data: Digest | None = None
    skipped: Digest | None = None
    higher_is_better: bool | None = None
    against: Digest | None = None
    engine: Engine = "fast"
    calibrated_at_s: Seconds | None = None
    outputs: "tuple[Evaluation, ...]" = ()
    engine_reason: str | None = None

    @property
    def drop_word(self) -> str:
        """Word for a worse metric: it drops or it rises."""
        return drop_word(self.higher_is_better)

    @property
    def draws(self) -> int:
        """Number of programmings."""
        return len(self.values)

    def deciding(self, generalized: bool) -> tuple[float, float] | None:
        """The interval of the mean drop that decides: over chips and samples, or else over chips alone."""
        return self.sample_interval if generalized else self.drop_interval

    def of_kind(self, kind: DropType, wanted: DropType) -> "Evaluation":
        """The evaluation with drops relative to the baseline, or not; those of a baseline of 0 stay as they are.

        Args:
            kind: what they are.
        """
        if kind == wanted or not self.baseline:
            return self
        scale = abs(self.baseline) if wanted == "absolute" else 1 / abs(self.baseline)
        here, anywhere = (
            None if one is None else (scale * one[0], scale * one[1])
            for one in (self.drop_interval, self.sample_interval)
        )
        drops = tuple(scale * drop for drop in self.drops)
        return replace(self, drop=scale * self.drop, drops=drops, drop_interval=here, sample_interval=anywhere)


def check_evaluation(found: Evaluation) -> None:
    """Refuse figures of an evaluation that contradict each other.

    Raises:
        ValueError: with the name of the field.
    """
    if not found.values or len(found.drops) != len(found.values):
        raise ValueError(f"drops: {len(found.drops)}, of {len(found.values)} draws")
    for name, mean, of in (("mean", found.mean, found.values), ("drop", found.drop, found.drops)):
        if not alike(mean, sum(of) / len(of), max(map(abs, of))):
            raise ValueError(f"{name}: {mean:g} is not the mean over draws")
    if found.percent and not all(-ROUNDING <= share <= 1 + ROUNDING for share in (found.baseline, *found.values)):
        raise ValueError("values: beyond 0 and 1, of a metric that is a share")
    check_interval("interval", found.interval, found.mean, "mean")
    if not found.outputs:  # their intervals are not of the greatest drops
        for name in ("drop_interval", "sample_interval"):
            check_interval(name, getattr(found, name), found.drop, "drop")
    if found.documents is not None and found.documents > found.samples:
        raise ValueError(f"documents: {found.documents:,} of {found.samples:,} samples")
    for one in found.outputs:
        check_evaluation(one)


@dataclass(frozen=True)
class Verdict:
    """Whether a placement holds the budget: ``undecided`` where the interval contains it.

    Attributes:
        evaluation: what it rests on.
        generalized: by the interval over chips and samples instead of chips alone.
        estimated: by the mean drop itself, which guides a search and shows nothing.
        yield_shown: whether as many chips as are wanted are shown to hold the budget one by one; None where no share of
            them is wanted.
    """

    status: Literal["accepted", "rejected", "undecided"]
    evaluation: Evaluation
    generalized: bool = False
    estimated: bool = False
    yield_shown: bool | None = None

    @property
    def accepted(self) -> bool:
        """Undecided counts as rejected."""
        return self.status == "accepted"

    @property
    def bound(self) -> float:
        """Upper bound of the mean drop that decided; the mean itself where it did, or where there is no interval."""
        found = self.evaluation
        if self.estimated:
            return found.drop
        interval = found.deciding(self.generalized)
        return found.drop if interval is None else interval[1]


@dataclass(frozen=True, repr=False)
class SensitivityTable(Tabled):
    """Damage of every layer when it alone is analog.

    Attributes:
        metric: in whose unit damage is.
        layers: name -> sensitivity with one copy of its weights, in file order.
        with_copies: name -> sensitivity with the copies that it has, of layers that have more than one.
        draws: programmings per layer.
        t_s: time of inference in seconds.
        confidence: two-sided level of the intervals over draws; with repeated looks, at least that.
        agreement: of predictions with what was measured to check them, whether or not they were used.
        notes: sentences for the user: why a prediction was not used.
        titles: name -> how people call the row that it is in: steps of a recurrent operator are one.
        calibrated: samples that every chip was calibrated on; 0: no chip was.
        documents: that the samples are of; None where every sample stands alone.
        engine: how products on tiles were computed.
        engine_reason: why so, as a clause; None where that is the default.
        not_finite: name -> sentence, of layers without a figure: with one alone on tiles, the network answers NaN.
    """

    metric: str
    layers: Mapping[str, Sensitivity]
    samples: int
    draws: int
    seed: int
    t_s: float
    confidence: float
    agreement: Agreement | None = None
    notes: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    calibrated: int = 0
    documents: int | None = None
    engine: Engine = "fast"
    with_copies: Mapping[str, Sensitivity] = field(default_factory=dict)
    engine_reason: str | None = None
    not_finite: Mapping[str, str] = field(default_factory=dict)

    def put_into(self, plan: Plan) -> Plan:
        """The plan with these figures, and what checked them; layers with which the network answers NaN are digital."""
        told = "with it alone on tiles, the network answers NaN or infinite values"
        decisions: dict[str, Decision] = dict.fromkeys(self.not_finite, ("digital", "sensitivity", told))
        return plan.decide(decisions).with_sensitivities(self.layers, self.agreement, self.with_copies)

    @property
    def basis(self) -> str:
        """Method by which the figures were found, and what checked predicted ones."""
        return ranking_basis(tuple(self._rows().values()), self.agreement)

    def ranking(self) -> tuple[str, ...]:
        """Names, most sensitive first."""
        return _ranked(self.layers)

    def _rows(self) -> dict[str, Sensitivity]:
        return by_title(self.layers, self.titles)

    def as_table(self) -> Table:
        """Rows in file order, with each layer's rank, and with the copies that layers have where there are any."""
        rows, copied = self._rows(), by_title(self.with_copies, self.titles)
        rank = {title: position + 1 for position, title in enumerate(_ranked(rows))}
        interval, some = f"{level_text(self.confidence)} interval", self.layers.values()
        with_copies = f"{self.metric} with copies"
        columns: dict[str, Callable[[str, Sensitivity], str]] = {
            "layer": lambda title, _: title,
            self.metric: lambda _, s: number_text(s.mean),
            "std": lambda _, s: f"{s.std:.2g}",
            interval: lambda _, s: "-" if s.interval is None else bounds_text(s.interval),
            "draws": lambda _, s: str(s.draws),
            "rank": lambda title, _: str(rank[title]),
            "found": lambda _, s: s.basis,
            "by weights": lambda _, s: _part(s.by_weights),
            "by outputs": lambda _, s: _part(s.by_outputs),
            "copies": lambda title, _: str(copied[title].copies) if title in copied else "1",
            with_copies: lambda title, _: copied[title].estimate if title in copied else "-",
        }
        if all(s.by_weights is None for s in some):
            del columns["by weights"], columns["by outputs"]
        if not copied:
            del columns["copies"], columns[with_copies]
        headers = list(columns)
        spare = ("draws", "std", "by weights", "by outputs", "copies")
        return Table(
            headers,
            [[cell(title, s) for cell in columns.values()] for title, s in rows.items()],
            right=[at for at, header in enumerate(headers) if header not in ("layer", interval, "found")],
            spare=[headers.index(header) for header in spare if header in columns],
        )

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Damage of every layer with its interval, most sensitive first.

        Args:
            axes: of matplotlib, to draw on; new ones by default.

        Returns:
            The axes.
        """
        rows = self._rows()
        titles = _ranked(rows)[::-1]
        axes = axes_or_new(axes, (7, 1 + 0.25 * len(titles)))
        for at, title in enumerate(titles):
            found = rows[title]
            if found.interval is not None:
                axes.plot(found.interval, (at, at), color="0.5")
            axes.plot([found.mean], [at], "o", color="C1")
        axes.set_yticks(range(len(titles)), list(titles))
        axes.set_xlabel(f"damage when analog alone ({self.metric}), {level_text(self.confidence)} intervals")
        return axes

    def __repr__(self) -> str:
        return f"<SensitivityTable: {len(self._rows())} layers in {self.metric}, most sensitive {self.ranking()[:1]}>"


def _ranked(found: Mapping[str, Sensitivity]) -> tuple[str, ...]:
    """Most sensitive first."""
    return tuple(sorted(found, key=lambda name: -found[name].mean))


def _part(damage: float | None) -> str:
    return "-" if damage is None else f"{damage:.2g}"
