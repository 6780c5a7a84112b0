"""Passes and pipelines: a pass decides about a plan, a pipeline runs steps in order.

A pass is a frozen dataclass; its fields are its options. ``run`` takes facts (the graph) and decisions (the plan)
and returns new decisions; neither argument is changed. A search strategy is a pass that is given a `Judge`.

A pipeline is a list of steps: passes, and stages that measure, train or write. A step takes a state that has what it
needs, and returns one that has what it found. It also names the facts that it requires and ensures, so that a pipeline
in which something is missing is refused before anything runs.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.plan import Plan
from lhc.results import Verdict

__all__ = ["Judge", "Pass", "PassResult", "Pipeline", "Step"]

A = TypeVar("A")
B = TypeVar("B")
A_contra = TypeVar("A_contra", contravariant=True)
B_co = TypeVar("B_co", covariant=True)
log = logging.getLogger("lhc")


class Judge(Protocol):
    """Says whether a joint placement holds the user's budget."""

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judge the network with exactly these layers analog."""
        ...


@dataclass(frozen=True)
class PassResult:
    """The plan after a pass, and its notes.

    Attributes:
        fallbacks: for strategies, safer analog sets to step back to, the nearest first.
        bolder: more ambitious ones to go on to where what was chosen is shown to hold, the nearest first.
    """

    plan: Plan
    notes: tuple[str, ...] = ()
    fallbacks: tuple[frozenset[str], ...] = ()
    bolder: tuple[frozenset[str], ...] = ()


class Pass(ABC):
    """One step that decides something.

    Attributes:
        name: what errors, timings and the printed pipeline call it.
        requires: what must be known before it.
        ensures: what is known after it.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]] = frozenset()
    ensures: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        """Return a plan with this pass's decisions."""


class Step(Protocol[A_contra, B_co]):
    """One step of a pipeline: it takes a state that has what it needs, and returns one that has what it found.

    It returns the state that it was given where it changes nothing.
    """

    @property
    def name(self) -> str:
        """Name in errors, timings and the printed pipeline."""
        ...

    @property
    def requires(self) -> frozenset[str]:
        """Facts that must be known before this step."""
        ...

    @property
    def ensures(self) -> frozenset[str]:
        """Facts that are known after this step."""
        ...

    def apply(self, state: A_contra) -> B_co:
        """Return the state after this step."""
        ...


@dataclass(frozen=True)
class Pipeline(Generic[A, B]):
    """Steps one after the other; a pipeline is a step itself, so pipelines nest.

    Attributes:
        given: what is known at the start.
    """

    name: str
    steps: tuple[Step[Any, Any], ...]
    given: frozenset[str] = frozenset()

    @property
    def requires(self) -> frozenset[str]:
        """Facts required by its steps that no earlier step ensures and that are not given."""
        known, missing = set(self.given), set[str]()
        for step in self.steps:
            missing |= step.requires - known
            known |= step.ensures
        return frozenset(missing)

    @property
    def ensures(self) -> frozenset[str]:
        """Facts that are known after this step."""
        return self.given.union(*(step.ensures for step in self.steps))

    def checked(self) -> "Pipeline[A, B]":
        """The pipeline, if no step lacks what it requires.

        Raises:
            UsageError: a step requires what no step before it ensures.
        """
        known = set(self.given)
        for step in self.steps:
            missing = sorted(step.requires - known)
            if missing:
                raise UsageError(
                    f"pipeline {self.name!r}: step {step.name!r} requires {', '.join(missing)}, which no step before it"
                    " ensures"
                )
            known |= step.ensures
        return self

    def apply(self, state: A) -> B:
        """Run the steps; an error carries the name of the step in which it arose."""
        reached: Any = state
        for step in self.steps:
            started = time.monotonic()
            try:
                after = step.apply(reached)
            except Exception as error:
                error.add_note(f"in step {step.name!r} of pipeline {self.name!r}")
                raise
            changed = "" if after is not reached else ", nothing changed"
            log.info("%s: %s took %.2f s%s", self.name, step.name, time.monotonic() - started, changed)
            reached = after
        return cast("B", reached)

    def __str__(self) -> str:
        """One line a step; those of a pipeline inside are indented."""
        return "\n".join((self.name, *(f"  {line}" for line in self._lines())))

    def _lines(self) -> Iterator[str]:
        for step in self.steps:
            yield from (str(step) if isinstance(step, Pipeline) else step_text(step)).splitlines()


def step_text(step: Step[Any, Any]) -> str:
    """A step in one line: its name, what it requires, what it ensures."""
    needs = f"  requires {', '.join(sorted(step.requires))}" if step.requires else ""
    gives = f"  ensures {', '.join(sorted(step.ensures))}" if step.ensures else ""
    return f"{step.name}{needs}{gives}"
