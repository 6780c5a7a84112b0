"""One table of what lhc reaches: networks by machines, budgets and tiles, each row a run of ``lhc sweep``.

    python benchmarks/results.py                       # rows that docs/results.json lacks, the quick ones first
    python benchmarks/results.py --only 'digits .*lionheart' --again
    python benchmarks/results.py --work-dir build/measured    # rows share what they measure
    python benchmarks/results.py --list
    python benchmarks/results.py --quick               # two rows anew, compared with the table; nothing is written
    python benchmarks/results.py --page                # docs/results.md from docs/results.json alone

Every finished row is written at once, so a run that was stopped goes on. A row holds the command, the commit and the
date that it is from; rows of other commits stay until ``--again`` makes them anew. A ``note`` that somebody adds to a
row stands on the page. Without ``--work-dir`` nothing is read from a cache of results, so that the time of the
processor is that of the whole command. With ``--work-dir``, rows of a network share what they measure, e.g. what low
precision takes from each of its digital products, and on one machine the sensitivity of its layers. A row that reused
results gives the time of the rest, and says so. A row whose data or packages are missing is said and left out.
ResNet20, ResNet-8, MiniLM, stories260k and SmolLM2 need ``LHC_DATA``, others ``pip install 'lhc[zoo]'``.

Tiles: *as they come* is the default, the least energy with as many tiles as layers take; *once* gives
``--objective macs`` the tiles that one copy of all layers takes; *twice* and *four times* give it two and four times as
many, so that copies may lower the noise.

``docs/results.json`` holds ``rows`` and ``measurements``. The latter are the other figures of the guides: what was
measured, on which pages the figures stand, the first of which has all of them, by which command, and a table of
``figures`` with ``columns``. Cells are text, so that they have the digits of the page; the first cell of a row names
it. An entry with ``row`` says that its pages quote that row of the table. ``tests/test_documented_figures.py`` compares
them with the pages.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from textwrap import fill
from typing import Any, BinaryIO, Literal

import numpy as np

import lhc
from lhc.models import cifar10, resnet8
from lhc.support.files import write_file
from lhc.support.number_formatting import share_text, time_text
from lhc.support.tables import Table

__all__ = ["PAGE", "PUBLISHED", "RESULTS", "Row", "disagreements", "main", "page", "record", "row_cells", "rows"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PUBLISHED, PAGE = (ROOT / "docs" / name for name in ("results.json", "published.json", "results.md"))
PAGE_WIDTH = 120
"""Characters in a line of text."""
Record = dict[str, Any]
Tiles = Literal["as they come", "once", "twice", "four times"]

POINT = 0.01
UNITS: Mapping[str, float] = {
    "digits": POINT, "mtcnn-rnet": POINT, "langid": POINT, "g2pm": POINT, "g2p-en": POINT, "ppocr-cls": POINT,
    "swift-f0": POINT, "magika": POINT, "resnet8": POINT, "resnet20": POINT, "ppocr-det": POINT, "stories260k": 0.1,
    "fracast": 0.05, "minilm": POINT, "minilm-squad": POINT, "smollm2": 0.1,
}  # fmt: skip
"""Networks, those that take the least time first, and what is one point of their metric, or a like rise of an error."""
TASKS: Mapping[str, str] = {
    "digits": "written digits", "mtcnn-rnet": "faces in windows", "langid": "language of messages",
    "g2pm": "reading of Chinese characters", "g2p-en": "pronunciation of words",
    "ppocr-cls": "direction of text", "swift-f0": "pitch of notes", "magika": "kind of a file",
    "resnet8": "pictures, CIFAR-10", "resnet20": "pictures, CIFAR-10", "ppocr-det": "lines of text in pages",
    "stories260k": "text, next token", "fracast": "time series", "minilm": "likeness of sentences",
    "minilm-squad": "questions about a text", "smollm2": "text, next token",
}  # fmt: skip
MACHINES = ("lionheart", "hermes", "standard-pcm")
BUDGETS = (1.0, 0.5, 2.0)
"""In points."""
OPTIONS: Mapping[str, dict[str, object]] = {
    "resnet8": {"samples": 5000}, "resnet20": {"samples": 5000}, "minilm": {"samples": 400},
    "minilm-squad": {"samples": 60, "method": "fisher", "draws": 2, "max-draws": 6},
    "smollm2": {"samples": 32, "method": "fisher", "draws": 2, "max-draws": 10},
}  # fmt: skip
"""Options beside the defaults: on all of their samples the transformers would take many hours."""
UNTRAINED: Sequence[Tiles] = ("as they come", "twice")
FOUR_TIMES = ("resnet8",)
"""Networks of a row on four times the tiles: what ResNet-8 reaches on twice did not hold on other chips."""
RETRAINED: Mapping[str, tuple[Tiles, dict[str, object]]] = {
    "resnet8": ("twice", {"label-share": 0.5}), "resnet20": ("once", {}),
}  # fmt: skip
"""Networks that have a row with training: on which tiles, and its options beside the defaults."""
QUICK = ("digits", "mtcnn-rnet")
LARGE = ("minilm", "minilm-squad", "smollm2")
"""Networks of hours."""
SHARE_APART, BASELINE_APART = 0.05, 0.005
"""By how much the share of MACs, and the digital metric, may differ on another processor."""


@dataclass(frozen=True)
class Row:
    """What a row of the table is of."""

    network: str
    machine: str = "lionheart"
    points: float = 1.0
    tiles: Tiles = "as they come"
    retrain: bool = False

    @property
    def title(self) -> str:
        """The row as ``--only`` matches it."""
        trained = ", trained" if self.retrain else ""
        return f"{self.network} {self.machine} {self.points:g} {self.tiles}{trained}"

    def settings(self) -> dict[str, object]:
        """The run, as a sweep has it."""
        budget = f"{self.points * UNITS[self.network]:g}"
        found: dict[str, object] = {"model": self.network, "hardware": self.machine, "max-drop": budget}
        if self.tiles != "as they come":
            times = {"once": 1, "twice": 2, "four times": 4}[self.tiles]
            found |= {"objective": "macs", "max-tiles": times * _tiles(self.network, self.machine)}
        found |= OPTIONS.get(self.network, {})
        if self.retrain:
            found |= {"retrain": True, "train-data": str(self.training_images), "augment": "crop-flip"}
            found |= RETRAINED[self.network][1]
        return found

    @property
    def training_images(self) -> Path:
        """File of the 50,000 training images of CIFAR-10, as the network takes them."""
        return Path("build") / f"{self.network}-training-images.npz"

    def command(self) -> list[str]:
        """Words behind ``lhc``, of the command that does the run alone."""
        named = [(f"--{key}", value) for key, value in self.settings().items() if key != "model"]
        words = (word for flag, value in named for word in ([flag] if value is True else [flag, str(value)]))
        return ["partition", self.network, *words]


def rows() -> list[Row]:
    """All rows, in the order in which they are made: the first machine and budget of every network first."""
    small = [network for network in UNITS if network not in LARGE]
    found = [Row(network, tiles=tiles) for tiles in UNTRAINED for network in small]
    found += [Row(network, points=points) for points in BUDGETS[1:] for network in small]
    found += [Row(network, machine) for machine in MACHINES[1:] for network in small]
    found += [Row(network, tiles="four times") for network in FOUR_TIMES]
    found += [Row(network, tiles=tiles, retrain=True) for network, (tiles, _) in RETRAINED.items()]
    every = [
        Row(network, machine, points, tiles)
        for networks in (small, LARGE)
        for machine in MACHINES
        for tiles in UNTRAINED
        for points in BUDGETS
        for network in networks
    ]
    return list(dict.fromkeys([*found, *every]))


def record(row: Row, work_dir: Path | None = None) -> Record:
    """Run a row; ``work_dir``: of caches that it shares with other rows of its network, None for none.

    Raises:
        RuntimeError: lhc refuses; the message is its own.
    """
    if row.retrain and not row.training_images.is_file():
        _write_training_images(row)
    cache = None if work_dir is None else work_dir / row.network
    reused = cache is not None and cache.is_dir()
    before, started = getrusage(RUSAGE_CHILDREN), time.monotonic()
    (found,) = lhc.sweep({"runs": [row.settings()]}, work_dir=cache).rows
    after = getrusage(RUSAGE_CHILDREN)  # of the process that did the run, loading libraries included
    figures = found.figures
    if figures is None:
        raise RuntimeError(found.error)
    side = None if figures.precision is None else {"precision": figures.precision, "drop": figures.precision_drop}
    return {
        "title": row.title,
        "network": row.network,
        "machine": row.machine,
        "max_drop": figures.max_drop,
        "tiles_allowed": row.tiles,
        "retrain": row.retrain,
        "metric": figures.metric,
        "digital": figures.digital,
        "digital_side": side,
        "mapped": figures.mapped,
        **{name: getattr(figures, name) for name in _AS_THEY_ARE},
        "chip_interval": list(figures.chip_interval or (figures.drop, figures.drop)),
        "sample_interval": list(figures.sample_interval or (figures.drop, figures.drop)),
        "course": [list(point) for point in figures.course],
        "cpu_s": round(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, 1),
        "wall_s": round(time.monotonic() - started, 1),
        "reused": reused,
        "command": f"lhc {' '.join(row.command())}",
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no", "--", ":!docs")),
        "date": datetime.now(UTC).date().isoformat(),
    }


_AS_THEY_ARE = (
    *("drop", "confidence", "within_budget", "held_out", "samples", "chips", "analog_layers", "layers"),
    *("analog_mac_fraction", "tiles", "energy_ratio", "latency_ratio", "retrained", "calibrated"),
)
"""Figures that a record holds under their own names."""


def disagreements(found: Record, table: Record) -> list[str]:
    """In what a row that was made anew contradicts the table; nothing where their intervals meet."""
    told = []
    low, high = found["chip_interval"]
    if not (low <= table["chip_interval"][1] and table["chip_interval"][0] <= high):
        told.append(f"mean drop {_interval(found['chip_interval'])}, the table has {_interval(table['chip_interval'])}")
    if found["within_budget"] != table["within_budget"]:
        told.append(f"within the budget: {found['within_budget']}, the table has {table['within_budget']}")
    if abs(found["digital"] - table["digital"]) > BASELINE_APART:
        told.append(f"digital {found['digital']:.4f}, the table has {table['digital']:.4f}")
    if abs(found["analog_mac_fraction"] - table["analog_mac_fraction"]) > SHARE_APART:
        told.append(f"MACs analog {_share(found)}, the table has {_share(table)}")
    return told


def row_cells(one: Record) -> list[str]:
    """All cells of a row on the page; then, as commands print them, the level of its intervals and both metrics."""
    printed = [f"{100 * one[name]:.2f} %" for name in ("digital", "mapped") if _percent(one)]
    return [*_cells(one), *_detail_cells(one), f"{100 * one['confidence']:.1f} %", *printed]


def page(records: Sequence[Record], published: Sequence[Record], measurements: Sequence[Record]) -> str:
    """docs/results.md."""
    known = sorted(records, key=_place)
    by_row = Table(_HEADERS, [_cells(one) for one in known], right=(3, 5, 6, 7, 8))
    details = Table(_DETAIL_HEADERS, [_detail_cells(one) for one in known], right=(3, 4, 5, 6))
    others = Table(_PUBLISHED_HEADERS, [_published_cells(one) for one in published], right=(3, 4, 5))
    commands = Table(
        ["network", "command", "processor", "commit", "date"],
        [[one["network"], one["command"], _processor(one), _commit(one), one["date"]] for one in known],
        right=(2,),
    )
    guides = [_guides_line(one) for one in measurements if "row" not in one]
    return _PAGE.format(
        headline=_headline(known),
        ages=_ages(),
        glance=_glance(known),
        rows=by_row.render("markdown"),
        details=details.render("markdown"),
        courses=_courses(known),
        published=others.render("markdown"),
        commands=commands.render("markdown"),
        guides="\n".join(guides),
    )


_COURSES = """## Course of trainings

The drop on the samples that watch a training (at most 500, on three chips) after so many steps.

{}

"""


def _place(one: Record) -> tuple[int, int, int, float]:
    """Place of a row on the page: by network, machine, tiles that are allowed, and budget."""
    tiles: Sequence[Tiles] = ("as they come", "twice", "four times", "once")
    return (
        list(UNITS).index(one["network"]),
        MACHINES.index(one["machine"]),
        tiles.index(one["tiles_allowed"]) + len(tiles) * one["retrain"],
        one["max_drop"],
    )


def _headline(records: Sequence[Record]) -> str:
    """How many runs hold their budget, and how many of these by tiles."""
    held = [one for one in records if one["within_budget"]]
    placed = [one for one in held if one["analog_layers"]]
    lost = len(records) - len(held)
    missed = "none misses its budget" if not lost else f"{lost} {'misses its' if lost == 1 else 'miss their'} budget"
    unseen = sum(one["held_out"] for one in placed)
    others = sum(one["sample_interval"][1] <= one["max_drop"] for one in placed)
    dearer = sum(one["energy_ratio"] is not None and one["energy_ratio"] < 1 for one in placed)
    told = f"**{len(placed)} of {len(records)} runs put layers on tiles and passed the test of their budget, on the"
    told += f"\nsamples at hand**; {len(held) - len(placed)} stay all digital, and {missed}. All digital is what a run"
    told += "\nfalls back on, so it misses a budget only where the digital formats alone do."
    told += f"\nOf the {len(placed)}, {unseen} were tested on samples that the search had not seen, {others} hold their"
    told += f"\nbudget for other samples too, and {dearer} take more energy than all digital."
    alike = sum(one["network"] in QUICK for one in records)
    told += f"\n{alike} rows are of {' and '.join(QUICK)}, so rows are not independent."
    for name in MACHINES:
        if effects := ", ".join(effect.name for effect in lhc.Hardware.load(name).effects_left_out):
            told += f"\n`{name}` leaves out [{effects}](emulation.md#what-is-not-modelled): its rows are too good."
    absent = {row.title for row in rows()} - {one["title"] for one in records}
    return f"{told}\n{len(absent)} further rows were not run; `python benchmarks/results.py --list` names them."


def _glance(records: Sequence[Record]) -> str:
    """One row a network: what the first machine reaches at the middle budget, by the tiles that are allowed."""
    table = []
    for network, point in UNITS.items():
        at_point = BUDGETS[0] * point
        found = [one for one in records if one["network"] == network and one["machine"] == MACHINES[0]]
        reached = [one for one in found if abs(one["max_drop"] - at_point) < point / 100]
        columns = (
            [one for one in reached if not one["retrain"] and one["tiles_allowed"] == UNTRAINED[0]],
            [one for one in reached if not one["retrain"] and one["tiles_allowed"] != UNTRAINED[0]],
            [one for one in reached if one["retrain"]],
        )
        if reached:
            any_of = reached[0]
            cells = ["; ".join(map(_reached, ones)) for ones in columns]
            table.append([network, TASKS[network], _digital(any_of), _amount(any_of, at_point), *cells])
    headers = ["network", "task", "digital", "budget", *UNTRAINED, "with training"]
    said = [f"{one['network']}, {_allowed(one)}: {one['note']}" for one in records if "note" in one]
    notes = [f"\n{fill(note, PAGE_WIDTH, break_long_words=False, break_on_hyphens=False)}" for note in said]
    return "\n".join([Table(headers, table, right=(2, 3)).render("markdown"), *notes])


def _reached(one: Record) -> str:
    """Share of MACs, drop and energy in one cell."""
    share = _share(one) if one["analog_layers"] else "all digital"
    tiles = f"{one['tiles_allowed']}, " if one["retrain"] or one["tiles_allowed"] not in UNTRAINED else ""
    dearer = f", {_times(one['energy_ratio'])} energy" if one["analog_layers"] else ""
    return f"{tiles}{share}: {_drop(one)}{dearer}" + ("" if one["within_budget"] else " (not held)")


_HEADERS = ["network", "task", "machine", "budget", "tiles allowed", "digital", "MACs analog", "mean drop", "energy",
            "held"]  # fmt: skip
_DETAIL_HEADERS = ["network", "machine", "tiles allowed", "budget", "analog layers", "tiles", "chips", "samples",
                   "other samples too", "digital layers", "latency"]  # fmt: skip
_PUBLISHED_HEADERS = ["work", "network", "judged by", "digital", "mapped", "MACs analog", "what differs"]
_PAGE = """# Results

What `lhc partition` reaches on the networks of [the zoo](models.md#the-zoo), one row a run.
{headline}

## At a glance

On `lionheart`, within one point or the like: share of MACs on tiles, the mean drop with its interval, and the energy
against all digital. *As they come* is the default, the least energy. *Twice* is the most MACs on twice the tiles that
one copy of all layers takes.
Where no % stands, the metric is nats per token (stories260k, smollm2; less is better), MASE (fracast; less is better)
or Spearman's correlation (minilm).

{glance}

## All rows

- **Digital**: the metric of the network as it was given, on the samples that judged.
- **Mean drop**: what the placed network loses, over chips; negative: it gains.
- **Age** of the chips, from their first read: {ages}.
  They were calibrated at that age, on at most 256 samples that judge nothing. Where the details below say
  *uncalibrated*, calibration did harm, and its samples judged too. A chip that was calibrated at its first read alone
  loses [more](healing.md).
- **Brackets** hold the [interval](statistics.md) of the mean over all chips, on these samples, which is compared with
  the budget. Its level is that of the last look, 90 % or more. Drop and interval are in points, or in the metric's own
  unit.
- **Energy**: against the same machine without tiles, by the [cost model](costs.md). No chip was measured. Products that
  *digital layers* below has in fp32 are in fp32 in both; against int8 throughout, tiles would save less.
- **Tiles allowed**: `as they come` looks for the least energy, the default. `once` and `twice` look for the most MACs.
  `once` has the tiles of one copy of all layers. `twice` and `four times` have so many times as many, so that
  [copies](healing.md) lower the noise; they pay in energy.
- **Held**: whether the whole interval lies within the budget. Nothing is promised for other samples; their interval
  stands below.

{rows}

## Details

*Chips* judged, and the search had not seen them; more where the test was close. *Samples* judged; where the search had
seen them, the row says so. *Other samples too* is the interval of the mean over all chips and all samples of this kind.
*Digital layers* says their precision, and the drop that it takes alone, without tiles.

{details}

{courses}## Published figures

These are of other people, on their own weights and machines. They stand here to be seen beside ours, not to be
compared digit by digit: the last column says what differs.

{published}

## Commands

`python benchmarks/results.py` makes this page, row by row, and `docs/results.json`, which has every figure in full.
`make results-quick` makes two rows anew and compares them. Time of the processor is that of the whole command, one
core. `more`: the row reused what an earlier row had measured, e.g. the sensitivity of layers (`--work-dir`), and its
time is that of the rest. A `+` behind a commit: the tree had changes.

{commands}

## Figures of the guides

What else was measured for the guides. **Commit and date say when a page got its figures**, or when the command was
last seen to give them; today's lhc may give others. `docs/results.json` has the figures, under `measurements`; a test
compares them with the pages. `benchmarks/README.md` in a checkout says how to run the commands.

| page | what | command | commit | date |
|---|---|---|---|---|
{guides}
"""


def _cells(one: Record) -> list[str]:
    return [
        one["network"],
        TASKS[one["network"]],
        one["machine"],
        _amount(one, one["max_drop"]),
        _allowed(one),
        _digital(one),
        _share(one),
        _drop(one),
        _times(one["energy_ratio"]),
        _held(one),
    ]


def _ages() -> str:
    """Ages at which presets judge, each with its machines."""
    by_age: dict[str, list[str]] = {}
    for machine in MACHINES:
        by_age.setdefault(time_text(lhc.Hardware.load(machine).t_inference_s), []).append(f"`{machine}`")
    return ", ".join(f"{age} on {' and '.join(names)}" for age, names in by_age.items())


def _detail_cells(one: Record) -> list[str]:
    uncalibrated = one["analog_layers"] and not one.get("calibrated", True)
    return [
        one["network"],
        one["machine"],
        _allowed(one),
        _amount(one, one["max_drop"]),
        f"{one['analog_layers']} of {one['layers']}",
        str(one["tiles"]),
        str(one["chips"]) + (", uncalibrated" if uncalibrated else ""),
        f"{one['samples']:,}" + ("" if one["held_out"] else ", seen by the search"),
        " to ".join(_amount(one, end) for end in one["sample_interval"]),
        _digital_side(one),
        _times(one["latency_ratio"]),
    ]


def _courses(records: Sequence[Record]) -> str:
    """How drops fell in trainings, where it was recorded; else nothing."""
    trained = [one for one in records if one.get("course")]
    rows = [
        [one["network"], one["machine"], _allowed(one), _amount(one, one["max_drop"]), ", ".join(_course(one))]
        for one in trained
    ]
    headers = ["network", "machine", "tiles allowed", "budget", "steps: drop"]
    return _COURSES.format(Table(headers, rows, right=(3,)).render("markdown")) if rows else ""


def _course(one: Record) -> Iterator[str]:
    for step, drop in one["course"]:
        yield f"{step:,}: {_amount(one, drop)}"


def _guides_line(one: Record) -> str:
    pages = ", ".join(name if name == "README" else f"[{name}]({name}.md)" for name in one["pages"])
    return f"| {pages} | {one['what']} | `{one['command']}` | {one['commit']} | {one['date']} |"


def _allowed(one: Record) -> str:
    return str(one["tiles_allowed"]) + (" and training" if one["retrain"] else "")


def _published_cells(one: Record) -> list[str]:
    share = "" if one["analog_mac_fraction"] is None else f"{100 * one['analog_mac_fraction']:.0f} %"
    digital = "" if one["digital"] is None else f"{one['digital']:.2f}"
    return [one["work"], one["network"], one["metric"], digital, f"{one['mapped']:.2f}", share, one["differs"]]


def _digital_side(one: Record) -> str:
    if "digital_side" not in one:
        return "not recorded"
    side = one["digital_side"]
    if side is None:
        return "as in the file"
    return str(side["precision"]) if side["drop"] is None else f"{side['precision']}, {_amount(one, side['drop'])}"


def _percent(one: Record) -> bool:
    return bool(UNITS[one["network"]] == POINT and one["metric"] != "spearman")


def _amount(one: Record, value: float) -> str:
    """In points with two decimals, or in the metric's unit with as many as show a hundredth of the like."""
    decimals = math.floor(2 - math.log10(UNITS[one["network"]]))
    return f"{100 * value:.2f}" if _percent(one) else f"{value:.{decimals}f}"


def _digital(one: Record) -> str:
    return f"{100 * one['digital']:.1f} %" if _percent(one) else f"{one['digital']:.3f}"


def _drop(one: Record) -> str:
    return f"{_amount(one, one['drop'])} [{', '.join(_amount(one, end) for end in one['chip_interval'])}]"


def _share(one: Record) -> str:
    return share_text(one["analog_mac_fraction"])


def _interval(interval: Sequence[float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    if f"{ratio:.1f}" == "1.0":
        return "same"
    return f"{ratio:.1f}x less" if ratio > 1 else f"{1 / ratio:.1f}x more"


def _held(one: Record) -> str:
    """Whether the budget is shown to hold, on the samples that judged."""
    if not one["within_budget"]:
        return "no"
    return "yes" if one["analog_layers"] else "all digital"


def _processor(one: Record) -> str:
    """Time of the processor, of the whole command or of what no earlier row had measured."""
    return f"{one['cpu_s']:,.0f} s" + (" more" if one.get("reused") else "")


def _commit(one: Record) -> str:
    return str(one["commit"]) + ("+" if one["changed"] else "")


def _tiles(network: str, machine: str) -> int:
    """Tiles of one copy of every layer."""
    return lhc.analyze(network, hardware=machine).tiles


def _write_training_images(row: Row) -> None:
    images, labels = cifar10.load("train")
    row.training_images.parent.mkdir(exist_ok=True)
    inputs = np.asarray(resnet8.pixels(images) if row.network == "resnet8" else images)
    np.savez(row.training_images, x=inputs, labels=labels)


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _published() -> list[Record]:
    return json.loads(PUBLISHED.read_text(encoding="utf-8")) if PUBLISHED.is_file() else []


def _stored() -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {"rows": [], "measurements": []}
    if RESULTS.is_file():
        found |= json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def _write(stored: Mapping[str, list[Record]]) -> None:
    """Both files anew, each as a whole."""
    texts = {
        RESULTS: json.dumps(stored, indent=1, ensure_ascii=False) + "\n",
        PAGE: page(stored["rows"], _published(), stored["measurements"]),
    }
    for path, text in texts.items():
        write_file(path, partial(_put, text))


def _put(text: str, file: BinaryIO) -> None:
    file.write(text.encode())


def _missing(records: Sequence[Record], pattern: str, again: bool) -> Iterator[Row]:
    known = {one["title"] for one in records}
    for row in rows():
        if re.search(pattern, row.title) and (again or row.title not in known):
            yield row


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _quick() -> int:
    """Rows of `QUICK` made anew: 1 where one contradicts the table or is refused, else 0."""
    table = {one["title"]: one for one in _stored()["rows"]}
    told = []
    for network in QUICK:
        title = Row(network).title
        if title not in table:
            told.append(f"{title}: the table has no such row")
            continue
        try:
            found = record(Row(network))
        except RuntimeError as error:
            told.append(f"{title}: {error}")
            continue
        apart = disagreements(found, table[title])
        told += [f"{title}: {one}" for one in apart]
        _say(f"{title}: {'contradicts the table' if apart else 'as in the table'} ({found['cpu_s']:.0f} s)")
    for line in told:
        print(line)
    return int(bool(told))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="PATTERN", help="rows whose title holds this regular expression")
    parser.add_argument("--again", action="store_true", help="make rows anew that the table has")
    parser.add_argument(
        "--work-dir", type=Path, metavar="FOLDER", help="reuse what earlier rows measured, and keep results, here"
    )
    parser.add_argument("--list", action="store_true", help="titles of the rows that would be made")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no row after so many minutes")
    parser.add_argument("--quick", action="store_true", help="make two rows anew and compare; write nothing")
    parser.add_argument("--page", action="store_true", help="write docs/results.md from docs/results.json alone")
    options = parser.parse_args(arguments)
    if options.quick:
        return _quick()
    if options.page:
        _write(_stored())
        return 0
    wanted = list(_missing(_stored()["rows"], options.only, options.again))
    if options.list:
        print("\n".join(row.title for row in wanted))
        return 0
    started = time.monotonic()
    for row in wanted:
        if time.monotonic() - started > 60 * options.minutes:
            break
        _say(f"{row.title} …")
        try:
            found = record(row, options.work_dir)
        except RuntimeError as error:
            _say(f"{row.title}: left out: {error}")
            continue
        stored = _stored()
        _write(stored | {"rows": [*(one for one in stored["rows"] if one["title"] != row.title), found]})
        _say(f"{row.title}: {_share(found)} of MACs, drop {found['drop']:.4f}, {found['cpu_s']:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
