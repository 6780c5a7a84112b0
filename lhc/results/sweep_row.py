"""One run of ``lhc partition`` as a row of a table: what was asked, and the figures that came out."""

from collections.abc import Mapping
from dataclasses import dataclass

Interval = tuple[float, float]


@dataclass(frozen=True)
class RunFigures:
    """Figures of a placement.

    Attributes:
        digital: metric of the network as it was given.
        percent: whether metric and drops are shares.
        precision: number formats of the digital layers in words (``int8, 2 products in fp32``); None: as in the file.
        precision_drop: of the drop, what these formats take alone, without tiles.
        mapped: metric with the placed layers on tiles, the mean over chips.
        drop: against ``digital``, in the unit of the metric; where ``drop_type`` is relative, a share of ``digital``.
        interval: of the mean drop, the one that decides: over chips, or over chips and samples.
        t_s: time from the first read to the moment that was judged, in seconds.
        chips: programmings that the verdict rests on.
        calibrated: whether the outputs of chips were calibrated; not where that did harm.
        energy_j, latency_s: of the placed network per sample, by the cost model; None: the machine has no costs.
        digital_energy_j, digital_latency_s: of the same machine without tiles.
        course: of the training, the drop on its validation samples after so many steps; empty: its weights were not
            kept, or there was none.
    """

    hardware: str
    metric: str
    percent: bool
    digital: float
    precision: str | None
    precision_drop: float | None
    mapped: float
    drop: float
    drop_type: str
    interval: Interval | None
    chip_interval: Interval | None
    sample_interval: Interval | None
    confidence: float
    max_drop: float
    within_budget: bool
    held_out: bool
    samples: int
    chips: int
    seed: int
    t_s: float
    analog_layers: int
    layers: int
    analog_mac_fraction: float
    tiles: int
    energy_j: float | None
    latency_s: float | None
    digital_energy_j: float | None
    digital_latency_s: float | None
    retrained: bool
    calibrated: bool = False
    course: tuple[tuple[int, float], ...] = ()

    @property
    def energy_ratio(self) -> float | None:
        """How many times less energy the placed network takes than the same machine without tiles."""
        return _times_less(self.energy_j, self.digital_energy_j)

    @property
    def latency_ratio(self) -> float | None:
        """How many times less latency likewise."""
        return _times_less(self.latency_s, self.digital_latency_s)


def _times_less(placed: float | None, digital: float | None) -> float | None:
    """Ratio of two estimates; None where one is not known, or the placed network costs nothing."""
    return None if digital is None or not placed else digital / placed


@dataclass(frozen=True)
class SweepRow:
    """A run with its figures, or with the error that it ended with.

    Attributes:
        settings: options of ``lhc partition`` by key, as the sweep has them.
        command: the command that does this run alone.
        figures: None where it failed.
        error: None where it did not.
        notes: what was told on the way: warnings and notes.
        seconds: that it took in a worker that had loaded its libraries.
    """

    settings: Mapping[str, str | bool | list[str]]
    command: str
    figures: RunFigures | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
