"""Sensitivities of all layers from a few backward passes, instead of one run of the network per layer and draw.

To second order, an error d of a layer's output does the damage ½ dᵀ Jᵀ H J d to one sample: J is the Jacobian of the
scored output with respect to the layer's, H the second derivative of the metric at the digital output. With random
directions v at the output, E[v vᵀ] = H, and g = Jᵀ v from one backward pass for all layers,

    damage = ½ E_v (Σ g·d)²

- ``kl`` (T positions of C classes, probabilities p): H = (diag p - p pᵀ) / T at each position, the Fisher information
  of the logits (Amari, Natural gradient works efficiently in learning, 1998). With random signs s, w = √p s - p Σ √p s
  has E[w wᵀ] = diag p - p pᵀ, as ∇ log p(y) has at classes y drawn from p, but a smaller spread: no rare class weighs
  much. Most of H lies between the two likeliest classes, u = e_1 - e_2. That part, H u uᵀ H / uᵀ H u, gets a direction
  of its own without chance, H u / √(uᵀ H u); random directions are left the rest, w - H u (uᵀ w) / (uᵀ H u).
- ``nmse``: H = 2 / energy of the digital output (Gauss-Newton); v = s √(2 / energy).

Errors d are those of programmed weights (with compensation) and of the DAC, per draw on the same chips as a
measurement, and output noise with the ADC's rounding by their variances: `lhc.runtime.gradients.effects_of_all_layers`.
Where chips are calibrated, d is what the correction of the layer alone leaves, on each chip with the samples and reads
of a measurement. All layers are given what the digital network gives them, so that this takes the products of one
calibration with all layers analog, and one run of the digital network for all chips (`calibrated_alone`).

What is left out: damage of third and higher order in the errors (also of noise that a ReLU cuts on one side),
saturation of the ADC with the repeated reads that follow it, and steps of the network itself whose gradient is zero
(rounding, comparisons). `lhc.pipeline.steps.rank` compares with a few measured layers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
import numpy.typing as npt

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.preflight_checks import CheckGradients
from lhc.measure.sensitivity.gradient_worker import (
    CalibrateAlone,
    Corrections,
    WeighByGradients,
    corrections_alone,
    effects_of_columns,
    on_chips,
)
from lhc.measure.sensitivity.hessian_directions import DIRECTIONS
from lhc.measure.work_unit import job_groups
from lhc.plan import Sensitivity
from lhc.results import SensitivityTable
from lhc.runtime.gradients.first_order_effect import Effects
from lhc.runtime.onnxruntime.batched_calls import parity_samples
from lhc.samples.metrics import Array
from lhc.stats import CONFIDENCE, clipped, summarize
from lhc.store import Facts

__all__ = [
    "METRICS",
    "FisherSensitivity",
    "Floats",
    "check_gradients",
    "chunks",
    "column_damages",
    "fisher_sensitivity",
    "gradient_blocks",
    "predictions_kept",
]

METRICS = ("kl", "nmse")
"""Metrics whose damage can be predicted."""
ACTIVATION_BYTES = 2**28
"""Memory for activations and gradients of a block of samples."""
MOST_SAMPLES = 64
"""In a block."""
FORMULA = 2
"""Raised whenever the same inputs give other figures; predictions that were kept are then made again."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FisherSensitivity:
    """Predicted sensitivities and what they come from.

    Attributes:
        table: as measured ones are given; intervals are over draws, the spread over directions is not in them.
        unreached: layers at which the gradient is zero on all samples: either the answer does not depend on them, or
            the network rounds or compares behind them.
    """

    table: SensitivityTable
    unreached: tuple[str, ...]


def fisher_sensitivity(
    evaluator: PlacementEvaluator,
    graph: LayerGraph,
    names: Sequence[str],
    confidence: float = CONFIDENCE,
) -> FisherSensitivity:
    """Predict the damage of every named layer when it alone is analog; layers that share their weights are one.

    Args:
        evaluator: samples, metric (``kl`` or ``nmse``), hardware, draws.
        graph: to find layers that share weights.

    Raises:
        UsageError: another metric.
        UnsupportedOperatorError: the network has operators without a gradient.
        ModelError: the output has no gradient, or one that is not finite.
        DataError: the digital network gives values that are not finite.
    """
    if evaluator.metric.name not in METRICS:
        raise UsageError(
            f"sensitivities are predicted in the metric {' or '.join(METRICS)}, not {evaluator.metric.name};"
            " with --method measure they are measured in any"
        )
    effects: dict[str, Effects] = {}
    for chunk in chunks(graph, names, evaluator.draws, evaluator.context.tile_bytes):
        effects.update(_layer_effects(evaluator, chunk))
    layers: dict[str, Sensitivity] = {}
    unreached: list[str] = []
    scale = 0.5 / (evaluator.samples * DIRECTIONS)
    for group in graph.tied(names):
        found = effects[group[0]]
        figure = _figure(evaluator, scale * found.weights, scale * found.outputs, confidence)
        layers.update(dict.fromkeys(group, figure))
        unreached += [] if found.reached else group
    table = SensitivityTable(
        metric=evaluator.metric.name,
        layers={name: layers[name] for name in names},
        samples=evaluator.samples,
        draws=evaluator.draws,
        seed=evaluator.seed,
        t_s=evaluator.t_s,
        confidence=confidence,
    )
    return FisherSensitivity(table, tuple(name for name in names if name in unreached))


def _figure(evaluator: PlacementEvaluator, by_weights: Floats, by_outputs: Floats, confidence: float) -> Sensitivity:
    """Sensitivity from the damage per chip; one chip stands for all where the hardware has no noise."""
    damage = by_weights + by_outputs
    found = summarize(np.repeat(damage, evaluator.draws // len(damage)), confidence)
    return Sensitivity(
        metric=evaluator.metric.name,
        mean=found.mean,
        std=found.std,
        interval=clipped(found.interval, 0.0, np.inf),
        draws=evaluator.draws,
        method="fisher",
        by_weights=float(by_weights.mean()),
        by_outputs=float(by_outputs.mean()),
    )


def column_damages(evaluator: PlacementEvaluator, graph: LayerGraph, names: Sequence[str]) -> dict[str, Floats]:
    """Damage of every column of a layer, ``(outputs,)``, by the first of the layers that share their weights.

    Arguments as of `fisher_sensitivity`; the layers have one group each, and the metric is kl or nmse. Errors of
    columns are independent, so that their damages add up to the layer's, but for the DAC's, which all columns share and
    which is left out.
    """
    found: dict[str, Floats] = {}
    chips = evaluator.draws if evaluator.hardware.is_stochastic else 1
    for chunk in chunks(graph, names, chips, evaluator.context.tile_bytes):
        aligned = check_gradients(evaluator, chunk)
        corrections = corrections_alone(evaluator.context, chunk, range(chips), evaluator.t_s)
        network = on_chips(evaluator.context, chunk, evaluator.t_s, corrections, aligned)
        for where in gradient_blocks(evaluator):
            evaluator.running.check_time()
            block = effects_of_columns(network, evaluator.context, evaluator.block(where))
            found |= {name: found.get(name, 0.0) + effects for name, effects in block.items()}
            evaluator.progress("damage of columns by gradients", where.stop, evaluator.samples)
    return {name: 0.5 / (evaluator.samples * DIRECTIONS) * effects for name, effects in found.items()}


def chunks(graph: LayerGraph, names: Sequence[str], states: int, memory: int) -> Iterator[list[str]]:
    """Layers of which so many states of the tiles, and the gradients, fit in this memory together.

    Those that share tiles stay together.
    """
    gradients = DIRECTIONS * _block_samples(graph)
    chunk: list[str] = []
    held = 0
    for group in graph.tied(names):
        matrices = [matrix for name in group if (matrix := graph[name].matrix) is not None]
        values = sum(matrix.positions * matrix.cols * matrix.groups for matrix in matrices)
        size = 4 * ((states + 1) * (matrices[0].parameters if matrices else 0) + gradients * values)
        if chunk and held + size > memory:
            yield chunk
            chunk, held = [], 0
        chunk += group
        held += size
    if chunk:
        yield chunk


def predictions_kept(evaluator: PlacementEvaluator, names: Sequence[str]) -> bool:
    """Whether the cache holds all that `fisher_sensitivity` computes of these layers."""
    work = chunks(evaluator.graph, names, evaluator.draws, evaluator.context.tile_bytes)
    return all(array is not None for chunk in work for array in _kept(evaluator, chunk)[1].values())


def _kept(evaluator: PlacementEvaluator, names: Sequence[str]) -> tuple[Facts, dict[int, Array | None]]:
    """Under what sums of effects are kept, and those that are, by the first sample of their block."""
    shared: Facts = {
        "fisher": FORMULA,
        **evaluator.kept.placed(names),
        "copies": dict(evaluator.copies.alone(evaluator.graph.tied(names))),
        "draws": evaluator.draws if evaluator.hardware.is_stochastic else 1,
        "t_s": evaluator.t_s,
        "directions": DIRECTIONS,
    }
    blocks = gradient_blocks(evaluator)
    return shared, {where.start: evaluator.kept.find(shared, evaluator.kept.samples(where)) for where in blocks}


def _layer_effects(evaluator: PlacementEvaluator, names: Sequence[str]) -> "dict[str, Effects]":
    """Effects of these layers, summed over all samples, by the first of those that share tiles."""
    firsts = [group[0] for group in evaluator.graph.tied(names)]
    chips = evaluator.draws if evaluator.hardware.is_stochastic else 1
    places = list(gradient_blocks(evaluator))
    shared, kept = _kept(evaluator, names)
    found = {start: array for start, array in kept.items() if array is not None}
    todo = [where for where in places if where.start not in found]
    done = evaluator.samples - sum(where.stop - where.start for where in todo)
    for number, array in _weighed(evaluator, names, chips, todo):
        where = todo[number]
        found[where.start] = array
        evaluator.kept.keep(shared, evaluator.kept.samples(where), array)
        done += where.stop - where.start
        evaluator.progress("sensitivity by gradients", done, evaluator.samples)
    total = np.zeros((len(firsts), 2 * chips + 1))
    for where in places:
        total += found[where.start]
    return {name: Effects(row[:chips], row[chips:-1], bool(row[-1])) for name, row in zip(firsts, total, strict=True)}


def _weighed(
    evaluator: PlacementEvaluator, names: Sequence[str], chips: int, todo: Sequence[slice]
) -> Iterator[tuple[int, Array]]:
    """Sums over these blocks as they come, each with its number: `WeighByGradients`."""
    if not todo:
        return
    aligned = check_gradients(evaluator, names)
    run, context, count = evaluator.running.workers.run, evaluator.context, evaluator.running.workers.count
    corrections: tuple[Corrections, ...] = ({},) * chips
    if context.calibrates:
        groups = job_groups(range(chips), -(-chips // count))
        work = [CalibrateAlone(tuple(names), group, evaluator.t_s) for group in groups]
        calibrated = dict(run(context, [evaluator.unit(one) for one in work]))
        corrections = tuple(c for n, one in enumerate(work) for c in one.corrections(context, calibrated[n]))
    weigh = WeighByGradients(tuple(names), chips, evaluator.t_s, corrections, aligned)
    for number, (array,) in run(context, [evaluator.unit(weigh, where) for where in todo]):
        yield number, array


def check_gradients(evaluator: PlacementEvaluator, names: Sequence[str]) -> frozenset[str]:
    """See that the network with gradients computes what onnxruntime does.

    Returns:
        Layers that hold one sample after the other (`lhc.runtime.gradients.effects_of_all_layers`).

    Raises:
        ModelError: it does not, or cannot be differentiated.
    """
    if evaluator.context.is_large:  # sessions that only answer are large beside gradients
        evaluator.running.workers.forget()
    sizes = (
        parity_samples(evaluator.graph),
        min(2, _block_samples(evaluator.graph)),
    )  # gradients of more may not fit in memory
    aligned = evaluator.checked(CheckGradients(tuple(names), *sizes), evaluator.context.batch or max(sizes))
    return frozenset(compress(names, aligned))


def gradient_blocks(evaluator: PlacementEvaluator) -> Iterator[slice]:
    """Blocks of samples whose activations and gradients fit in memory, or of the batch that the model fixes."""
    size = evaluator.context.batch or _block_samples(evaluator.graph)
    for start in range(0, evaluator.samples, size):
        yield slice(start, min(start + size, evaluator.samples))


def _block_samples(graph: LayerGraph) -> int:
    """Samples whose activations and gradients fit in memory."""
    matrices = [layer.matrix for layer in graph.candidates if layer.matrix is not None]
    values = sum(matrix.positions * matrix.cols * matrix.groups for matrix in matrices)
    size = ACTIVATION_BYTES // (4 * (DIRECTIONS + 4) * max(values, 1))
    return min(max(size, 1), MOST_SAMPLES)
