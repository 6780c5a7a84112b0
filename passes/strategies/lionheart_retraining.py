"""LionHeart's walk with retraining: each layer that is tried is trained for before it is judged.

Lammie et al., LionHeart, IEEE TETC 2025 (doi 10.1109/TETC.2025.3546128), as published in github.com/IBM/lionheart,
lionheart/methods/LH.py. Layers are tried in descending order of MACs, each once; layers that share weights together.
For a candidate the network is trained in rounds with a new optimiser and schedule. An accepted candidate leaves its
weights to the next one; after a rejected one the last accepted weights are restored.

- `LionHeartOriginal` is the published algorithm: a candidate is trained until ``patience`` scores in a row lie below
  the best one, and is accepted if the best one is at least the digital score minus the threshold.
- `LionHeartRetrained` mends its flaws: a candidate is judged before it is trained for too, by the mean drop on a few
  chips, and rounds are bounded. The first mean within the budget accepts; a test on other chips decides in the end.
"""

import math
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

from lhc.graph import LayerGraph
from lhc.options.training import TrainingOptions
from lhc.passes.base import Judge, Pass, PassResult
from lhc.passes.decide.layer_groups import by_macs, groups_of
from lhc.passes.strategies.base import Strategy, decide, fits, reason
from lhc.passes.strategies.lionheart_walk import walked
from lhc.plan import Plan

NOT_MET_TRAINED = "with this layer on tiles too, the budget is not met after training for it"
PUBLISHED_RATES = (1e-3, 1e-2)
"""LionHeart's learning rates for ResNet20: weights of analog layers, everything else."""
PUBLISHED_MOMENTUM = 0.85
Slot = Literal["accepted", "candidate"]
"""Where weights are put by."""


class Trainee(Protocol):
    """A network that can be trained for a placement; it holds the present weights."""

    def begin(self, placement: frozenset[str]) -> None:
        """Train for this placement from now on, with a new optimiser and schedule; weights stay."""
        ...

    def train(self) -> None:
        """Train for one round."""
        ...

    def save(self, slot: Slot) -> None:
        """Put the present weights by."""
        ...

    def load(self, slot: Slot) -> None:
        """Take weights that were put by."""
        ...


class WeightsJudge(Judge, Protocol):
    """Judges placements with the present weights of a trainee."""

    @property
    def baseline(self) -> float:
        """Score of the digital network before any training, larger is better."""
        ...

    def score(self, placement: frozenset[str]) -> float:
        """Mean score of repeated evaluations, larger is better."""
        ...


@dataclass(frozen=True)
class _Walk(Pass):
    """Candidates in order, each trained for and accepted or rejected.

    Attributes:
        patience: rounds in a row without a better one that end a candidate.
    """

    trainee: Trainee
    judge: WeightsJudge
    patience: int = 1

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        self.trainee.save("accepted")

        def accepts(candidate: frozenset[str]) -> bool:
            accepted = self._accepts(candidate)
            if accepted:
                self.trainee.load("candidate")
                self.trainee.save("accepted")
            self.trainee.load("accepted")
            return accepted

        order = by_macs(plan, groups_of(graph, plan))
        path, without_room = walked(plan.analog, order, lambda candidate: fits(graph, plan, candidate), accepts)
        decided = decide(
            plan, path[-1], reason(without_room, NOT_MET_TRAINED), "accepted after retraining with it analog"
        )
        return PassResult(decided, fallbacks=tuple(reversed(path[:-1])))

    @abstractmethod
    def _accepts(self, candidate: frozenset[str]) -> bool:
        """Train for a candidate; if it is accepted its weights are in slot ``candidate``."""


@dataclass(frozen=True)
class LionHeartOriginal(_Walk):
    """The published algorithm.

    Attributes:
        threshold: greatest loss of score against the digital network, for all accepted layers together.
        max_rounds: most rounds of a candidate; None, as published: no bound, so scores that stay equal never end.
    """

    threshold: float = 0.02
    max_rounds: int | None = None
    name: ClassVar[str] = "lionheart-original"

    def _accepts(self, candidate: frozenset[str]) -> bool:
        self.trainee.begin(candidate)
        best = -math.inf  # scores are negative where lower is better
        recent = deque([best] * self.patience, maxlen=self.patience)
        rounds = 0
        while self.max_rounds is None or rounds < self.max_rounds:
            self.trainee.train()
            rounds += 1
            score = self.judge.score(candidate)
            recent.appendleft(score)
            if max(recent) < best:
                break
            if score > best:
                best = score
                self.trainee.save("candidate")
        return best >= self.judge.baseline - self.threshold


@dataclass(frozen=True)
class LionHeartRetrained(_Walk):
    """The same walk, judged by the budget, with rounds only where they are needed."""

    max_rounds: int = 4
    name: ClassVar[str] = "lionheart"

    def _accepts(self, candidate: frozenset[str]) -> bool:
        verdict = self.judge.within(candidate)
        least, waited, rounds = verdict.evaluation.drop, 0, 0
        while not verdict.accepted and rounds < self.max_rounds and waited < self.patience:
            if rounds == 0:
                self.trainee.begin(candidate)
            self.trainee.train()
            rounds += 1
            verdict = self.judge.within(candidate)
            waited = 0 if verdict.evaluation.drop < least else waited + 1
            least = min(least, verdict.evaluation.drop)
        if verdict.accepted:
            self.trainee.save("candidate")
        return verdict.accepted


def rounds_of(walk: str, patience: int, max_rounds: int | None) -> int:
    """Most rounds of a candidate; where the published walk knows no bound, the fewest that it takes.

    Args:
        patience: rounds in a row without a better one that end a candidate.
        max_rounds: what the user allows; None: as the walk has it.
    """
    if max_rounds is not None:
        return max_rounds
    return patience + 1 if walk == LionHeartOriginal.name else LionHeartRetrained.max_rounds


def walk_settings(walk: str, settings: TrainingOptions) -> TrainingOptions:
    """Settings of a round's training: one epoch by default, and the published ones as they were published."""
    if settings.steps is None and settings.epochs is None:
        settings = replace(settings, epochs=1)
    if walk != LionHeartOriginal.name:
        return settings
    return replace(
        settings,
        optimizer="sgd",
        momentum=PUBLISHED_MOMENTUM,
        noise="preset",
        learning_rate=settings.learning_rate or PUBLISHED_RATES[0],
        digital_learning_rate=settings.digital_learning_rate or PUBLISHED_RATES[1],
    )


def untrained(strategy: str) -> str:
    """The strategy that is run without training beside one with it."""
    return LionHeartRetrained.name if strategy == LionHeartOriginal.name else strategy


RETRAINING_STRATEGIES = (LionHeartOriginal.name, LionHeartRetrained.name)
"""Strategies that train while they search."""


def already_walked(found: PassResult, walk: str) -> type[Strategy]:
    """A strategy that returns what a walk found, so that it is verified, and stepped back from, as every search is.

    The weights stay those of the whole walk, whichever of its placements is kept.

    Args:
        found: by a walk over the same network.
    """

    class Walked(Strategy):
        name: ClassVar[str] = walk

        def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
            decided = {row.name: (row.placement, row.reason, row.detail) for row in found.plan.layers}
            return replace(found, plan=plan.decide({name: decided[name] for name in plan.eligible}))

    return Walked
