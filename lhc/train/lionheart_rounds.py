"""A training in rounds, for one placement after the other: what LionHeart's walks train with."""

from lhc.passes.strategies.lionheart_retraining import Slot
from lhc.plan import CurvePoint
from lhc.samples.task import Array
from lhc.train.checkpoints import arrays, tensors
from lhc.train.training_setup import TrainingSetup

__all__ = ["Rounds"]

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
