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
measurement, and output noise with the ADC's rounding by their variances: `lhc.runtime.differentiable_effects`. Where
chips are calibrated, d is what the correction of the layer alone leaves, on each chip with the samples and reads of a
measurement. All layers are given what the digital network gives them, so that this takes the products of one
calibration with all layers analog, and one run of the digital network for all chips (`calibrated_alone`).

What is left out: damage of third and higher order in the errors (also of noise that a ReLU cuts on one side),
saturation of the ADC with the repeated reads that follow it, and steps of the network itself whose gradient is zero
(rounding, comparisons). `lhc.study.rank` compares with a few measured layers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.measure.bench import Bench
from lhc.measure.counted import counted_positions
from lhc.onnx_io import static_batch
from lhc.plan import Sensitivity
from lhc.results import SensitivityTable
from lhc.runtime import HybridExecutor
from lhc.runtime.network_calls import parity_samples
from lhc.runtime.on_demand import chip_on_demand
from lhc.runtime.ort import check_digital, give_back_pool
from lhc.samples.class_axis import classes_last
from lhc.samples.metrics import Array
from lhc.samples.probabilities import LEAST_PROBABILITY, are_probabilities
from lhc.stats import CONFIDENCE, clipped, summarize
from lhc.store import Facts

if TYPE_CHECKING:
    from lhc.conductances import Correction, ProgrammedMatrix
    from lhc.runtime.differentiable_effects import Effects, LayerEffects

__all__ = [
    "DIRECTIONS",
    "METRICS",
    "FisherSensitivity",
    "Floats",
    "chunks",
    "column_damages",
    "fisher_sensitivity",
    "layer_effects",
    "output_directions",
    "programmed_chips",
    "with_gradients",
]

METRICS = ("kl", "nmse")
"""Metrics whose damage can be predicted."""
DIRECTIONS = 2
"""Directions at the output per sample. ResNet20, 256 images: figures of layers vary by 2.4 % from seed to seed; by 8 %
with four random ones, and by more with classes drawn from the output."""
ACTIVATION_BYTES = 2**28
"""Memory for activations and gradients of a block of samples."""
MOST_SAMPLES = 64
"""In a block."""
PIECE_VALUES = 2**21
"""Values of an output that directions are worked out of at once."""
FORMULA = 1
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
    bench: Bench,
    graph: LayerGraph,
    names: Sequence[str],
    confidence: float = CONFIDENCE,
) -> FisherSensitivity:
    """Predict the damage of every named layer when it alone is analog; layers that share their weights are one.

    Args:
        bench: samples, metric (``kl`` or ``nmse``), hardware, draws.
        graph: to find layers that share weights.

    Raises:
        UsageError: another metric.
        UnsupportedOperatorError: the network has operators without a gradient.
        ModelError: the output has no gradient, or one that is not finite.
        DataError: the digital network gives values that are not finite.
    """
    if bench.metric.name not in METRICS:
        raise UsageError(
            f"sensitivities are predicted in the metric {' or '.join(METRICS)}, not {bench.metric.name}; with --method"
            " measure they are measured in any"
        )
    effects: dict[str, Effects] = {}
    for chunk in chunks(graph, names, bench.draws, bench.setting.tile_bytes):
        effects.update(layer_effects(bench, graph, chunk))
    layers: dict[str, Sensitivity] = {}
    unreached: list[str] = []
    scale = 0.5 / (bench.samples * DIRECTIONS)
    for group in graph.tied(names):
        found = effects[group[0]]
        figure = _figure(bench, scale * found.weights, scale * found.outputs, confidence)
        layers.update(dict.fromkeys(group, figure))
        unreached += [] if found.reached else group
    table = SensitivityTable(
        metric=bench.metric.name,
        layers={name: layers[name] for name in names},
        samples=bench.samples,
        draws=bench.draws,
        seed=bench.seed,
        t_s=bench.t_s,
        confidence=confidence,
    )
    return FisherSensitivity(table, tuple(name for name in names if name in unreached))


def _figure(bench: Bench, by_weights: Floats, by_outputs: Floats, confidence: float) -> Sensitivity:
    """From the damage per chip; one stands for all where the hardware has no noise."""
    damage = by_weights + by_outputs
    found = summarize(np.repeat(damage, bench.draws // len(damage)), confidence)
    return Sensitivity(
        metric=bench.metric.name,
        mean=found.mean,
        std=found.std,
        interval=clipped(found.interval, bench.metric.least_damage(None), np.inf),
        draws=bench.draws,
        method="fisher",
        by_weights=float(by_weights.mean()),
        by_outputs=float(by_outputs.mean()),
    )


def column_damages(bench: Bench, graph: LayerGraph, names: Sequence[str]) -> dict[str, Floats]:
    """Damage of every column of a layer, ``(outputs,)``, by the first of the layers that share their weights.

    Arguments and errors as of `fisher_sensitivity`; the layers have one group each. Errors of columns are independent,
    so that their damages add up to the layer's, but for the DAC's, which all columns share and which is left out.
    """
    found: dict[str, Floats] = {}
    chips = bench.draws if bench.hardware.is_stochastic else 1
    for chunk in chunks(graph, names, chips, bench.setting.tile_bytes):
        network = _network(bench, graph, chunk, chips)
        for where, feeds in _blocks(bench, graph):
            bench.running.check_time()
            block = network.columns(feeds, where.stop - where.start, _towards(bench, where))
            found |= {name: found.get(name, 0.0) + effects for name, effects in block.items()}
            bench.progress("damage of columns by gradients", where.stop, bench.samples)
    return {name: 0.5 / (bench.samples * DIRECTIONS) * effects for name, effects in found.items()}


def output_directions(metric: str, output: Array, signs: Array) -> Floats:
    """Random directions v at an output with E[v vᵀ] the second derivative of the metric.

    Args:
        metric: ``kl`` or ``nmse``.
        output: digital, ``(samples, ...)``; for ``kl`` classes on the last axis, logits or probabilities.
        signs: ±1 at random, ``(directions, *output)``.

    Returns:
        ``(directions, *output)``; the mean over directions of v vᵀ has that expectation.
    """
    if metric == "nmse":
        values = output.astype(np.float64)
        energy = np.square(values.reshape(len(values), -1)).sum(axis=1)
        scale = np.sqrt(2 / np.where(energy > 0, energy, 1.0))
        scaled: Floats = signs * scale.reshape(-1, *[1] * (output.ndim - 1))
        return scaled
    shares = are_probabilities(output.astype(np.float64), output)
    rows, own = output.reshape(-1, output.shape[-1]), signs.reshape(len(signs), -1, output.shape[-1])
    found = np.empty(own.shape)
    for start in range(0, len(rows), step := max(1, PIECE_VALUES // output.shape[-1])):
        part = slice(start, start + step)
        found[:, part] = _at_positions(rows[part].astype(np.float64), own[:, part], shares)
    found /= np.sqrt(int(np.prod(output.shape[1:-1])))
    return found.reshape(signs.shape)


def _at_positions(values: Floats, signs: Array, shares: bool) -> Floats:
    """Directions of ``kl`` at some positions, ``(directions, positions, classes)``; ``shares``: values add up to 1."""
    if not shares:
        p = np.exp(values - values.max(axis=-1, keepdims=True))
        return _towards_classes(p / p.sum(axis=-1, keepdims=True), signs)
    # Directions at log p, and from there to p.
    p = np.maximum(values, LEAST_PROBABILITY)
    found: Floats = np.where(
        values > LEAST_PROBABILITY, _towards_classes(p / p.sum(axis=-1, keepdims=True), signs) / p, 0.0
    )
    return found


def _towards_classes(p: Floats, signs: Array) -> Floats:
    """Directions at logits, ``(directions, ..., classes)``; the first lies between the two likeliest classes."""
    w = np.sqrt(p) * signs
    w -= p * w.sum(axis=-1, keepdims=True)
    count = len(signs)
    if count < 2:
        return w
    u = np.zeros_like(p)
    likeliest = np.argpartition(p, -2, axis=-1)[..., -2:]
    np.put_along_axis(u, likeliest, np.array([1.0, -1.0]), axis=-1)
    curved = p * (u - (p * u).sum(axis=-1, keepdims=True))
    size = np.maximum((u * curved).sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    # Positions are told apart by a sign: what they do to one another cancels in the mean.
    first = curved / np.sqrt(size) * signs[:1, ..., :1]
    rest = w[1:] - curved * ((u * w[1:]).sum(axis=-1, keepdims=True) / size)
    directions: Floats = np.concatenate([first, rest / np.sqrt(count - 1)]) * np.sqrt(count)
    return directions


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


def layer_effects(
    bench: Bench, graph: LayerGraph, names: Sequence[str], network: "LayerEffects | None" = None
) -> "dict[str, Effects]":
    """Effects of these layers, summed over all samples, by the first of those that share tiles.

    ``network``: with the tiles of all draws; made where it is needed by default.
    """
    from lhc.runtime.differentiable_effects import Effects

    firsts = [group[0] for group in graph.tied(names)]
    chips = bench.draws if bench.hardware.is_stochastic else 1
    shared: Facts = {
        "fisher": FORMULA,
        **bench.kept.placed(names),
        "draws": chips,
        "t_s": bench.t_s,
        "directions": DIRECTIONS,
    }
    total = np.zeros((len(firsts), 2 * chips + 1))
    for where, feeds in _blocks(bench, graph):
        facts = bench.kept.samples(where)
        found = bench.kept.find(shared, facts)
        if found is None:
            bench.running.check_time()
            network = network or _network(bench, graph, names, chips)
            block = network.block(feeds, where.stop - where.start, _towards(bench, where))
            found = np.array([[*block[n].weights, *block[n].outputs, block[n].reached] for n in firsts], np.float64)
            bench.kept.keep(shared, facts, found)
        total += found
        bench.progress("sensitivity by gradients", where.stop, bench.samples)
    return {name: Effects(row[:chips], row[chips:-1], bool(row[-1])) for name, row in zip(firsts, total, strict=True)}


def _network(bench: Bench, graph: LayerGraph, names: Sequence[str], chips: int) -> "LayerEffects":
    """The network with gradients and programmed tiles."""
    network = with_gradients(bench, graph, names)
    programmed = programmed_chips(bench, graph, names, range(chips))
    if bench.setting.is_large:
        give_back_pool()
    network.program(*programmed)
    return network


def with_gradients(bench: Bench, graph: LayerGraph, names: Sequence[str]) -> "LayerEffects":
    """The network with gradients, once it is seen to compute what onnxruntime does."""
    from lhc.runtime.differentiable_effects import LayerEffects

    if bench.setting.is_large:  # sessions that only answer are large beside gradients
        bench.running.workers.forget()
    network = LayerEffects(bench.model, graph, bench.hardware, names, bench.output_name)
    fixed = static_batch(bench.model)
    network.check_parity(next(bench.blocks() if fixed else bench.task.blocks(parity_samples(graph)))[1])
    return network


def programmed_chips(
    bench: Bench, graph: LayerGraph, names: Sequence[str], draws: Sequence[int]
) -> "tuple[Sequence[Mapping[str, ProgrammedMatrix]], Sequence[Mapping[str, Correction]]]":
    """What the tiles of every chip hold, and what its outputs are corrected by, each layer as if it alone were analog.

    Tiles are programmed whenever they are asked for.

    Args:
        bench: hardware, copies, calibration samples.
        names: of those on tiles.
    """
    alone = (bench.copies.of(group) for group in graph.tied(names))
    copies = {name: count for found in alone for name, count in found.items()}
    executor = HybridExecutor(bench.model, graph, names, bench.ranges, copies)
    states = [chip_on_demand(executor, bench.hardware, bench.seed, draw, bench.t_s) for draw in draws]
    if not bench.setting.calibrates:
        return states, [{}] * len(draws)
    from lhc.runtime.chip_calibration import calibrated_alone

    t_s = bench.hardware.compensation.calibrated_at(bench.t_s)
    calls = bench.setting.calibration_calls
    return states, calibrated_alone(executor, bench.model, graph, bench.hardware, bench.seed, draws, t_s, calls)


def _towards(bench: Bench, where: slice) -> Callable[[Array], Array]:
    """Directions at the output of some samples; each sample's are its own, whatever block it is in."""

    def towards(output: Array) -> Array:
        check_digital(output, bench.output_name)
        seeds = (np.random.SeedSequence(bench.seed, spawn_key=(0, sample)) for sample in range(where.start, where.stop))
        axis = bench.setting.class_axis
        laid_out = classes_last(output, axis)
        shape = (DIRECTIONS, *laid_out.shape[1:])
        drawn = [np.random.default_rng(seed).integers(0, 2, shape).astype(np.int8) for seed in seeds]
        signs = np.stack(drawn, axis=1) * np.int8(2) - np.int8(1)
        targets = bench.task.targets
        counted = counted_positions(laid_out, None if targets is None else targets[where])
        if counted is None:
            found = output_directions(bench.metric.name, laid_out, signs)
        else:
            found = _where_counted(bench.metric.name, laid_out, signs, counted)
        return found if axis is None else np.ascontiguousarray(np.moveaxis(found, -1, axis + 1))

    return towards


def _where_counted(metric: str, output: Array, signs: Array, counted: npt.NDArray[np.bool_]) -> Floats:
    """`output_directions` where some positions of a sample do not count: 0 there, more at the others."""
    left = counted[..., None]
    found = output_directions(metric, np.where(left, output, 0), signs) * left
    if metric == "kl":
        positions = counted.reshape(len(counted), -1)
        shares = positions.mean(axis=1).reshape(-1, *[1] * (output.ndim - 1))
        found /= np.sqrt(shares)
    return found


def _blocks(bench: Bench, graph: LayerGraph) -> Iterator[tuple[slice, Mapping[str, Array]]]:
    """Blocks of samples whose activations and gradients fit in memory, or of the batch that the model fixes."""
    if static_batch(bench.model):
        yield from bench.blocks()
        return
    yield from bench.task.blocks(_block_samples(graph))


def _block_samples(graph: LayerGraph) -> int:
    """Samples whose activations and gradients fit in memory."""
    matrices = [layer.matrix for layer in graph.candidates if layer.matrix is not None]
    values = sum(matrix.positions * matrix.cols * matrix.groups for matrix in matrices)
    size = ACTIVATION_BYTES // (4 * (DIRECTIONS + 4) * max(values, 1))
    return min(max(size, 1), MOST_SAMPLES)
