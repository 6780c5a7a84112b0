"""Runs of ``lhc partition`` as one table, and the forecast of how long they take."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from lhc.results import RunFigures, SweepRow
from lhc.support.notebook import Tabled
from lhc.support.number_formatting import (
    counted,
    drop_range,
    drop_unit,
    drop_value,
    metric_value,
    millionths,
    ratio,
    share_text,
    work_text,
)
from lhc.support.tables import Table

Settings = Mapping[str, str | bool | list[str]]
_FIGURES = ("metric", "digital", "mapped", "drop", "interval", "budget", "unit", "held", "MACs analog",
            "digital layers", "chips", "tiles", "µs", "µJ", "latency gain", "energy gain", "error")  # fmt: skip
_RIGHT = (
    "digital",
    "mapped",
    "drop",
    "budget",
    "MACs analog",
    "chips",
    "tiles",
    "µs",
    "µJ",
    "latency gain",
    "energy gain",
)
_SPARE = (
    "digital layers",
    "chips",
    "µs",
    "latency gain",
    "mapped",
    "digital",
    "metric",
    "interval",
    "tiles",
    "energy gain",
)
"""What a narrow terminal does without, in this order."""
_MOST_ERRORS = 3
_LEFT_OUT = "without reading, checks and reports"


@dataclass(frozen=True, repr=False)
class SweepResult(Tabled):
    """Result of `lhc.sweep`.

    Attributes:
        name: of the sweep: its file without the ending.
        rows: in the order of the sweep.
        left_out: runs that were not begun since ``--timeout`` was over.
        earlier: rows that an earlier command left.
    """

    name: str
    rows: tuple[SweepRow, ...]
    left_out: int = 0
    earlier: int = 0

    @property
    def failed(self) -> tuple[SweepRow, ...]:
        """Rows of runs that failed."""
        return tuple(row for row in self.rows if row.error is not None)

    def as_table(self) -> Table:
        """One row a run: the options that differ, then the figures."""
        keys = varying([row.settings for row in self.rows])
        figures = _FIGURES if self.failed else _FIGURES[:-1]
        shown = [*keys, *(name for name in figures if name not in keys)]
        cells = [{**_figures(row.figures), **_settings(row.settings), "error": row.error or ""} for row in self.rows]
        rows = [[one.get(name, "-") for name in shown] for one in cells]
        right = [at for at, name in enumerate(shown) if name in _RIGHT]
        return Table(shown, rows, right=right, spare=[shown.index(name) for name in _SPARE if name in shown])

    @property
    def summary(self) -> str:
        """Lines below the table: how many hold their budget, what failed, and what the columns are."""
        held = Counter(row.figures.within_budget for row in self.rows if row.figures is not None)
        told = [f"{counted(len(self.rows), 'run')}: within the budget {held[True]}, not {held[False]}"]
        told += [f"{len(self.failed)} failed"] if self.failed else []
        told += [f"{self.left_out} not begun in time"] if self.left_out else []
        lines = [", ".join(told)]
        errors = Counter(row.error for row in self.failed)
        lines += [f"failed ({number}): {error}" for error, number in errors.most_common(_MOST_ERRORS)]
        lines += [f"and {len(errors) - _MOST_ERRORS} other errors"] if len(errors) > _MOST_ERRORS else []
        if any(row.figures is not None for row in self.rows):
            lines.append(
                "interval: of the mean drop, compared with the budget; every run is a test by itself. µs, µJ and gains"
                " over the same machine without tiles are estimates of the cost model"
            )
        noted = sum(bool(row.notes) for row in self.rows)
        lines += [f"{counted(noted, 'run')} with warnings or notes, which the JSON has"] if noted else []
        return "\n".join(lines)

    @property
    def seconds(self) -> float:
        """Seconds of all runs together, those of earlier commands too."""
        return sum(row.seconds for row in self.rows)

    def document(self) -> dict[str, object]:
        """The document of ``lhc sweep``: nothing in it depends on when, where and by how many processes it was made."""
        return {"sweep": self.name, "left_out": self.left_out, "rows": [_row(row) for row in self.rows]}

    def __repr__(self) -> str:
        return f"<SweepResult: {self.summary.splitlines()[0]}>"


@dataclass(frozen=True)
class ForecastKind:
    """Runs that take the same time: they differ in seeds, budgets and ages alone.

    Attributes:
        kept: rows that were finished before.
        seconds: of one run, as `lhc.estimate` has it; None: the error says why not.
    """

    what: str
    runs: int
    kept: int
    seconds: float | None
    error: str | None = None

    @property
    def left(self) -> float:
        """Seconds of the runs that are left, one after the other."""
        return (self.runs - self.kept) * (self.seconds or 0.0)


@dataclass(frozen=True, repr=False)
class SweepForecast(Tabled):
    """How long a sweep will take."""

    kinds: tuple[ForecastKind, ...]
    processes: int

    @property
    def runs(self) -> int:
        """All of them."""
        return sum(kind.runs for kind in self.kinds)

    @property
    def kept(self) -> int:
        """Rows that were finished before."""
        return sum(kind.kept for kind in self.kinds)

    @property
    def seconds(self) -> float:
        """Seconds from beginning to end, where every process has a core of its own."""
        return sum(kind.left for kind in self.kinds) / max(1, min(self.processes, self.runs - self.kept))

    def as_table(self) -> Table:
        """One row a kind of run."""
        rows = [
            [one.what, str(one.runs), str(one.kept), work_text(one.left) if one.error is None else one.error]
            for one in self.kinds
        ]
        return Table(["kind of run", "runs", "finished before", "in one process"], rows, right=(1, 2, 3))

    @property
    def summary(self) -> str:
        """One line: runs, and about how long."""
        unknown = sum(kind.runs - kind.kept for kind in self.kinds if kind.error is not None)
        more = f", and without {counted(unknown, 'run')} that cannot be estimated" if unknown else ""
        return (
            f"{counted(self.runs, 'run')}, {self.kept} of them finished before; about {work_text(self.seconds)} in"
            f" {counted(self.processes, 'process', 'processes')}, {_LEFT_OUT}{more}"
        )

    def document(self) -> dict[str, object]:
        """The document of ``lhc sweep --dry-run``."""
        found = {"runs": self.runs, "kept": self.kept, "processes": self.processes, "seconds": self.seconds}
        return {"dry_run": True, **found, "kinds": [asdict(kind) for kind in self.kinds]}

    def __repr__(self) -> str:
        return f"<SweepForecast: {self.summary}>"


def varying(settings: Sequence[Settings]) -> list[str]:
    """Keys of options in which runs differ, in their order; of a single run, the network."""
    keys = list(dict.fromkeys(key for one in settings for key in one))
    found = [key for key in keys if len({repr(one.get(key)) for one in settings}) > 1]
    return found or keys[:1]


def settings_text(settings: Settings, keys: Sequence[str]) -> str:
    """Values of some options in a line."""
    found = _settings(settings)
    return ", ".join(found[key] if key == "model" else f"{key} {found[key]}" for key in keys if key in found)


def _settings(settings: Settings) -> dict[str, str]:
    words = {True: "yes", False: "no"}
    return {
        key: words[value] if isinstance(value, bool) else value if isinstance(value, str) else ", ".join(value)
        for key, value in settings.items()
    }


def _figures(found: RunFigures | None) -> dict[str, str]:
    if found is None:
        return {}
    share = found.percent or found.drop_type == "relative"
    unit = drop_unit(found.percent, found.drop_type, found.metric).strip(" ()")
    alone = "" if found.precision_drop is None else f", {drop_value(found.precision_drop, share)}"
    return {
        "metric": found.metric,
        "digital": metric_value(found.digital, found.percent),
        "mapped": metric_value(found.mapped, found.percent),
        "drop": drop_value(found.drop, share, budget=found.max_drop),
        "interval": "-" if found.interval is None else drop_range(found.interval, share, budget=found.max_drop),
        "budget": drop_value(found.max_drop, share, budget=found.max_drop),
        "unit": unit,
        "held": "yes" if found.within_budget else "no",
        "MACs analog": share_text(found.analog_mac_fraction),
        "digital layers": "as in the file" if found.precision is None else f"{found.precision}{alone}",
        "chips": str(found.chips),
        "tiles": str(found.tiles),
        "µs": millionths(found.latency_s),
        "µJ": millionths(found.energy_j),
        "latency gain": "-" if found.latency_ratio is None else ratio(found.latency_ratio),
        "energy gain": "-" if found.energy_ratio is None else ratio(found.energy_ratio),
    }


def _row(row: SweepRow) -> dict[str, object]:
    found = row.figures
    ratios = {} if found is None else {"energy_ratio": found.energy_ratio, "latency_ratio": found.latency_ratio}
    return {
        "settings": dict(row.settings),
        "command": row.command,
        "error": row.error,
        "figures": None if found is None else asdict(found) | ratios,
        "notes": list(row.notes),
    }
