"""Work on sensitivities from gradients: calibrate chips layer by layer, and weigh errors by gradients.

See `lhc.measure.sensitivity.fisher_prediction` for what is computed. Every layer is on tiles as if it alone were.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lhc.measure.evaluation_context import Block, WorkContext
from lhc.measure.sensitivity.hessian_directions import directions_at
from lhc.measure.work_unit import Scorer
from lhc.programmed_matrix import Correction
from lhc.runtime import HybridExecutor
from lhc.runtime.lazy_programming import lazily_programmed_chip
from lhc.runtime.onnxruntime.sessions import give_back_pool
from lhc.samples.metrics import Array

if TYPE_CHECKING:
    from lhc.runtime.gradients.effects_of_all_layers import LayerEffects

__all__ = [
    "CalibrateAlone",
    "Corrections",
    "WeighByGradients",
    "corrections_alone",
    "effects_of_columns",
    "network_of",
    "on_chips",
    "weighed",
]

Corrections = Mapping[str, Correction]
"""Of one chip, by layer."""


@dataclass(frozen=True)
class CalibrateAlone:
    """Find the corrections of every layer of some chips; it takes no samples but those that calibrate."""

    names: tuple[str, ...]
    draws: tuple[int, ...]
    t_s: float

    @property
    def shared(self) -> tuple[Hashable, Hashable]:
        """See `lhc.measure.work_unit.BlockWork`."""
        return "calibrate alone", self.draws

    def done(self, scorer: Scorer, block: Block) -> list[Array]:
        """Gains and offsets, chip after chip and layer after layer."""
        scorer.let_go()
        found = corrections_alone(scorer.context, self.names, self.draws, self.t_s)
        layers = _corrected(scorer.context, self.names)
        return [array for chip in found for name in layers for array in (chip[name].gain, chip[name].offset)]

    def corrections(self, context: WorkContext, arrays: Sequence[Array]) -> list[Corrections]:
        """Corrections by chip and layer, from `done`'s arrays."""
        layers = _corrected(context, self.names)
        pairs = iter([Correction(gain, offset) for gain, offset in zip(arrays[::2], arrays[1::2], strict=True)])
        return [{name: next(pairs) for name in layers} for _ in self.draws]


@dataclass(frozen=True, eq=False)
class WeighByGradients:
    """Sum the effects of layers over a block of samples.

    Attributes:
        chips: how many, from the first one.
        corrections: of each.
        aligned: layers that hold one sample after the other (`lhc.runtime.gradients.effects_of_all_layers`).
    """

    names: tuple[str, ...]
    chips: int
    t_s: float
    corrections: tuple[Corrections, ...]
    aligned: frozenset[str]

    @property
    def shared(self) -> tuple[Hashable, None]:
        """See `lhc.measure.work_unit.BlockWork`."""
        return ("gradients", self.names), None

    def done(self, scorer: Scorer, block: Block) -> list[Array]:
        """See `weighed`."""
        context = scorer.context
        network = scorer.held(
            (self.names, self.chips, self.t_s),
            lambda: on_chips(context, self.names, self.t_s, self.corrections, self.aligned),
        )
        return [weighed(network, context, self.names, block)]


def weighed(network: "LayerEffects", context: WorkContext, names: Sequence[str], block: Block) -> Array:
    """Effects by weights and by outputs, and whether the answer depends on the layer.

    Returns:
        ``(tied layers, 2 · chips + 1)``, sums over the block.
    """
    found = network.block(_feeds(context, block), block.samples, directions_at(context, block))
    effects = [found[group[0]] for group in context.graph.tied(names)]
    return np.array([[*one.weights, *one.outputs, one.reached] for one in effects], np.float64)


def corrections_alone(
    context: WorkContext, names: Sequence[str], draws: Sequence[int], t_s: float
) -> Sequence[Corrections]:
    """Corrections of every layer's outputs, on each chip; empty where chips are not calibrated."""
    if not context.calibrates:
        return [{}] * len(draws)
    from lhc.runtime.calibration.chip_outputs import calibrated_alone

    hardware = context.hardware
    return calibrated_alone(
        _executor(context, names),
        context.model,
        context.graph,
        hardware,
        context.seed,
        draws,
        hardware.compensation.calibrated_at(t_s),
        context.calibration_calls,
    )


def network_of(context: WorkContext, names: Sequence[str]) -> "LayerEffects":
    """The network with gradients at some layers, without programmed tiles."""
    from lhc.runtime.gradients.effects_of_all_layers import LayerEffects
    from lhc.runtime.torch_settings import device_of

    device = device_of(context.engine)
    axis = context.layout.of_output(context.output)
    return LayerEffects(context.model, context.graph, context.hardware, names, context.scored_tensor, device, axis)


def on_chips(
    context: WorkContext, names: Sequence[str], t_s: float, corrections: Sequence[Corrections], aligned: Collection[str]
) -> "LayerEffects":
    """Network with gradients, on the tiles of the first chips, as many as there are corrections."""
    executor, network = _executor(context, names), network_of(context, names)
    states = [lazily_programmed_chip(executor, context.hardware, context.seed, n, t_s) for n in range(len(corrections))]
    if context.is_large:
        give_back_pool()
    network.program(states, corrections, aligned)
    return network


def effects_of_columns(network: "LayerEffects", context: WorkContext, block: Block) -> Mapping[str, Array]:
    """Effect of every output of a layer by itself, over a block of samples."""
    return network.columns(_feeds(context, block), block.samples, directions_at(context, block))


def _feeds(context: WorkContext, block: Block) -> Mapping[str, Array]:
    """A block in one call; a fixed batch is filled up with the last sample."""
    ((_, feeds),) = block.calls(context.batch or block.samples, context.batch is not None)
    return feeds


def _executor(context: WorkContext, names: Sequence[str]) -> HybridExecutor:
    return HybridExecutor(
        context.model,
        context.graph,
        names,
        context.ranges,
        context.copies.alone(context.graph.tied(names)),
        context.engine,
        context.kept_reads,
        context.layout.inputs,
    )


def _corrected(context: WorkContext, names: Sequence[str]) -> list[str]:
    """Layers whose outputs are corrected."""
    return [name for name in names if context.hardware.for_layer(name).compensation.outputs != "none"]
