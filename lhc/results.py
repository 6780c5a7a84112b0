"""What measurements return: numbers with their spread, and how they were got."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lhc.plan import Sensitivity
from lhc.tables import Table

__all__ = ["Evaluation", "SensitivityTable", "Verdict"]


@dataclass(frozen=True)
class Evaluation:
    """A placement judged on samples over several draws.

    Attributes:
        metric: name of the metric.
        percent: the metric is a share.
        baseline: the digital network's value on the same samples.
        values: the value of every draw.
        mean: their mean.
        std: their standard deviation.
        interval: of the mean, over draws; None with one draw.
        drop: mean damage against the baseline; larger is worse. In the metric's unit, or relative to the baseline.
        drop_interval: of the mean drop over draws, on these samples.
        sample_interval: of the mean drop over draws and samples.
        drops: the drop of every draw.
        samples: how many samples.
        seed: of the run.
        t_s: time of inference in seconds.
        confidence: two-sided level of the intervals.
    """

    metric: str
    percent: bool
    baseline: float
    values: tuple[float, ...]
    mean: float
    std: float
    interval: tuple[float, float] | None
    drop: float
    drop_interval: tuple[float, float] | None
    sample_interval: tuple[float, float] | None
    drops: tuple[float, ...]
    samples: int
    seed: int
    t_s: float
    confidence: float

    @property
    def draws(self) -> int:
        """Number of programmings."""
        return len(self.values)


@dataclass(frozen=True)
class Verdict:
    """Whether a placement holds the budget: ``undecided`` where the interval contains it."""

    status: Literal["accepted", "rejected", "undecided"]
    evaluation: Evaluation

    @property
    def accepted(self) -> bool:
        """Undecided counts as rejected."""
        return self.status == "accepted"


@dataclass(frozen=True)
class SensitivityTable:
    """Damage of every layer when it alone is analog.

    Attributes:
        metric: in whose unit damage is.
        layers: name -> sensitivity, in file order.
        samples: how many samples.
        draws: programmings per layer.
        seed: of the run.
        t_s: time of inference in seconds.
        confidence: two-sided level of the intervals over draws; with repeated looks, at least that.
    """

    metric: str
    layers: Mapping[str, Sensitivity]
    samples: int
    draws: int
    seed: int
    t_s: float
    confidence: float

    def ranking(self) -> tuple[str, ...]:
        """Names, most sensitive first."""
        return tuple(sorted(self.layers, key=lambda name: -self.layers[name].mean))

    def as_table(self) -> Table:
        """Rows in file order, with each layer's rank."""
        rank = {name: str(position + 1) for position, name in enumerate(self.ranking())}
        rows = [
            [
                name,
                f"{s.mean:.4g}",
                f"{s.std:.2g}",
                "-" if s.interval is None else _bounds(s.interval),
                str(s.draws),
                rank[name],
            ]
            for name, s in self.layers.items()
        ]
        headers = ["layer", self.metric, "std", f"{100 * self.confidence:.0f} % interval", "draws", "rank"]
        return Table(headers, rows, right=(1, 2, 4, 5))

    def table(self, form: str = "table") -> str:
        """As text, csv, markdown or latex."""
        return self.as_table().render(form)

    def _repr_html_(self) -> str:
        return self.as_table().html()


def _bounds(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.4g}, {interval[1]:.4g}]"
