"""Retraining between measuring and training: what trains a prepared network, and what judges the result.

Drops are against the network as it was before any training, on samples that took no part in it.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lhc.errors import DataError, LhcError, MissingDependencyError, UsageError
from lhc.functions import code_of, load_function
from lhc.graph import LayerGraph
from lhc.measure import stratified_order
from lhc.model import OnnxModel
from lhc.onnx_io import load_model, read_plan
from lhc.opening import Opened
from lhc.passes import Goal, SearchOptions, by_worth, damage_of, search_space
from lhc.plan import Plan, Retrained
from lhc.preparing import Work, calibrated
from lhc.task import Array, Samples, Task
from lhc.train import Retraining

if TYPE_CHECKING:
    from lhc.train.checkpoints import Checkpoint
    from lhc.train.fitting import Fitted
    from lhc.train.network import NoisyNetwork
    from lhc.train.trainer import Trainer
    from lhc.train.weights import Trained

__all__ = ["Course", "check_apart", "retrained_from", "split_off", "winnable"]

VALIDATION_SAMPLES = 500
VALIDATION_DRAWS = 3
CHECKED_SAMPLES = 2
"""Samples on which the network that is trained is compared with onnxruntime."""
COMPARED_SAMPLES = 256
"""Samples whose sizes are compared between training and judging, and which are looked for in the training data."""
MOST_SHARED, FEW_SHARED = 0.5, 0.01
"""Share of them that may be in the training data: more are refused, and warned of. Some data holds a sample twice."""
WINNABLE = 4.0
"""Most estimated drop, in budgets, to train with: training was seen to take away 45 to 90 % of a drop."""
OTHER_SCALE = 3.0
"""Ratio of sizes from which on they can hardly be samples of one kind."""

Weights = Mapping[str, Array]

log = logging.getLogger("lhc")


def check_apart(training: Task, judging: Task) -> None:
    """Refuse to judge on the samples that are trained on; warn of some of them, and of samples on another scale.

    Raises:
        UsageError: they are the same, or most of those that judge are trained on.
    """
    shared = _share_trained_on(training, judging)
    if shared > MOST_SHARED:
        raise UsageError(
            "most of the samples that judge are the same samples as those that train: a network that was trained on"
            " what judges it looks better than it is; leave --train-data or --verify-data out, and --data is split"
        )
    if shared > FEW_SHARED:
        log.warning(
            "%.0f %% of the samples that judge are in the training data too: the network may look better than it is",
            100 * shared,
        )
    for name in sorted(judging.inputs.keys() & training.inputs.keys()):
        judges, trains = _size(judging.inputs[name]), _size(training.inputs[name])
        if max(judges, trains) > OTHER_SCALE * min(judges, trains):
            log.warning(
                "input %r has a root mean square of %.3g in the training data and of %.3g in the data that judges: are"
                " both preprocessed as the network wants it?",
                name,
                trains,
                judges,
            )


def _share_trained_on(training: Task, judging: Task) -> float:
    """Share of the first samples that judge whose inputs are in the training data, wherever they are there."""
    names = sorted(name for name in judging.inputs.keys() & training.inputs.keys() if judging.inputs[name].ndim)
    if not names:
        return 0.0

    def rows(task: Task, samples: int) -> Iterator[bytes]:
        for _, feeds in task.head(samples).blocks(COMPARED_SAMPLES):
            arrays = [np.asarray(feeds[name]) for name in names]
            yield from (sha256(b"|".join(a[row].tobytes() for a in arrays)).digest() for row in range(len(arrays[0])))

    looked = list(rows(judging, COMPARED_SAMPLES))
    trained = set(looked).intersection(rows(training, len(training)))
    return sum(row in trained for row in looked) / len(looked)


def _size(array: Samples) -> float:
    """Root mean square of the first samples; 0 for what are no real numbers."""
    some = np.asarray(array[:COMPARED_SAMPLES] if array.ndim else array)
    return float(np.sqrt(np.mean(np.square(some, dtype=np.float64)))) if some.dtype.kind == "f" else 0.0


def split_off(task: Task, training: int, parts: int) -> tuple[Task, Task]:
    """Samples for training, and the others, by a fixed permutation that is stratified by label.

    Args:
        task: all samples.
        training: parts that train.
        parts: of how many.

    Raises:
        DataError: there are too few samples to split.
    """
    if len(task) < 10 * parts:
        raise DataError(f"{len(task)} samples are too few to split them into training and judging; give more")
    order = stratified_order(task)
    trains = np.arange(len(order)) % parts < training
    return task.take(np.sort(order[trains])), task.take(np.sort(order[~trains]))


def retrained_from(path: Path, model: OnnxModel) -> bool:
    """Whether a file is what retraining this very model wrote."""
    if not path.is_file():
        return False
    try:
        plan = read_plan(load_model(path))
    except LhcError:
        return False
    outcome = None if plan is None else plan.outcome
    return outcome is not None and outcome.retrained is not None and outcome.retrained.source == model.source


def winnable(graph: LayerGraph, plan: Plan, names: Collection[str], max_drop: float) -> frozenset[str]:
    """The layers to train as analog: all that pay, or without those that do most damage for what they bring.

    Without these where all would do too much: else a network that many analog layers ruin would be trained away from
    what it knows, for a placement that no training can save. Layers that share their weights are taken or left
    together.

    Args:
        graph: of the network.
        plan: of the network as it was given, with its sensitivities and outcome.
        names: the layers that can be analog.
        max_drop: the budget.
    """
    outcome = plan.outcome
    goal = Goal() if outcome is None else Goal(outcome.objective)
    forced = plan.forced.intersection(names)
    opened = plan.decide({name: ("digital", "eligible", "") for name in names if name not in forced})
    groups = by_worth(search_space(graph, opened, SearchOptions(goal)))
    everything = forced.union(*groups)
    unknown = {row.name for row in plan.layers if row.sensitivity is None}
    if outcome is None or outcome.estimate is None or max_drop <= 0 or not unknown.isdisjoint(everything):
        return everything
    fixed = damage_of(graph, plan, forced)
    drops = outcome.estimate.factor * (fixed + np.cumsum([damage_of(graph, plan, group) for group in groups]))
    within = max(int(np.sum(drops <= WINNABLE * max_drop)), 1)
    return forced.union(*groups[:within])


@dataclass(frozen=True, eq=False)
class Course:
    """A prepared network with the samples and settings it is trained with.

    Attributes:
        work: the network as it was given.
        samples: for training.
        settings: how.
        checkpoints: folder for states, or None.
    """

    work: Work
    samples: Task
    settings: Retraining
    checkpoints: Path | None = None

    @cached_property
    def trained(self) -> "Trained":
        """The stored tensors that are trained."""
        try:
            from lhc.train.weights import find_trained
        except ImportError as error:
            raise MissingDependencyError(f"retraining needs PyTorch: {error}") from error
        return find_trained(self.work.model, self.work.graph)

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.settings.steps_for(len(self.samples))

    def network(self, work: Work | None = None) -> "NoisyNetwork":
        """A trainable copy of the network, checked against onnxruntime product by product.

        Args:
            work: another state of the network.

        Raises:
            ModelError: it cannot be differentiated, or computes something else.
        """
        from lhc.train.network import NoisyNetwork

        of = work or self.work
        hardware, ranges = of.plan.hardware, of.plan.ranges
        network = NoisyNetwork(of.model, of.graph, self.trained, hardware, of.t_s, self.settings.noise, ranges)
        if work is not None:
            network.load(self.weights_of(work))
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
        output = self.work.request.output or self.work.graph.outputs[0]
        return Trainer(network, digital, batches, load_loss(settings.loss), settings, output, horizon)

    def work_with(self, weights: Weights) -> Work:
        """The work with trained weights; its drops are against the network as it was given.

        Static input ranges of layers that were trained as analog ones are the trained ones, others are calibrated anew.

        Raises:
            ModelError: the weights cannot be written into the model.
        """
        from lhc.train.network import ranges_in
        from lhc.train.weights import with_weights

        model = replace(self.work.model, proto=with_weights(self.work.model, self.trained, weights))
        graph = Opened(model, None).graph(None, self.work.task)
        before = self.work.plan
        ranges = {name: (value,) * len(before.ranges[name]) for name, value in ranges_in(weights).items()}
        rows = tuple(row.model_copy(update={"input_range": ranges.get(row.name)}) for row in before.layers)
        plan = before.model_copy(update={"source": model.source, "layers": rows})
        work = replace(self.work, model=model, graph=graph, plan=plan, original=self.work)
        return calibrated(work, sorted(plan.analog.union(work.measurable)))

    def train(self, analog: frozenset[str], validation: Task) -> tuple[Work, Retrained]:
        """Train for a placement once.

        Args:
            analog: the analog layers.
            validation: samples on which the course of the training is watched.

        Returns:
            The work with the new weights, and how they came about.

        Raises:
            OutOfTimeError: the time that the user gave was over before.
        """
        from lhc.train.fitting import fit

        watched = validation.head(VALIDATION_SAMPLES)

        def drop(weights: Weights) -> float:
            bench = self.work_with(weights).bench(watched)
            return float(bench.measure(analog, range(VALIDATION_DRAWS), "validating").drops.mean())

        def report(what: str, done: int, total: int) -> None:
            self.work.request.progress(what, done, total)
            self.work.request.running.check_time()

        fitted = fit(
            self.trainer(self.steps),
            analog,
            self.settings,
            self.steps,
            drop,
            self._checkpoint(analog, watched),
            report,
        )
        after = self.work_with(fitted.weights)
        self.network(after)
        return after, self.record(analog, fitted)

    def weights_of(self, work: Work) -> dict[str, Array]:
        """The trained tensors as another state of the network has them."""
        from lhc.train.weights import find_trained

        return dict(find_trained(work.model, work.graph).values)

    def record(self, analog: frozenset[str], fitted: "Fitted") -> Retrained:
        """What a plan says about a training."""
        return Retrained(
            source=self.work.model.source,
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
            "model": self.work.model.source,
            "hardware": self.work.plan.hardware.model_dump(mode="json"),
            "t_s": self.work.t_s,
            "samples": self.samples.digest,
            "settings": repr(self.settings),
            "seed": self.work.request.seed,
            "output": self.work.request.output,
            "ranges": {name: list(values) for name, values in sorted(self.work.plan.ranges.items())},
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
