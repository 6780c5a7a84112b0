"""A network with the samples and settings that it is trained with. PyTorch is loaded with it."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx

from lhc.canonical import nested_again, transposed_again
from lhc.errors import DataError, ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io import static_batch
from lhc.onnx_io.rewrites.dynamic_batch import with_dynamic_batch
from lhc.onnx_model import OnnxModel
from lhc.options.training import TrainingOptions
from lhc.plan import CurvePoint, Retrained
from lhc.runtime.environment_fingerprint import environment, program
from lhc.runtime.onnxruntime.sessions import observe_tensors, relative_error, rounding
from lhc.runtime.torch_settings import gpu_name
from lhc.samples.sample_axis import SampleLayout, samples_first
from lhc.samples.task import Array, Task, count_samples, cut
from lhc.support.load_by_name import load_function
from lhc.support.source_digest import source_digest
from lhc.train.batches import Batches, load_augment
from lhc.train.checkpoints import Checkpoint
from lhc.train.losses import load_loss
from lhc.train.noisy_network import PARITY, NoisyNetwork, ranges_in
from lhc.train.optimiser_steps import Trainer, device_for
from lhc.train.trained_tensors import Trained, find_adapters, find_trained, with_weights

SAME = 1e-4
"""Greatest difference of answers to a sample among others, relative to the greatest: float32 sums in other order."""
TIMED_STEPS = 5
"""On which the time of a step is measured; the median leaves out the first one, which prepares much."""
CHECKED_SAMPLES = 2
"""Samples on which the network that is trained is compared with onnxruntime."""


@dataclass(frozen=True, eq=False)
class TrainingSetup:
    """A network with the samples and settings that it is trained with.

    Attributes:
        ranges: static input ranges by layer, where the hardware has them.
        t_s: time of inference that it is trained for, in seconds.
        report: called after every step: what is done, how much of it is done, how much it is in all.
        output: name of the output that is trained; the first by default.
        checkpoints: folder for states, or None.
        copies: of the weights on tiles, by layer; one where it is missing.
        classes: whether the output holds scores of classes, see `load_loss`.
    """

    model: OnnxModel
    graph: LayerGraph
    hardware: Hardware
    ranges: Mapping[str, tuple[float, ...]]
    t_s: float
    samples: Task
    settings: TrainingOptions
    report: Callable[[str, int, int], None]
    output: str | None = None
    checkpoints: Path | None = None
    copies: Mapping[str, int] = field(default_factory=dict)
    classes: bool = True

    @cached_property
    def trained(self) -> Trained:
        """The stored tensors that are trained."""
        if self.settings.adapters is not None:
            return find_adapters(self.model, self.graph)
        return find_trained(self.model, self.graph)

    @property
    def steps(self) -> int:
        """Optimiser steps in all, or those of a round."""
        return self.settings.steps_for(len(self.samples))

    def timed(self, analog: frozenset[str]) -> "TrainingSetup":
        """The setup with as many steps as the user's time allows, by the median of a few that are thrown away.

        Raises:
            ModelError, DataError, UsageError: as of `trainer`.
        """
        assert self.settings.time_s is not None
        trainer, times = self.trainer(1 + TIMED_STEPS), list[float]()
        trainer.begin(analog)
        trainer.train_step(1.0)  # the first takes memory and makes plans that the others find
        for _ in range(TIMED_STEPS):
            started = time.perf_counter()
            trainer.train_step(1.0)
            times.append(time.perf_counter() - started)
        steps = max(1, round(self.settings.time_s / float(np.median(times))))
        return replace(self, settings=replace(self.settings, steps=steps, time=None))

    def with_rate(self, analog: frozenset[str]) -> "TrainingSetup":
        """The setup with the learning rate that this placement is trained with; see `TrainingOptions.rate_for`."""
        layers = [self.graph[name] for name in analog]
        macs = [(layer.op_type, layer.matrix.macs) for layer in layers if layer.matrix is not None]
        convolved = sum(count for kind, count in macs if kind == "Conv")
        rate = self.settings.rate_for(self.steps, 2 * convolved > sum(count for _, count in macs))
        return replace(self, settings=replace(self.settings, learning_rate=rate))

    def network(self, exact: float = PARITY) -> NoisyNetwork:
        """A trainable copy of the network, checked against onnxruntime product by product; ``exact``: see there.

        Raises:
            ModelError: it cannot be differentiated, or computes something else.
        """
        tiles = (self.hardware, self.t_s, self.settings.noise, self.ranges, self.copies)
        network = NoisyNetwork(self._batched, self.graph, self.trained, *tiles)
        network.check(self._some(), exact)
        return network

    @cached_property
    def _batched(self) -> OnnxModel:
        """The network with a batch of any size, which is what trains."""
        layout = self.samples.layout
        batch = static_batch(self.model, layout.inputs)
        if batch is None or layout.one_a_call:
            return self.model
        freed = with_dynamic_batch(self.model, layout.inputs)
        _, feeds = next(self.samples.blocks(batch + 1))  # of one batch alone, samples that mix would look right
        names = [value.name for value in freed.proto.graph.output]
        try:
            together = self._samples_first(observe_tensors(freed, names, layout.feeds(feeds)))
            for where, one in cut(feeds, count_samples(feeds), batch, True, layout):
                apart = self._samples_first(observe_tensors(self.model, names, one))
                same = all(_same(together[n][where], apart[n][: where.stop - where.start]) for n in names)
                if not same:
                    raise DataError("its answers to a sample depend on the others")
        except (DataError, ModelError) as error:
            raise ModelError(
                f"{self.model.label}: the file fixes a batch of {batch} and cannot be computed with another, which"
                f" training needs ({error}); export it with a symbolic batch"
            ) from error
        return freed

    def trainer(self, horizon: int) -> Trainer:
        """A trainer of the network.

        Args:
            horizon: steps in which the learning rate falls to 0.

        Raises:
            ModelError, DataError, UsageError: the network, the samples or the settings cannot be trained with.
        """
        settings, output, labels = self.settings, self.output or self.graph.outputs[0], self.samples.targets
        reads_labels = settings.loss != "distillation" or settings.label_share > 0
        if settings.augment == "crop-flip" and reads_labels and labels is not None and labels.ndim > 2:
            raise UsageError(
                f"--augment crop-flip moves pictures and leaves labels {labels.shape[1:]} of their places where they"
                " are; train by distillation alone, or give an augmentation that moves nothing (--augment none, or"
                " module:function)"
            )
        network = self.network()
        network.to(device_for(network, self._some()))
        batches = Batches(self.samples, settings.batch_size, settings.seed, load_augment(settings.augment))
        axis = self.samples.class_axis
        loss, label_loss = (load_loss(name, axis, self.classes) for name in (settings.loss, "cross-entropy"))
        return Trainer(network, batches, loss, settings, output, horizon, label_loss)

    def check(self) -> None:
        """See that the network can be trained, with this loss and these samples: one step's loss on a few of them.

        Raises:
            ModelError, DataError, UsageError: it cannot.
        """
        if self.settings.time is not None and self.checkpoints is not None:
            raise UsageError(
                "--time and --checkpoint: a training that goes on needs the number of steps that it began with; give"
                " --steps"
            )
        # Whether there are enough samples for a batch matters only if there is something to be trained for.
        settings = replace(self.settings, batch_size=min(self.settings.batch_size, len(self.samples)))
        replace(self, settings=settings).trainer(1).check(*self.samples.read(0, CHECKED_SAMPLES))

    def _some(self) -> Mapping[str, Array]:
        """Feeds of one call of the network, with a few samples."""
        layout = self.samples.layout
        return layout.feeds(next(self.samples.blocks(1 if layout.one_a_call else CHECKED_SAMPLES))[1])

    def _samples_first(self, outputs: Mapping[str, Array]) -> Mapping[str, Array]:
        layout = self.samples.layout
        return {name: samples_first(array, layout.of_output(name)) for name, array in outputs.items()}

    def written(self, weights: Mapping[str, Array]) -> onnx.ModelProto:
        """The model with trained weights, transposed convolutions again, and branches in their If.

        Raises:
            ModelError: the weights cannot be written into the model.
        """
        proto = with_weights(self.model, self.trained, weights)
        transposed_again(self.model, proto)
        placed = [(node.name, node) for node in proto.graph.node]
        nodes = nested_again(self.model, frozenset(name for name, _ in placed), placed)
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)
        return proto

    def trained_ranges(self, weights: Mapping[str, Array]) -> dict[str, tuple[float, ...]]:
        """Static input ranges among trained weights, as plans have them: one for every row split of a layer."""
        return {name: (value,) * len(self.ranges[name]) for name, value in ranges_in(weights).items()}

    def record(self, analog: frozenset[str], steps: int, curve: Iterable[CurvePoint]) -> Retrained:
        """Record of the training for the plan."""
        return Retrained(
            source=self.model.source,
            layers=tuple(sorted(analog)),
            steps=steps,
            batch_size=self.settings.batch_size,
            loss=self._loss_text,
            seed=self.settings.seed,
            samples=len(self.samples),
            data=self.samples.digest,
            curve=tuple(curve),
            adapters=self.settings.adapter_rank,
            learning_rate=self.settings.rate,
        )

    @property
    def _loss_text(self) -> str:
        share, by_error = self.settings.label_share, self.settings.loss == "distillation" and not self.classes
        labels = f", {share:g} labels" if share else ""
        return f"{self.settings.loss}{' by squared error' if by_error else ''}{labels}"

    def checkpoint(self, analog: frozenset[str], **more: object) -> Checkpoint | None:
        """Checkpoint of the training; None where its state is not kept.

        Args:
            more: what else decides its result.
        """
        if self.checkpoints is None:
            return None
        return Checkpoint.of(self.checkpoints, {**self.facts(), "analog": sorted(analog), **more})

    def facts(self) -> dict[str, object]:
        """Facts that decide the result of a training, apart from the placement."""
        gpu = gpu_name()  # which sums in an order, and draws by a generator, of its own
        return {
            **({} if gpu is None else {"gpu": gpu}),
            "environment": environment(),
            "program": program(),
            "model": self.model.identity,
            "hardware": self.hardware.model_dump(mode="json"),
            "t_s": self.t_s,
            "samples": self.samples.digest,
            "class_axis": self.samples.class_axis,
            "classes": self.classes,
            **({"layout": repr(self.samples.layout)} if self.samples.layout != SampleLayout() else {}),
            "settings": repr(self.settings),
            "output": self.output,
            "ranges": {name: list(values) for name, values in sorted(self.ranges.items())},
            "copies": dict(sorted(self.copies.items())),
            "functions": self.hardware.user_code
            | {
                name: source_digest(load_function(name, option), name.partition(":")[0])
                for name, option in ((self.settings.loss, "--loss"), (self.settings.augment, "--augment"))
                if ":" in name
            },
        }


def _same(found: Array, expected: Array) -> bool:
    """Whether outputs are equal to rounding."""
    if found.dtype.kind != "f":
        return bool(np.array_equal(found, expected))
    return relative_error(found, expected) <= rounding(SAME, expected.dtype.name)
