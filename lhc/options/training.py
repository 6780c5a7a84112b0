"""Options of training under the noise of tiles."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from lhc.errors import UsageError
from lhc.options.declaration.option_fields import option, options
from lhc.options.declaration.value_parsing import share_of, time_of
from lhc.options.shared import Seeded

__all__ = ["LOSSES", "RATES", "Checkpointing", "Optimizer", "TrainingOptions", "WeightNoise"]

Optimizer = Literal["adam", "sgd"]
WeightNoise = Literal["devices", "preset"]
"""Errors of the hardware's devices at its time of inference, or the noise of its section ``training``."""
PASSES, FEWEST_STEPS, MOST_STEPS = 8, 1000, 3000
"""Of a training whose length nobody says (docs/retraining.md)."""
LOSSES = ("distillation", "cross-entropy", "mse")
ADAPTER_RANK = 8
"""Where a share of the weights is named (docs/retraining.md)."""
RATES: Mapping[str, float] = {"adam": 3e-3, "sgd": 1e-3}
"""Learning rates at the start, by optimiser (docs/retraining.md)."""
GREATER_RATE = 0.01
"""Of Adam, for adapters and for convolutions that are trained for long: it pays in the end, not in the first steps."""


@options
class TrainingOptions(Seeded):
    """Options of training under the noise of tiles."""

    PANEL = "Training"

    steps: int | None = option(
        "Optimiser steps; by default eight passes over the samples, at least 1000 and at most 3000.",
        default=None,
        metavar="N",
        above=0,
    )
    epochs: float | None = option(
        "Passes over the training samples, instead of --steps.", default=None, metavar="E", above=0, rare=True
    )
    time: float | str | None = option(
        "Train for about this time (seconds, or 30min, 2h), instead of --steps. lhc times a few steps and says how many"
        " fit, which differs between machines.",
        default=None,
        metavar="T",
        unit="s",
        convert=time_of,
        above=0,
    )
    batch_size: int = option("Samples per step.", default=128, metavar="N", above=0, rare=True)
    optimizer: Optimizer = option(
        "adam (steps relative to each tensor's size) or sgd.", default="adam", metavar="O", rare=True
    )
    learning_rate: float | None = option(
        "Learning rate at the start. By default 0.003 with adam (0.01 for adapters, and for 1000 or more steps of"
        " convolutional networks), 0.001 with sgd.",
        default=None,
        flag="--lr",
        metavar="X",
        above=0,
    )
    digital_learning_rate: float | None = option(
        "Learning rate at the start of all but the weights of analog layers; --lr by default.",
        default=None,
        flag="--digital-lr",
        metavar="X",
        above=0,
        rare=True,
    )
    momentum: float = option("Momentum of sgd.", default=0.9, metavar="X", rare=True)
    loss: str = option(
        "distillation (compares with the network's own answers as layers are ranked: scores of classes by KL"
        " divergence, other outputs by squared error), cross-entropy, mse or module:function.",
        default="distillation",
        metavar="L",
    )
    label_share: float = option(
        "Share of cross-entropy with class labels in the loss, beside distillation. 0.5 helped ResNet-8 much, and"
        " ResNet20 not at all.",
        default=0.0,
        metavar="X",
        least=0,
        most=1,
    )
    augment: str = option("none, crop-flip (images) or module:function(feeds, generator).", default="none", metavar="A")
    noise: WeightNoise = option(
        "Weight errors: devices (the hardware's own) or preset (its section training).", default="devices", metavar="N"
    )
    adapters: int | str | None = option(
        "Train low-rank adapters beside the analog layers instead of weights; they are computed digitally. A number is"
        " their rank (8); a share is their most weights, of all others (1%), put where they are predicted to pay most.",
        default=None,
        metavar="R",
        reads=str,
    )
    adapt: Sequence[str] = option(
        "Layers that may get an adapter (glob, or re:…); all analog ones by default. Repeatable.",
        default=(),
        metavar="P",
        reads=list[str],
        rare=True,
    )
    ramp: float = option(
        "Share of the steps over which noise grows from 0 to all of it.",
        default=0.0,
        metavar="X",
        least=0,
        most=1,
        rare=True,
    )
    validations: int = option("Validations during the training.", default=4, metavar="N", above=0, rare=True)
    patience: int | None = option(
        "Stop after so many validations without a better one; a lionheart strategy: so many rounds for a layer.",
        default=None,
        metavar="N",
        above=0,
        rare=True,
    )

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.steps, self.epochs, self.time)) > 1:
            raise UsageError("--steps, --epochs and --time say the same; give one of them")
        if self.adapt and self.adapters is None:
            raise UsageError("--adapt names layers that get an adapter; give the rank of the adapters too (--adapters)")
        if 0 in (self.adapter_share, self.adapter_rank):
            raise UsageError(f"--adapters must be above 0, got {self.adapters}")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"--momentum must be at least 0 and below 1, got {self.momentum}")
        if self.loss not in LOSSES and ":" not in self.loss:
            raise UsageError(f"unknown loss {self.loss!r}; choose {', '.join(LOSSES)} or module:function")
        if self.label_share and self.loss != "distillation":
            raise UsageError(f"--label-share mixes labels into distillation; --loss {self.loss} takes labels alone")

    @property
    def adapter_share(self) -> float | None:
        """Adapters' most weights, as a share of all others; None where a rank is named, or there are none."""
        if self.adapters is None or str(self.adapters).isdecimal():
            return None
        try:
            return share_of(self.adapters, "--adapters")
        except UsageError as error:
            what = "write a rank, such as 8, or a share of the weights, such as 1%"
            raise UsageError(f"--adapters {self.adapters}: {what}") from error

    @property
    def adapter_rank(self) -> int | None:
        """Rank of the adapters; None where weights are trained."""
        if self.adapters is None:
            return None
        return int(self.adapters) if self.adapter_share is None else ADAPTER_RANK

    @property
    def time_s(self) -> float | None:
        """Time of a training, in seconds; None where steps or samples say how long it is."""
        return None if self.time is None else time_of(self.time)

    @property
    def rate(self) -> float:
        """Learning rate at the start, of the weights of analog layers."""
        return RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    def rate_for(self, steps: int, convolves: bool) -> float:
        """`rate` where nobody names one, for a number of steps, and layers that mostly convolve or do not."""
        if self.optimizer == "adam" and self.learning_rate is None:
            greater = self.adapters is not None or (convolves and steps >= FEWEST_STEPS)
            return GREATER_RATE if greater else self.rate
        return self.rate

    @property
    def digital_rate(self) -> float:
        """Learning rate at the start, of everything else."""
        return self.rate if self.digital_learning_rate is None else self.digital_learning_rate

    def steps_for(self, samples: int) -> int:
        """Optimiser steps, for so many training samples."""
        if self.epochs is not None:
            return max(1, round(self.epochs * samples / self.batch_size))
        if self.steps is not None:
            return self.steps
        return min(max(PASSES * samples // self.batch_size, FEWEST_STEPS), MOST_STEPS)


@options
class Checkpointing:
    """Option of the folder that holds checkpoints of a training."""

    PANEL = "Training"

    checkpoint: Path | None = option(
        "Folder for the state of the training; the same command goes on where it stopped.", default=None, metavar="DIR"
    )
