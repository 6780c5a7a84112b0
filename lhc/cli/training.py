"""Options of retraining, which ``retrain`` and ``partition --retrain`` share."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lhc.errors import UsageError

if TYPE_CHECKING:
    from lhc.outcomes import PartitionResult
    from lhc.train import Retraining

__all__ = [
    "VALIDATIONS",
    "Augment",
    "BatchSize",
    "CheckpointFolder",
    "DigitalRate",
    "Epochs",
    "Loss",
    "Noise",
    "Optimizer",
    "Patience",
    "Rate",
    "Retrain",
    "Rounds",
    "Steps",
    "TrainData",
    "Validations",
    "partitioner",
    "settings",
]

VALIDATIONS = 4
"""Validations on the way, where nothing else is asked for."""

Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="Optimiser steps; 1000 by default.")]
Epochs = Annotated[
    float | None, typer.Option("--epochs", metavar="E", help="The same as passes over the training samples.")
]
BatchSize = Annotated[int, typer.Option("--batch-size", metavar="N", help="Samples a step.")]
Optimizer = Annotated[
    str, typer.Option("--optimizer", metavar="O", help="adam (steps relative to each tensor's size) or sgd.")
]
Rate = Annotated[
    float | None, typer.Option("--lr", metavar="X", help="Learning rate at the start: 0.003 (adam), 0.001 (sgd).")
]
DigitalRate = Annotated[
    float | None, typer.Option("--digital-lr", metavar="X", help="The same for all but weights of analog layers.")
]
Loss = Annotated[str, typer.Option("--loss", metavar="L", help="distillation, cross-entropy, mse or module:function.")]
Augment = Annotated[
    str, typer.Option("--augment", metavar="A", help="none, crop-flip (images) or module:function(feeds, generator).")
]
Noise = Annotated[
    str,
    typer.Option(
        "--noise", metavar="N", help="Weight errors: devices (the hardware's own) or preset (its section training)."
    ),
]
Patience = Annotated[
    int | None,
    typer.Option("--patience", metavar="N", help="Stop after so many validations (rounds) without a better one."),
]
Validations = Annotated[int, typer.Option("--validations", metavar="N", help="Validations on the way.")]
CheckpointFolder = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="DIR", help="Keep the state here; the same command goes on where it stopped."),
]
Retrain = Annotated[
    bool, typer.Option("--retrain", help="Train under the noise of the analog layers as well, and keep what is better.")
]
TrainData = Annotated[
    Path | None,
    typer.Option(
        "--train-data", metavar="DATA", help="--retrain: samples that train; three fifths of --data by default."
    ),
]
Rounds = Annotated[
    int | None,
    typer.Option("--rounds", metavar="N", help="--retrain with a lionheart strategy: most rounds of training a layer."),
]


def settings(
    steps: int | None,
    epochs: float | None,
    batch_size: int,
    optimizer: str,
    rate: float | None,
    digital_rate: float | None,
    loss: str,
    augment: str,
    noise: str,
    patience: int | None,
    validations: int,
    seed: int,
) -> "Retraining":
    """These options as the API takes them.

    Raises:
        UsageError: one makes no sense.
    """
    from lhc.train import Retraining

    return Retraining(
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,  # type: ignore[arg-type]  # checked there
        learning_rate=rate,
        digital_learning_rate=digital_rate,
        loss=loss,
        augment=augment,
        noise=noise,  # type: ignore[arg-type]  # checked there
        seed=seed,
        validations=validations,
        patience=patience,
    )


def partitioner(
    retrain: bool,
    train_data: Path | None,
    chosen: "Retraining",
    checkpoint: Path | None,
    patience: int | None,
    rounds: int | None,
    follows: bool,
) -> "Callable[..., PartitionResult]":
    """What places the layers: ``partition``, or with ``--retrain`` what trains as well.

    Raises:
        UsageError: options of a training without ``--retrain``, or a plan that is to be followed with it.
    """
    from lhc.api import partition, partition_retrained
    from lhc.train import Retraining

    if retrain and follows:
        raise UsageError(
            "--plan takes a placement as it is, --retrain searches one; 'lhc retrain' trains a placed model"
        )
    if retrain:
        return partial(
            partition_retrained,
            train_data=train_data,
            settings=chosen,
            checkpoint=checkpoint,
            patience=patience or 1,
            max_rounds=rounds,
        )
    given = (train_data, checkpoint, patience, rounds)
    if any(value is not None for value in given) or chosen != Retraining(seed=chosen.seed):
        raise UsageError("options of training need --retrain")
    return partition
