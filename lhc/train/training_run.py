"""A whole training: steps, validations, checkpoints, learning curve.

LionHeart's walks train in rounds, for one placement after the other (`Rounds`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from lhc.errors import NotFiniteError
from lhc.options.training import TrainingOptions
from lhc.passes.strategies.lionheart_retraining import Slot
from lhc.plan import CurvePoint
from lhc.samples.task import Array
from lhc.support.number_formatting import number_text
from lhc.train.checkpoints import Checkpoint, arrays, tensors
from lhc.train.optimiser_steps import Trainer
from lhc.train.training_setup import TrainingSetup

Weights = Mapping[str, Array]
Validate = Callable[[Weights], float]
"""Drop of the network with these weights; smaller is better."""
Report = Callable[[str, int, int], None]

_SAVE_EVERY = 25
"""Steps between two checkpoints."""


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The end of a training.

    Attributes:
        weights: those that are kept: the last ones, or those of the best validation where training stopped early.
        step: after which they were taken.
        curve: all validations, the one before training first.
    """

    weights: Weights
    step: int
    curve: tuple[CurvePoint, ...]


@dataclass
class _Progress:
    """Progress of a training, all of which goes into the checkpoint."""

    total: float = 0.0
    count: int = 0
    curve: list[CurvePoint] = field(default_factory=list)
    best: dict[str, Array] = field(default_factory=dict)
    """Weights of `best_point`, where training may stop before its end."""

    @property
    def best_point(self) -> CurvePoint:
        """The best validation, the latest of equal ones."""
        return min(reversed(self.curve), key=lambda point: point.drop)

    def waited(self) -> int:
        """Validations since the best one."""
        return len(self.curve) - 1 - self.curve.index(self.best_point)

    def add(self, step: int, drop: float, weights: dict[str, Array], stops: bool) -> None:
        """A validation; ``stops``: whether training may stop before its end."""
        loss = self.total / self.count if self.count else None
        self.curve.append(CurvePoint(step=step, loss=loss, drop=drop))
        self.total, self.count = 0.0, 0
        if stops and self.best_point.step == step:
            self.best = weights


def fit(
    trainer: Trainer,
    analog: Iterable[str],
    settings: TrainingOptions,
    steps: int,
    validate: Validate,
    checkpoint: Checkpoint | None = None,
    report: Report = lambda what, done, total: None,
    show: Callable[[float], str] = number_text,
) -> TrainingResult:
    """Train for a placement.

    Args:
        settings: validations, patience, ramp.
        validate: called before the first step, ``settings.validations`` times on the way, the last time at the end.
        checkpoint: where the state is kept; a state found there is gone on with.
        show: a drop as people read it, by its name.
    """
    trainer.begin(analog)
    progress = _restored(trainer, checkpoint)

    def watch() -> None:
        weights = trainer.network.weights()
        try:
            drop = validate(weights)
        except NotFiniteError as error:
            if trainer.step == 0:  # the samples are at fault, not the training
                raise
            raise trainer.diverged(trainer.step, str(error)) from error
        progress.add(trainer.step, drop, weights, settings.patience is not None)

    marks = {round(steps * (index + 1) / settings.validations) for index in range(settings.validations)}
    if not progress.curve:
        watch()
        _save(trainer, progress, checkpoint)
    while trainer.step < steps and not _stops(progress, settings):
        ramp = settings.ramp * steps
        strength = 1.0 if ramp == 0 else min(1.0, (trainer.step + 1) / ramp)
        progress.total += trainer.train_step(strength)
        progress.count += 1
        if trainer.step in marks:
            watch()
        if trainer.step in marks or trainer.step % _SAVE_EVERY == 0:
            _save(trainer, progress, checkpoint)
        report(f"training, validation {show(progress.curve[-1].drop)}", trainer.step, steps)
    curve = tuple(progress.curve)
    if trainer.step < steps:
        return TrainingResult(progress.best, progress.best_point.step, curve)
    return TrainingResult(trainer.network.weights(), trainer.step, curve)


def _stops(progress: _Progress, settings: TrainingOptions) -> bool:
    return settings.patience is not None and progress.waited() >= settings.patience


def _save(trainer: Trainer, progress: _Progress, checkpoint: Checkpoint | None) -> None:
    if checkpoint is None:
        return
    curve = [point.model_dump() for point in progress.curve]
    checkpoint.write(
        {
            "trainer": trainer.state(),
            "weights": tensors(trainer.network.weights()),
            "best": tensors(progress.best),
            "total": progress.total,
            "count": progress.count,
            "curve": curve,
        }
    )


def _restored(trainer: Trainer, checkpoint: Checkpoint | None) -> _Progress:
    state = None if checkpoint is None else checkpoint.read()
    if state is None:
        return _Progress()
    trainer.network.load(arrays(state["weights"]))
    trainer.resume(state["trainer"])
    curve = [CurvePoint(**point) for point in state["curve"]]
    return _Progress(state["total"], state["count"], curve, arrays(state["best"]))


HORIZON = 200
"""Steps in which the learning rate falls to 0, and then rises again: T_max of the published CosineAnnealingLR."""


class Rounds:
    """Trains a network round by round.

    Rounds are numbered through the whole walk. With a folder for checkpoints every finished round is kept there, and a
    walk that starts again takes the rounds that it finds.

    Attributes:
        curve: what was seen after every round.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        """Make the network ready.

        Args:
            setup: network, training samples, settings; its steps are those of a round.
        """
        self.curve: list[CurvePoint] = []
        self._setup = setup
        self._trainer = setup.trainer(HORIZON)
        self._slots: dict[Slot, tuple[dict[str, Array], frozenset[str]]] = {}
        self._rounds = 0
        self._placement = frozenset[str]()
        self._loss: float | None = None

    @property
    def weights(self) -> dict[str, Array]:
        """The present weights."""
        return self._trainer.network.weights()

    @property
    def steps(self) -> int:
        """Optimiser steps of all rounds."""
        return self._rounds * self._setup.steps

    def begin(self, placement: frozenset[str]) -> None:
        """Train for this placement from now on, with a new optimiser and schedule; weights stay."""
        self._placement = placement
        self._trainer.begin(placement, self.steps)

    def train(self) -> None:
        """Train for one round, or take it from where it is kept."""
        # Everything before the round follows from the facts, and from the placements that were tried.
        before = [point.drop for point in self.curve]
        checkpoint = self._setup.checkpoint(self._placement, round=self._rounds, before=before)
        state = None if checkpoint is None else checkpoint.read()
        if state is not None:
            self._trainer.network.load(arrays(state["weights"]))
            self._trainer.resume(state["trainer"])
            self._loss = state["loss"]
        else:
            what, steps = f"training {len(self._placement)} analog layers, round {self._rounds + 1}", self._setup.steps
            losses = []
            for step in range(steps):
                losses.append(self._trainer.train_step(1.0))
                self._setup.report(what, step + 1, steps)
            self._loss = sum(losses) / len(losses)
            if checkpoint is not None:
                weights = tensors(self.weights)
                checkpoint.write({"trainer": self._trainer.state(), "weights": weights, "loss": self._loss})
        self._rounds += 1

    def note(self, drop: float) -> None:
        """Put the present state on the curve; ``drop``: of the metric, with the present weights."""
        self.curve.append(CurvePoint(step=self.steps, loss=self._loss, drop=drop))
        self._loss = None

    def save(self, slot: Slot) -> None:
        """Put the present weights by, and for which placement they are."""
        network = self._trainer.network
        self._slots[slot] = network.weights(every=True), frozenset(network.analog)

    def load(self, slot: Slot) -> None:
        """Take weights that were put by."""
        weights, placement = self._slots[slot]
        self._trainer.network.place(placement)
        self._trainer.network.load(weights)
