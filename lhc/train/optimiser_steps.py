"""Optimiser steps under the noise of tiles: one loop, whatever is trained for.

A step draws a chip, computes the loss of one batch on it, and takes one step of Adam or SGD. Everything random in step
n comes from (seed, n), so a run that was cut off goes on with the same numbers. Weights are clipped after every step.

Adam's rate is relative: a weight moves by at most about this share of its tensor's root mean square a step. Folding
batch-norms leaves tensors of very different size, and one absolute rate is too large for some and too small for others.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lhc.errors import DataError, ModelError
from lhc.options.training import TrainingOptions
from lhc.runtime.torch_settings import CPU, computing_on, seeded_generator, torch_device
from lhc.samples.sample_axis import CALL
from lhc.samples.task import Array, count_samples, cut
from lhc.train.batches import Batches
from lhc.train.losses import Loss, cross_entropy
from lhc.train.noisy_network import NoisyNetwork

log = logging.getLogger("lhc")

_GREATEST_NORM = 1.0
"""SGD: gradients are scaled down to this norm; a chip that happens to be bad must not throw the weights far."""
_BETAS = (0.9, 0.99)
_KEPT_ANSWERS = 2**28
"""Most bytes of the digital network's outputs that are kept."""
_WARM_UP = 50
"""Adam: steps, at most a tenth of all, in which the rate grows from 0: the first ones know little of gradients."""


@dataclass(eq=False)
class Trainer:
    """Trains a network for a placement.

    Attributes:
        network: is trained, in place; as it was before, it gives the targets of distillation.
        output: name of the output that is trained.
        horizon: steps in which the learning rate falls to 0 along a cosine (and rises again, if training goes on:
            torch's CosineAnnealingLR).
        label_loss: of output and class labels; has the share of the loss that the settings give labels.
        step: number of the next step since `begin`.
    """

    network: NoisyNetwork
    batches: Batches
    loss: Loss
    settings: TrainingOptions
    output: str
    horizon: int
    label_loss: Loss = cross_entropy
    step: int = field(default=0, init=False)
    _first: int = field(default=0, init=False)
    _optimizer: torch.optim.Optimizer | None = field(default=None, init=False)
    _rates: tuple[float, ...] = field(default=(), init=False)

    def begin(self, analog: Iterable[str], first: int = 0) -> None:
        """Train for this placement from now on, with a new optimiser and schedule; weights stay.

        Args:
            first: number in the stream of batches and noise with which step 0 begins.
        """
        self.network.place(analog)
        self.step, self._first = 0, first
        rates = {True: self.settings.rate, False: self.settings.digital_rate}
        parameters = [(p, rate, size) for kind, rate in rates.items() for p, size in self.network.parameters(kind)]
        if self.settings.optimizer == "adam":
            groups = [{"params": [p], "lr": rate * size} for p, rate, size in parameters]
            self._optimizer = torch.optim.Adam(groups, betas=_BETAS)
        else:
            groups = [{"params": [p], "lr": rate} for p, rate, _ in parameters]
            self._optimizer = torch.optim.SGD(groups, momentum=self.settings.momentum)
        self._rates = tuple(group["lr"] for group in self._optimizer.param_groups)

    def check(self, feeds: Mapping[str, Array], targets: Array | None) -> None:
        """See that the loss of some samples can be computed and has a gradient; nothing changes.

        Raises:
            DataError: the loss needs other targets, or another output.
            ModelError: the output does not depend on anything that is trained.
        """
        output = self._answer(feeds)
        if not output.is_floating_point():
            raise ModelError(
                f"output {self.output!r} holds whole numbers, which have no gradient; it cannot be retrained. Where it"
                " is an ArgMax, give the network the scores in front of that as an output"
            )
        loss = self._loss(output, self._targets(feeds, targets), targets)
        if not loss.requires_grad:
            raise ModelError(
                f"output {self.output!r} has no gradient with respect to any weight; it cannot be retrained"
            )

    def diverged(self, step: int, why: str) -> ModelError:
        """The error that ends a training whose weights have become useless."""
        return ModelError(
            f"training diverged at step {step}: {why}; take a lower learning rate (--lr),"
            f" {self.settings.rate / 3:.1g} for example"
        )

    def train_step(self, strength: float) -> float:
        """Take one step.

        Args:
            strength: share of the full noise.

        Returns:
            The loss.

        Raises:
            ModelError: it is not finite.
            DataError: the loss needs targets and there are none.
        """
        assert self._optimizer is not None
        number = self._first + self.step
        feeds, targets = self.batches.batch(number)
        kept = self._answers
        with seeded(self.settings.seed, number), computing_on(self.network.device):
            wanted = self._targets(feeds, targets) if kept is None else kept[self.batches.chosen(number)]
            self.network.draw(strength, self.batches.task.layout.one_a_call)
            loss = self._loss(self._answer(feeds), wanted, targets)
            loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        norm = self._gradient_norm()
        if not math.isfinite(value) or not math.isfinite(norm):
            what = f"the loss is {value:g}, the norm of its gradient {norm:g}"
            if number == 0:  # before the learning rate had any effect
                raise ModelError(
                    f"at the first step of training {what}; look for samples that give such answers, or for an operator"
                    " whose gradient is not finite there, such as a square root of 0"
                )
            raise self.diverged(self.step + 1, what)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._share()
        self._optimizer.step()
        self._optimizer.zero_grad()  # as large as the weights, and not to be held while these are judged
        clip_weights(self.network)
        self.network.keep_ranges_positive()
        self.step += 1
        return value

    def _loss(self, output: Tensor, wanted: Tensor, targets: Array | None) -> Tensor:
        """Loss of an output; ``targets``: of the samples, which are class labels where these have a share."""
        share = self.settings.label_share
        if share == 0:
            return self.loss(output, wanted)
        return (1 - share) * self.loss(output, wanted) + share * self.label_loss(output, self._labels(targets))

    def _answer(self, feeds: Mapping[str, Array]) -> Tensor:
        return self._samples_first(self.network, feeds)

    def _samples_first(
        self, compute: Callable[[Mapping[str, Array], str], Tensor], feeds: Mapping[str, Array]
    ) -> Tensor:
        """The trained output with samples first: of one call, or of as many as there are samples."""
        layout, samples = self.batches.task.layout, count_samples(feeds)
        axis = layout.of_output(self.output)
        calls = cut(feeds, samples, 1 if layout.one_a_call else samples, False, layout)
        found = [compute(call, self.output) for _, call in calls]
        return torch.cat([one[None] if axis == CALL else one.movedim(axis, 0) for one in found])

    def _share(self) -> float:
        """Share of the starting rate that this step takes."""
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.horizon))
        warm_up = min(_WARM_UP, self.horizon // 10)
        if self.settings.optimizer == "sgd" or self.step >= warm_up:
            return cosine
        return cosine * (self.step + 1) / warm_up

    def _targets(self, feeds: Mapping[str, Array], targets: Array | None) -> Tensor:
        if self.settings.loss == "distillation":
            return self._samples_first(self.network.digital, feeds)
        return self._labels(targets)

    def _labels(self, targets: Array | None) -> Tensor:
        if targets is None:
            option = "--label-share" if self.settings.loss == "distillation" else f"--loss {self.settings.loss}"
            raise DataError(f"{option} needs labels and the training data has none (--label-key)")
        native = np.array(targets, targets.dtype.newbyteorder("="))  # torch takes no other order of bytes
        if native.dtype.kind == "u":
            native = native.astype(np.int64)  # torch compares no others
        return torch.from_numpy(native).to(self.network.device)

    @cached_property
    def _answers(self) -> Tensor | None:
        """The digital network's outputs for all samples, where every one of them is trained on more than once.

        They are those of samples in their own order, whenever a training begins or goes on. None where batches differ
        from the samples, or where outputs are large or do not count samples.
        """
        samples, size = self.batches.task, self.batches.size
        distils = self.settings.loss == "distillation" and self.batches.augment is None
        if not distils or self.horizon * size < 2 * len(samples):
            return None
        found: list[Tensor] = []
        for _, feeds in samples.blocks(size):
            found.append(self._targets(feeds, None))
            counts = found[-1].ndim > 0 and len(found[-1]) == count_samples(feeds)
            if not counts or found[0][:1].nbytes * len(samples) > _KEPT_ANSWERS:
                return None
        return torch.cat(found)

    def _gradient_norm(self) -> float:
        """Norm of the whole gradient; for SGD it is scaled down to `_GREATEST_NORM` where it is larger."""
        assert self._optimizer is not None
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        greatest = _GREATEST_NORM if self.settings.optimizer == "sgd" else math.inf
        return float(torch.nn.utils.clip_grad_norm_(parameters, greatest))

    def state(self) -> dict[str, object]:
        """State that `resume` needs besides the weights."""
        assert self._optimizer is not None
        return {
            "step": self.step,
            "first": self._first,
            "rates": self._rates,
            "optimizer": self._optimizer.state_dict(),
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, after `begin` and once the weights are loaded."""
        assert self._optimizer is not None
        self.step, self._first, self._rates = state["step"], state["first"], tuple(state["rates"])
        self._optimizer.load_state_dict(state["optimizer"])


def device_for(network: NoisyNetwork, feeds: Mapping[str, Array]) -> torch.device:
    """A GPU where torch has one and the whole network runs on it; else the CPU.

    Args:
        network: on the CPU, where it is again afterwards.
        feeds: a few samples.
    """
    if not torch.cuda.is_available():
        return CPU
    try:
        gpu = torch_device()
        network.to(gpu)
        with torch.no_grad():
            network(feeds, network.module.graph.outputs[0])
    except (ModelError, RuntimeError) as error:
        log.warning("training on the CPU, since the GPU cannot run the network: %s", error)
        return CPU
    finally:
        network.to(CPU)
    return gpu


@contextmanager
def seeded(seed: int, number: int) -> Iterator[None]:
    """Torch's generators seeded for one step; the caller's are restored."""
    devices = [torch.device("cuda", n) for n in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    with seeded_generator(devices) as reseed:
        reseed(int(np.random.SeedSequence((seed, 2, number)).generate_state(1, np.uint64)[0]))
        yield


@torch.no_grad()
def clip_weights(network: NoisyNetwork) -> None:
    """Clip weights of analog products to the hardware's number of standard deviations, where it has one."""
    for weight, sigma in network.clipped_weights():
        bound = sigma * weight.std()
        weight.clamp_(-bound, bound)
