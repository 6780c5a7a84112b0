"""Fronts that were measured, kept in the folder of results to answer new budgets from."""

import glob
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.measure.budget_test import Drop
from lhc.options.by_command import ParetoOptions
from lhc.options.declaration.command_text import flags_of
from lhc.options.shared import Chips, Data, MachineOptions, ReadTime
from lhc.pipeline.inputs.hardware_choice import machine_of
from lhc.plan import Plan
from lhc.results import Front, FrontPoint
from lhc.store import ResultCache, fingerprint

__all__ = [
    "Answer",
    "StoredFront",
    "answer",
    "keep_front",
    "newest_front",
    "read_fronts",
    "store_front",
    "verifying_command",
]

KIND = "front"


@dataclass(frozen=True)
class StoredFront:
    """A front and what it was measured with.

    Attributes:
        source: hash of the network.
        hardware: what the user named, a preset or a file.
        command: the options that name samples, hardware and seeds, as on the command line.
        machine: that hardware, as it was read; None in fronts that were kept without it.
    """

    source: str
    hardware: str
    command: tuple[str, ...]
    front: Front
    machine: Hardware | None = None

    def is_of(self, plan: Plan) -> bool:
        """Whether it was measured on the plan's machine, whatever that is called, and was calibrated for layers.

        Outputs that were not calibrated, since that did harm, do not make it another machine.
        """
        if self.machine is None:
            return False
        left_out = plan.outcome is not None and plan.outcome.harmful_calibration is not None
        same = {"compensation.outputs": "none"} if left_out else {}
        return self.machine.uncalibrated.numbers | same == plan.hardware.uncalibrated.numbers | same


@dataclass(frozen=True)
class Answer:
    """Best points of fronts within a budget.

    Attributes:
        stored: the front that has the best verified point.
        verified: the best point that is shown to hold the budget; None if none is.
        estimated: a better one that is only estimated to hold it; None if there is none.
    """

    stored: StoredFront
    verified: FrontPoint | None
    estimated: FrontPoint | None


_ADAPTER = TypeAdapter(StoredFront)


def store_front(folder: Path, key: str, stored: StoredFront) -> None:
    """Keep a front; one of the same settings is replaced."""
    with ResultCache(folder) as cache:
        cache.update(KIND, f"{stored.source} {key}", lambda _: _ADAPTER.dump_json(stored))


def keep_front(front: Front, source: str, asked: ParetoOptions, folder: Path) -> None:
    """Keep a front beside the results, with the options that name samples, hardware and seeds."""
    command = tuple(flags_of(asked, Data, MachineOptions, ReadTime, Chips))
    facts = {"command": list(command), "objective": front.objective, "limits": dict(front.limits)}
    stored = StoredFront(source, str(asked.hardware), command, front, machine_of(asked))
    store_front(folder, fingerprint(facts), stored)


def read_fronts(folder: Path, source: str) -> list[StoredFront]:
    """The fronts of a network, the newest first; those that another version of lhc wrote otherwise are passed over.

    Raises:
        UsageError: there are none.
    """
    found = []
    with ResultCache(folder) as cache:
        for text in cache.documents(KIND, f"{source} "):
            with suppress(ValidationError):
                found.append(_ADAPTER.validate_json(text))
    if not found:
        raise UsageError(
            f"{folder}: holds no front of this network; 'lhc pareto MODEL --work-dir {folder}' measures one"
        )
    return found


def newest_front(folder: Path, plan: Plan) -> Front | None:
    """The front that was measured last of this network on this machine, one of the plan's objective before others."""
    try:
        stored = read_fronts(folder, plan.source)
    except UsageError:
        return None
    fronts = [one.front for one in stored if one.front.verified and one.is_of(plan)]
    objective = None if plan.outcome is None else plan.outcome.objective
    return min(fronts, key=lambda front: front.objective != objective, default=None)


def answer(fronts: list[StoredFront], max_drop: float, objective: str | None = None) -> Answer:
    """The best that is verified within a budget, and what is estimated to be better, on the newest front.

    Args:
        objective: what is to be best; what the newest front was measured for by default.

    Raises:
        UsageError: no front has that objective.
    """
    objective = objective or fronts[0].front.objective
    stored = next((one for one in fronts if one.front.objective == objective), None)
    if stored is None:
        raise UsageError(f"no front of objective {objective} is kept; measured are: {fronts[0].front.objective}")
    front = stored.front

    def worth(point: FrontPoint) -> float:
        found = point.value(objective)
        return float("-inf") if found is None else found if objective == "macs" else -found

    holding = [p for p in front.verified if p.evaluation is not None and _bound(p) <= max_drop]
    verified = max(holding, key=worth, default=None)
    hoped = [
        p
        for p in front.points
        if p.evaluation is None
        and p.predicted_drop is not None
        and p.predicted_drop <= max_drop
        and (verified is None or worth(p) > worth(verified))
    ]
    return Answer(stored, verified, max(hoped, key=worth, default=None))


def verifying_command(model: str, found: Answer, max_drop: Drop) -> str | None:
    """The command that verifies what is estimated to be better: exactly these layers, judged against the budget."""
    if found.estimated is None:
        return None
    layers = [part for name in found.estimated.analog for part in ("--include", glob.escape(name))]
    fixed = ["--strategy", "all-analog", "--max-drop", str(max_drop)]
    if found.stored.front.objective == "tiles":
        fixed += ["--max-tiles", str(found.estimated.tiles)]
    return shlex.join(["lhc", "partition", model, *found.stored.command, *fixed, *layers])


def _bound(point: FrontPoint) -> float:
    assert point.evaluation is not None
    interval = point.evaluation.drop_interval
    return float("inf") if interval is None else interval[1]
