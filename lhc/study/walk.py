"""What LionHeart's walk trains and judges with: the real `lhc.passes.retraining.Retrainer`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lhc.measure import Budget, PlacementJudge
from lhc.passes.retraining import Slot
from lhc.plan import CurvePoint
from lhc.results import Verdict
from lhc.samples.task import Array, Task
from lhc.study.course import Course
from lhc.study.state import Study

if TYPE_CHECKING:
    from lhc.train.checkpoints import Checkpoint
    from lhc.train.trainer import Trainer

__all__ = ["HORIZON", "WalkRetrainer"]

HORIZON = 200
"""Steps in which the learning rate falls to 0, and then rises again: T_max of the published CosineAnnealingLR."""


@dataclass(eq=False)
class WalkRetrainer:
    """Trains the network of a course round by round.

    Rounds are numbered through the whole walk. With a folder for checkpoints every finished round is kept there, and a
    walk that starts again takes the rounds that it finds.

    Attributes:
        course: network, training samples, settings; its steps are those of a round.
        select: samples that judge candidates.
        budget: allowed drop, for bounds.
        curve: what was seen after every round.
    """

    course: Course
    select: Task
    budget: Budget
    curve: list[CurvePoint] = field(default_factory=list)
    _slots: dict[Slot, tuple[dict[str, Array], frozenset[str]]] = field(default_factory=dict)
    _rounds: int = 0
    _placement: frozenset[str] = frozenset()
    _loss: float | None = None

    def __post_init__(self) -> None:
        """Make the network ready."""
        self._trainer: Trainer = self.course.trainer(HORIZON)
        self._study: Study | None = None

    @property
    def _sign(self) -> int:
        return 1 if self.course.study.task.metric.higher_is_better else -1

    @property
    def baseline(self) -> float:
        """Score of the digital network before any training, larger is better."""
        return self._sign * self.course.study.bench(self.select).baseline

    @property
    def weights(self) -> dict[str, Array]:
        """The present weights."""
        return self._trainer.network.weights()

    @property
    def steps(self) -> int:
        """Optimiser steps of all rounds."""
        return self._rounds * self.course.steps

    def begin(self, placement: frozenset[str]) -> None:
        """Train for this placement from now on, with a new optimiser and schedule; weights stay."""
        self._placement = placement
        self._trainer.begin(placement, self._rounds * self.course.steps)

    def train(self) -> None:
        """Train for one round, or take it from where it is kept."""
        checkpoint = self._checkpoint()
        state = None if checkpoint is None else checkpoint.read()
        network, steps = self._trainer.network, self.course.steps
        if state is not None:
            from lhc.train.checkpoints import arrays

            network.load(arrays(state["weights"]))
            self._trainer.resume(state["trainer"])
            self._loss = state["loss"]
        else:
            what = f"training {len(self._placement)} analog layers, round {self._rounds + 1}"
            losses = []
            for step in range(steps):
                losses.append(self._trainer.train_step(1.0))
                self.course.study.options.progress(what, step + 1, steps)
                self.course.study.running.check_time()
            self._loss = sum(losses) / len(losses)
            if checkpoint is not None:
                self._keep(checkpoint)
        self._rounds += 1
        self._study = None

    def score(self, placement: frozenset[str]) -> float:
        """Mean score of the present weights on chips of the run, each programmed anew; larger is better."""
        bench = self._present().bench(self.select)
        measured = bench.measure(placement, range(bench.draws), f"scoring {len(placement)} analog layers")
        self._note(float(measured.drops.mean()))
        return self._sign * float(measured.values.mean())

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judge the present weights against the budget."""
        verdict = PlacementJudge(self._present().bench(self.select), self.budget).within(placement)
        found = verdict.evaluation
        self._note(found.drop * (abs(found.baseline) if self.budget.relative else 1))
        return verdict

    def save(self, slot: Slot) -> None:
        """Put the present weights by, and for which placement they are."""
        network = self._trainer.network
        self._slots[slot] = network.weights(every=True), frozenset(network.analog)

    def load(self, slot: Slot) -> None:
        """Take weights that were put by."""
        weights, placement = self._slots[slot]
        self._trainer.network.place(placement)
        self._trainer.network.load(weights)
        self._study = None

    def _present(self) -> Study:
        if self._study is None:
            self._study = self.course.with_weights(self.weights)
        return self._study

    def _note(self, drop: float) -> None:
        self.curve.append(CurvePoint(step=self._rounds * self.course.steps, loss=self._loss, drop=drop))
        self._loss = None

    def _checkpoint(self) -> "Checkpoint | None":
        """Of the next round: everything before it follows from the facts, and from the placements that were tried."""
        if self.course.checkpoints is None:
            return None
        from lhc.train.checkpoints import Checkpoint

        facts = {
            **self.course.facts(),
            "analog": sorted(self._placement),
            "round": self._rounds,
            "before": [point.drop for point in self.curve],
        }
        return Checkpoint.of(self.course.checkpoints, facts)

    def _keep(self, checkpoint: "Checkpoint") -> None:
        from lhc.train.checkpoints import tensors

        checkpoint.write({"trainer": self._trainer.state(), "weights": tensors(self.weights), "loss": self._loss})
