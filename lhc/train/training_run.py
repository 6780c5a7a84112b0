"""A whole training: steps, validations, checkpoints, learning curve."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from lhc.options.training import TrainingOptions
from lhc.plan import CurvePoint
from lhc.samples.task import Array
from lhc.support.number_formatting import number_text
from lhc.train.checkpoints import Checkpoint, arrays, tensors
from lhc.train.optimiser_steps import Trainer

__all__ = ["TrainingResult", "fit"]

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
        progress.add(trainer.step, validate(weights), weights, settings.patience is not None)

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
