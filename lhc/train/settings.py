"""What a user can choose about retraining. Loads no numeric library."""

import math
from dataclasses import dataclass
from typing import Literal

from lhc.errors import UsageError

__all__ = ["DEFAULT_STEPS", "LOSSES", "Optimizer", "Retraining", "WeightNoise"]

DEFAULT_STEPS = 1000
LOSSES = ("distillation", "cross-entropy", "mse")
WeightNoise = Literal["devices", "preset"]
"""Errors of the hardware's devices at its time of inference, or the noise of its section ``training``."""
Optimizer = Literal["adam", "sgd"]

_RATES = {"adam": 3e-3, "sgd": 1e-3}


@dataclass(frozen=True)
class Retraining:
    """How a network is trained under the noise of analog tiles.

    Attributes:
        steps: optimiser steps; None takes ``epochs``, else 1,000.
        epochs: passes over the training samples, as another way to say the number of steps.
        batch_size: samples a step.
        optimizer: ``adam``, whose steps are relative to the root mean square of each tensor (networks whose
            batch-norms are folded have weights of very different size), or ``sgd`` with momentum.
        learning_rate: at the start; it falls to 0 along a cosine. By default 0.003 (adam), 0.001 (sgd).
        digital_learning_rate: the same for all but the weights of analog layers; None: no other.
        momentum: of sgd.
        loss: ``distillation`` (nearness to the digital network, no targets needed), ``cross-entropy``, ``mse`` or
            ``module:function``, called with output and targets (tensors).
        augment: ``none``, ``crop-flip`` or ``module:function``, called with the feeds of a batch and a numpy generator.
        noise: weight errors of the hardware's devices at its time of inference, or its section ``training``.
        ramp: share of the steps over which noise grows from 0 to all of it.
        seed: fixes order, augmentation and noise.
        validations: how often the network is validated on the way.
        patience: validations without a better one after which training stops; None: never before the end.
    """

    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 128
    optimizer: Optimizer = "adam"
    learning_rate: float | None = None
    digital_learning_rate: float | None = None
    momentum: float = 0.9
    loss: str = "distillation"
    augment: str = "none"
    noise: WeightNoise = "devices"
    ramp: float = 0.0
    seed: int = 0
    validations: int = 4
    patience: int | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            UsageError: a value out of its range, or an unknown name.
        """
        if self.steps is not None and self.epochs is not None:
            raise UsageError("--steps and --epochs say the same; give one of them")
        for option, value in (
            ("--steps", self.steps),
            ("--epochs", self.epochs),
            ("--batch-size", self.batch_size),
            ("--lr", self.learning_rate),
            ("--digital-lr", self.digital_learning_rate),
            ("--validations", self.validations),
            ("--patience", self.patience),
        ):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{option} must be above 0, got {value}")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"--momentum must be at least 0 and below 1, got {self.momentum}")
        if not 0 <= self.ramp <= 1:
            raise UsageError(f"--ramp is a share of the steps, 0 to 1; got {self.ramp}")
        if self.seed < 0:
            raise UsageError(f"--seed must not be negative, got {self.seed}")
        if self.optimizer not in _RATES:
            raise UsageError(f"unknown optimiser {self.optimizer!r}; choose {' or '.join(_RATES)}")
        if self.noise not in ("devices", "preset"):
            raise UsageError(f"unknown --noise {self.noise!r}; choose devices or preset")
        if self.loss not in LOSSES and ":" not in self.loss:
            raise UsageError(f"unknown loss {self.loss!r}; choose {', '.join(LOSSES)} or module:function")

    @property
    def rate(self) -> float:
        """Learning rate at the start, of the weights of analog layers."""
        return _RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    @property
    def digital_rate(self) -> float:
        """Learning rate at the start, of everything else."""
        return self.rate if self.digital_learning_rate is None else self.digital_learning_rate

    def steps_for(self, samples: int) -> int:
        """Optimiser steps, for so many training samples."""
        if self.epochs is not None:
            return max(1, round(self.epochs * samples / self.batch_size))
        return DEFAULT_STEPS if self.steps is None else self.steps
