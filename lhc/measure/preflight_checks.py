"""Preflight checks: noise-free tiles, gradients and copies of weights compared with the network.

Workers do that too, so that a process that has others compute need not load PyTorch.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lhc.measure.evaluation_context import Block, WorkContext
from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.sensitivity.gradient_worker import network_of
from lhc.measure.work_unit import Scorer
from lhc.runtime import parity_errors
from lhc.samples.metrics import Array

__all__ = ["CheckCopied", "CheckGradients", "CheckTiles", "MeasureSums", "tile_errors"]


@dataclass(frozen=True)
class CheckTiles:
    """Find how far layers on tiles without noise are from the network."""

    names: tuple[str, ...]

    @property
    def shared(self) -> tuple[Hashable, None]:
        """See `lhc.measure.work_unit.BlockWork`."""
        return ("check tiles", self.names), None

    def done(self, scorer: Scorer, block: Block) -> list[Array]:
        """Errors, ``(names,)``: see `lhc.runtime.noise_free_parity`."""
        context = scorer.context
        samples, feeds = _calls(context, block)[0]
        errors = parity_errors(context.model, context.graph, context.hardware, self.names, feeds, samples)
        return [np.array([errors[name] for name in self.names])]


@dataclass(frozen=True)
class CheckGradients:
    """See that the network with gradients at some layers computes what onnxruntime does.

    Attributes:
        samples: whose answers are compared.
        some: those that are propagated back.
    """

    names: tuple[str, ...]
    samples: int
    some: int

    @property
    def shared(self) -> tuple[Hashable, None]:
        """See `lhc.measure.work_unit.BlockWork`."""
        return ("check gradients", self.names), None

    def done(self, scorer: Scorer, block: Block) -> list[Array]:
        """Layers that hold one sample after the other (`lhc.runtime.gradients.effects_of_all_layers`), ``(names,)``."""
        context = scorer.context
        network = scorer.held(self, lambda: network_of(context, self.names))
        network.check_parity(_first(context, block, self.samples))
        real = min(block.samples, context.batch or self.some)
        aligned = network.aligned(_first(context, block, self.some), real)
        scorer.let_go()
        return [np.array([name in aligned for name in self.names])]


@dataclass(frozen=True)
class MeasureSums:
    """Find how great sums in the columns of layers are: `lhc.runtime.calibration.converter_ranges.calibrate_sums`."""

    names: tuple[str, ...]
    t_s: float

    @property
    def shared(self) -> tuple[Hashable, None]:
        """See `lhc.measure.work_unit.BlockWork`."""
        return ("sums", self.names), None

    def done(self, scorer: Scorer, block: Block) -> list[Array]:
        """``(names, quantiles)``."""
        from lhc.runtime.calibration.converter_ranges import calibrate_sums

        of, calls = scorer.context, _calls(scorer.context, block)
        found = calibrate_sums(of.model, of.graph, of.hardware, self.names, calls, of.ranges, self.t_s)
        return [np.array([found[name] for name in self.names])]


@dataclass(frozen=True)
class CheckCopied:
    """Find the errors of products on tiles with so many copies of weights: `lhc.runtime.operators.product_errors`.

    Attributes:
        copies: layer and number.
        chips: how many, the first ones.
    """

    copies: tuple[tuple[str, int], ...]
    t_s: float
    chips: int

    @property
    def shared(self) -> tuple[Hashable, None]:
        """See `lhc.measure.work_unit.BlockWork`."""
        return ("copies", self.copies), None

    def done(self, scorer: Scorer, block: Block) -> list[Array]:
        """``(layers,)``."""
        from lhc.runtime.operators.product_errors import product_errors

        of, calls, copies = scorer.context, _calls(scorer.context, block), dict(self.copies)
        found = product_errors(of.model, of.graph, of.hardware, copies, calls, of.ranges, self.t_s, self.chips, of.seed)
        return [np.array([found[name] for name in copies])]


def tile_errors(evaluator: PlacementEvaluator, names: Sequence[str], samples: int) -> dict[str, float]:
    """Error of each named layer on tiles without noise, relative to its output's greatest magnitude.

    Args:
        samples: how many of the first ones it is found on.

    Raises:
        ModelError: a layer cannot be analog.
        DataError: the model does not run on these samples.
    """
    return dict(zip(names, evaluator.checked(CheckTiles(tuple(names)), samples).tolist(), strict=True))


def _calls(context: WorkContext, block: Block) -> list[tuple[int, Mapping[str, Array]]]:
    """Feeds of the calls, and their number of samples."""
    calls = block.calls(context.call_samples, context.batch is not None)
    return [(context.taken(where), feeds) for where, feeds in calls]


def _first(context: WorkContext, block: Block, samples: int) -> Mapping[str, Array]:
    """Feeds for the first samples; a fixed batch is filled up with the last one."""
    return next(block.calls(context.batch or samples, context.batch is not None))[1]
