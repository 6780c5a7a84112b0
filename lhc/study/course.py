"""A training of a prepared network under the noise of its tiles. PyTorch is loaded when it begins.

Drops are against the network as it was before any training, on samples that took no part in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lhc.errors import MissingDependencyError
from lhc.options.training import TrainingOptions
from lhc.plan import Retrained
from lhc.samples.task import Array, Task
from lhc.study.prepare import calibrated
from lhc.study.source import Opened
from lhc.study.state import Study
from lhc.support.functions import code_of, load_function

if TYPE_CHECKING:
    from lhc.train.checkpoints import Checkpoint
    from lhc.train.fit import Fitted
    from lhc.train.network import NoisyNetwork
    from lhc.train.trained_tensors import Trained
    from lhc.train.trainer import Trainer

__all__ = ["VALIDATION_DRAWS", "VALIDATION_SAMPLES", "Course"]

VALIDATION_SAMPLES = 500
VALIDATION_DRAWS = 3
CHECKED_SAMPLES = 2
"""Samples on which the network that is trained is compared with onnxruntime."""

Weights = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Course:
    """A prepared network with the samples and settings it is trained with.

    Attributes:
        study: the network as it was given.
        samples: for training.
        settings: how.
        checkpoints: folder for states, or None.
    """

    study: Study
    samples: Task
    settings: TrainingOptions
    checkpoints: Path | None = None

    @cached_property
    def trained(self) -> "Trained":
        """The stored tensors that are trained."""
        try:
            from lhc.train.trained_tensors import find_trained
        except ImportError as error:
            raise MissingDependencyError(f"retraining needs PyTorch: {error}") from error
        return find_trained(self.study.model, self.study.graph)

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.settings.steps_for(len(self.samples))

    def network(self, study: Study | None = None) -> "NoisyNetwork":
        """A trainable copy of the network, checked against onnxruntime product by product.

        Args:
            study: another state of the network.

        Raises:
            ModelError: it cannot be differentiated, or computes something else.
        """
        from lhc.train.network import NoisyNetwork

        of = study or self.study
        hardware, ranges = of.plan.hardware, of.plan.ranges
        network = NoisyNetwork(of.model, of.graph, self.trained, hardware, of.t_s, self.settings.noise, ranges)
        if study is not None:
            network.load(self.weights_of(study))
        network.check(next(self.samples.blocks(CHECKED_SAMPLES))[1])
        return network

    def trainer(self, horizon: int) -> "Trainer":
        """A trainer of the network as it was given.

        Args:
            horizon: steps in which the learning rate falls to 0.

        Raises:
            ModelError, DataError, UsageError: the network, the samples or the settings cannot be trained with.
        """
        from lhc.train.batches import Batches, load_augment
        from lhc.train.losses import load_loss
        from lhc.train.trainer import Trainer, device_for

        settings = self.settings
        network, digital = self.network(), self.network()
        feeds = next(self.samples.blocks(CHECKED_SAMPLES))[1]
        device = device_for(network, feeds)
        network.to(device)
        digital.to(device)
        batches = Batches(self.samples, settings.batch_size, settings.seed, load_augment(settings.augment))
        output = self.study.options.output or self.study.graph.outputs[0]
        return Trainer(network, digital, batches, load_loss(settings.loss), settings, output, horizon)

    def with_weights(self, weights: Weights) -> Study:
        """The study with trained weights; its drops are against the network as it was given.

        Static input ranges of layers that were trained as analog ones are the trained ones, others are calibrated anew.

        Raises:
            ModelError: the weights cannot be written into the model.
        """
        from lhc.train.network import ranges_in
        from lhc.train.trained_tensors import with_weights

        model = replace(self.study.model, proto=with_weights(self.study.model, self.trained, weights))
        opened = Opened(model, self.study.opened.entry, before=self.study.opened)
        graph = opened.graph(None, self.study.task)
        before = self.study.plan
        ranges = {name: (value,) * len(before.ranges[name]) for name, value in ranges_in(weights).items()}
        rows = tuple(row.model_copy(update={"input_range": ranges.get(row.name)}) for row in before.layers)
        plan = before.model_copy(update={"source": model.source, "layers": rows})
        study = replace(self.study, opened=opened, graph=graph, plan=plan, original=self.study)
        return calibrated(study, sorted(plan.analog.union(study.measurable)))

    def train(self, analog: frozenset[str], validation: Task) -> tuple[Study, Retrained]:
        """Train for a placement once.

        Args:
            analog: the analog layers.
            validation: samples on which the course of the training is watched.

        Returns:
            The study with the new weights, and how they came about.

        Raises:
            OutOfTimeError: the time that the user gave was over before.
        """
        from lhc.train.fit import fit

        watched = validation.head(VALIDATION_SAMPLES)

        def drop(weights: Weights) -> float:
            bench = self.with_weights(weights).bench(watched)
            return float(bench.measure(analog, range(VALIDATION_DRAWS), "validating").drops.mean())

        def report(what: str, done: int, total: int) -> None:
            self.study.options.progress(what, done, total)
            self.study.running.check_time()

        fitted = fit(
            self.trainer(self.steps),
            analog,
            self.settings,
            self.steps,
            drop,
            self._checkpoint(analog, watched),
            report,
        )
        after = self.with_weights(fitted.weights)
        self.network(after)
        return after, self.record(analog, fitted)

    def weights_of(self, study: Study) -> dict[str, Array]:
        """The trained tensors as another state of the network has them."""
        from lhc.train.trained_tensors import find_trained

        return dict(find_trained(study.model, study.graph).values)

    def record(self, analog: frozenset[str], fitted: "Fitted") -> Retrained:
        """What a plan says about a training."""
        return Retrained(
            source=self.study.model.source,
            layers=tuple(sorted(analog)),
            steps=fitted.step,
            batch_size=self.settings.batch_size,
            loss=self.settings.loss,
            seed=self.settings.seed,
            samples=len(self.samples),
            data=self.samples.digest,
            curve=fitted.curve,
        )

    def facts(self) -> dict[str, object]:
        """What decides the result of a training, apart from the placement."""
        return {
            "model": self.study.model.source,
            "hardware": self.study.plan.hardware.model_dump(mode="json"),
            "t_s": self.study.t_s,
            "samples": self.samples.digest,
            "settings": repr(self.settings),
            "seed": self.study.options.seed,
            "output": self.study.options.output,
            "ranges": {name: list(values) for name, values in sorted(self.study.plan.ranges.items())},
            "functions": {
                name: code_of(load_function(name, option))
                for name, option in ((self.settings.loss, "--loss"), (self.settings.augment, "--augment"))
                if ":" in name
            },
        }

    def _checkpoint(self, analog: frozenset[str], validation: Task) -> "Checkpoint | None":
        if self.checkpoints is None:
            return None
        from lhc.train.checkpoints import Checkpoint

        facts = {**self.facts(), "analog": sorted(analog), "validation": validation.digest}
        return Checkpoint.of(self.checkpoints, facts)
