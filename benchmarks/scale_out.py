"""How a search scales with workers: measured with one and two, simulated up to 64 from the times of its units.

``lhc partition resnet20`` runs in one process, with units of one chip each, which notes what every unit takes: what its
placement, its chip and its samples cost whoever is at them first, and the rest. Then the same units are handed out by
the same `lhc.measure.workers.scheduler.Scheduler` to workers that count seconds instead of computing. The search takes
as long between units as it did, samples have to be read, sent and unpacked, and workers load libraries while the first
process reads. Times are processor seconds: processes that slow each other down, by memory or by fewer cores than
processes, are left out.

At last ``lhc partition`` runs once with ``--jobs 1``, once with ``--jobs 2``, and twice at once with ``--jobs 1``: what
two processes that share nothing take longer than one is the machine's doing. These are wall times: two cores must be
idle.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/scale_out.py [--images 2000] [--simulate]``
"""

import pickle
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from statistics import mean
from typing import Any
from unittest.mock import patch

import lhc
from benchmarks.timing import options, write
from lhc.measure.evaluation_context import Block, WorkContext
from lhc.measure.sensitivity.gradient_worker import CalibrateAlone
from lhc.measure.work_unit import Scorer
from lhc.measure.workers.processes import SerialWorkers, _load, packed
from lhc.measure.workers.scheduler import Scheduler, WorkUnit
from lhc.runtime import HybridExecutor
from lhc.samples.metrics import Array

__all__ = ["main"]

WORKERS = (1, 2, 4, 8, 16, 32, 64)
PARTS = (
    (Scorer, "_digital_output", "samples of a setting"),
    (WorkContext, "executor", "placement"),
    (Scorer, "_observe_digitally", "placement"),
    (HybridExecutor, "open", "placement"),
    (Scorer, "_programmed", "chip"),
    (HybridExecutor, "prefix", "samples"),
    (Scorer, "held", "placement"),
)
"""What takes the time of a part; of those within each other the outer one counts."""


@dataclass
class Noted:
    """Seconds of units, and what the search asked of its workers.

    Attributes:
        parts: what is made once: by its name, the setting and what it is made for.
        rest: of units.
        events: ``expect`` or ``run``, the setting's name, units, and seconds of the search before it.
        units: seconds of units.
        handed: to read and send the samples of a unit.
    """

    parts: dict[tuple[Hashable, ...], float] = field(default_factory=dict)
    rest: dict[tuple[Hashable, ...], list[float]] = field(default_factory=lambda: defaultdict(list))
    events: list[tuple[str, str, list[list[WorkUnit]], float]] = field(default_factory=list)
    units: list[float] = field(default_factory=list)
    handed: list[float] = field(default_factory=list)
    after: float = 0.0

    @property
    def between(self) -> float:
        """Seconds between units."""
        return sum(event[3] for event in self.events) + self.after

    def seconds(self, name: str, unit: WorkUnit, made: set[Hashable]) -> float:
        """What a unit takes a worker that has made some parts."""
        new = [part for part in parts_of(name, unit) if part not in made]
        made.update(new)
        return sum(map(self._part, new)) + self._rest(name, unit.work.shared[0], unit.samples)

    def _part(self, part: tuple[Hashable, ...]) -> float:
        """Of a chip that was not looked at after all, as long as of others."""
        if part not in self.parts:
            others = [seconds for other, seconds in self.parts.items() if other[:-1] == part[:-1]]
            self.parts[part] = mean(others) if others else 0.0
        return self.parts[part]

    def _rest(self, *key: Hashable) -> float:
        """Of a unit that was not done after all, as long as with another setting."""
        others = (times for other, times in self.rest.items() if other[1:] == key[1:])
        times = self.rest.get(key) or next(others, [0.0])
        return mean(times)


def parts_of(name: str, unit: WorkUnit) -> list[tuple[Hashable, ...]]:
    """What a unit needs to be made, by the names of `PARTS`; of the digital network nothing is kept."""
    placement, chips = unit.work.shared
    if placement == frozenset():
        return []
    return [
        ("samples of a setting", name, unit.samples),
        ("placement", name, placement),
        ("chip", name, placement, chips),
        ("samples", name, placement, unit.samples),
    ]


class NotingWorkers(SerialWorkers):
    """One process that works as for many, and notes seconds."""

    count = max(WORKERS)

    def __init__(self) -> None:
        super().__init__()
        self.noted, self._names, self._last = Noted(), dict[int, str](), time.process_time()
        self._settings: list[WorkContext] = []
        self._spent, self._depth = defaultdict[str, float](float), 0

    def name(self, setting: WorkContext) -> str:
        """Of its content."""
        if id(setting) not in self._names:
            self._settings.append(setting)  # so that the number is not given to another one
            self._names[id(setting)] = sha256(packed(setting)).hexdigest()
        return self._names[id(setting)]

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same, noted."""

        def worked(*given: Any, **more: Any) -> Any:  # noqa: ANN401
            self._depth += 1
            begun = time.process_time()
            try:
                return work(*given, **more)
            finally:
                self._depth -= 1
                if not self._depth:
                    self._spent[part] += time.process_time() - begun

        return worked

    def expect(self, setting: WorkContext, certain: Iterable[WorkUnit], perhaps: Iterable[WorkUnit]) -> None:
        """See `Workers`."""
        self._note("expect", setting, [list(certain), list(perhaps)])

    def run(self, setting: WorkContext, units: Iterable[WorkUnit]) -> Iterator[tuple[int, list[Array]]]:
        """See `Workers`."""
        units = list(units)
        name = self._note("run", setting, [units])
        for number, unit in enumerate(units):
            begun = time.process_time()
            block = unit.read()
            pickle.dumps(block)
            self.noted.handed.append(time.process_time() - begun)
            here = unit._replace(read=partial(_itself, block))
            result = self._noted_unit(setting, name, here)
            if isinstance(unit.work, CalibrateAlone) and number == len(units) - 1:
                self._share(setting, name, here)
            self._last += time.process_time() - begun  # what was between stays to the search
            yield number, result

    def _noted_unit(self, setting: WorkContext, name: str, unit: WorkUnit) -> list[Array]:
        """Do a unit, and note its parts and the rest."""
        self._spent.clear()
        begun = time.process_time()
        ((_, result),) = super().run(setting, [unit])
        seconds = time.process_time() - begun
        self.noted.units.append(seconds)
        for part in parts_of(name, unit):
            spent = self._spent[str(part[0])]
            self.noted.parts[part] = max(self.noted.parts.get(part, 0.0), spent)
            seconds -= spent
        self.noted.rest[name, unit.work.shared[0], unit.samples].append(seconds)
        return result

    def _share(self, setting: WorkContext, name: str, unit: WorkUnit) -> None:
        """What calibrations of chips have in common: one takes less than half of two."""
        assert isinstance(unit.work, CalibrateAlone)
        begun = time.process_time()
        list(super().run(setting, [unit._replace(work=replace(unit.work, draws=(0, 1)))]))
        times = self.noted.rest[name, unit.work.shared[0], unit.samples]
        shared = max(0.0, 2 * mean(times) - (time.process_time() - begun))
        self.noted.parts["placement", name, unit.work.shared[0]] = shared
        times[:] = [seconds - shared for seconds in times]

    def _note(self, what: str, setting: WorkContext, units: list[list[WorkUnit]]) -> str:
        name, now = self.name(setting), time.process_time()
        self.noted.events.append((what, name, units, now - self._last))
        self._last = time.process_time()
        return name

    def close(self) -> None:
        """The end of the search."""
        self.noted.after = time.process_time() - self._last


def _itself(block: Block) -> Block:
    return block


class _Seconds(Future[list[Array]]):
    """A unit that is on its way, too late to be cancelled."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end = end
        self.set_running_or_notify_cancel()


class _Simulated(Scheduler[int]):
    """Workers that count seconds."""

    def __init__(self, noted: Noted, starts: "Starts", workers: int) -> None:
        super().__init__()
        alone = workers == 1
        self.noted, self.now = noted, starts.alone if alone else starts.command
        self.hand = 0.0 if alone else mean(noted.handed)
        self.free = [self.now + (0.0 if alone else starts.worker)] * workers
        self.made, self.held = [set[Hashable]() for _ in self.free], [object()] * workers

    def _workers(self) -> range:
        return range(len(self.free))

    def _name(self, setting: Any) -> str:  # noqa: ANN401  # its name
        return str(setting)

    def _submit(self, worker: int, setting: Any, unit: WorkUnit) -> _Seconds:  # noqa: ANN401  # its name
        handing = 0.0 if self.held[worker] == unit.samples else self.hand
        self.held[worker] = unit.samples
        self.now += handing
        seconds = handing + self.noted.seconds(setting, unit, self.made[worker])
        self.free[worker] = max(self.free[worker], self.now) + seconds
        return _Seconds(self.free[worker])

    def _finished(self, futures: list[Any]) -> list[Any]:
        first: _Seconds = min(futures, key=lambda one: one.end)
        self.now = max(self.now, first.end)
        first.set_result([])
        return [first]


def simulated(noted: Noted, starts: "Starts", workers: int) -> float:
    """Seconds of the search."""
    here = _Simulated(noted, starts, workers)
    for what, name, units, between in noted.events:
        here.now += between
        setting: Any = name
        if what == "run":
            for _ in here.run(setting, units[0]):
                pass
        else:
            certain, perhaps = units
            chips = list(dict.fromkeys(unit.work.shared[1] for unit in perhaps))[:workers]
            here.expect(setting, certain, [unit for unit in perhaps if unit.work.shared[1] in chips])
    return here.now + noted.after


def _run(images: int, jobs: int, at_once: int = 1) -> float:
    """Wall seconds of a search, or of several that share nothing."""
    command = [sys.executable, "-m", "lhc", "partition", "resnet20", "--samples", str(images), "--jobs", str(jobs)]
    with ExitStack() as stack:
        folders = [stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(at_once)]
        begun = time.perf_counter()
        running = [
            subprocess.Popen([*command, "--quiet", "--work-dir", "work"], cwd=folder, stdout=subprocess.DEVNULL)
            for folder in folders
        ]
        for process in running:
            process.wait()
        return time.perf_counter() - begun


@dataclass(frozen=True)
class Starts:
    """Seconds until libraries are loaded: what a command needs itself, what a worker needs, and both in one process."""

    command: float
    worker: float
    alone: float

    @classmethod
    def measured(cls) -> "Starts":
        """Of this machine."""
        command, worker = (
            "import lhc.cli.framework.app, lhc.commands.partition",
            "from lhc.measure.workers.processes import _load; _load()",
        )
        return cls(*map(cls._seconds, (command, worker, f"{command}; {worker}")))

    @staticmethod
    def _seconds(code: str) -> float:
        code += "; import time; print(time.process_time())"
        return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def noted(images: int) -> Noted:
    """What a search asks of its workers, and the seconds of one process."""
    _load()
    workers = NotingWorkers()
    with ExitStack() as stack:
        stack.enter_context(patch("lhc.measure.running._workers", lambda execution: workers))
        for owner, name, part in PARTS:
            stack.enter_context(patch.object(owner, name, workers.timed(part, getattr(owner, name))))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        lhc.partition("resnet20", samples=images, work_dir=folder)
    return workers.noted


def main(arguments: Sequence[str] | None = None) -> None:
    """Note, simulate, measure."""
    assert __doc__
    parser = options(__doc__, count=2000)
    parser.add_argument("--simulate", action="store_true", help="measure nothing with processes")
    chosen = parser.parse_args(arguments)
    found, starts = noted(chosen.images), Starts.measured()
    total = starts.alone + sum(found.units) + found.between
    print(
        f"{len(found.units)} units, the longest {max(found.units):.1f} s; {total:.1f} s in all: {found.between:.1f}"
        f" between units, {starts.alone:.1f} to load libraries"
    )
    figures = {workers: simulated(found, starts, workers) for workers in WORKERS}
    for workers, seconds in figures.items():
        print(f"simulated: {workers:>2} workers {seconds:6.1f} s, {figures[1] / seconds:4.1f} times as fast as one")
    measured = {}
    if not chosen.simulate:
        measured = {
            "one": _run(chosen.images, 1),
            "shared": _run(chosen.images, 2),
            "beside": _run(chosen.images, 1, 2),
        }
        print("measured: --jobs 1 {one:.1f} s, --jobs 2 {shared:.1f}; two at once {beside:.1f}".format(**measured))
    write(chosen.output, {"measured": measured, "simulated": figures, "seconds": total})


if __name__ == "__main__":
    main()
