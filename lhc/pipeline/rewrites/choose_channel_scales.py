"""Move outliers of activations into weights, as far as the noise of the tiles themselves says that it helps.

A tile measures an input vector against its greatest value, so a few large channels leave little for the others. As in
SmoothQuant (Xiao et al., ICML 2023), channel j is divided by ``s_j = r_j^a / w_j^(1-a)`` and its weights are multiplied
by it: r_j is the root mean square of the channel, each vector in units of its own, and w_j that of its weights, each
matrix likewise. Of some exponents a, and no scaling at all, that one is taken with which the products on emulated tiles
of the hardware have the least error. Factors are rounded to powers of two (`lhc.onnx_io.rewrites.channel_scales` says
why).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from lhc.errors import ModelError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io import Constants, static_batch
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_io.rewrites.channel_scales import ScalableInput, scaled_channels
from lhc.onnx_io.write import Store
from lhc.onnx_model import OnnxModel, without_annotations
from lhc.options.shared import Progress
from lhc.pipeline.rewrites.rewritten_network import RewrittenModel
from lhc.runtime import observe_tensors
from lhc.runtime.onnxruntime.sessions import check_digital, create_session, relative_error, run_session
from lhc.samples.metrics import IGNORED, Array
from lhc.samples.task import Task, count_samples, cut
from lhc.support.number_formatting import counted
from lhc.support.tables import Table

EXPONENTS = (0.25, 0.5, 0.75)
VECTORS = 512
"""Half of them choose the exponents, the others show what that brings."""
VECTORS_A_CALL = 64
WORTH = 0.95
"""An input is scaled where that takes its error below this share."""
ROUNDING = 1e-9
"""Errors that are none of the tiles."""
_FARTHEST = 12
"""Greatest binary exponent of a factor."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SmoothedInput:
    """The input of one or more products.

    Attributes:
        exponent: how much of the spread of its channels went into the weights; None: nothing was scaled.
        before: squared error of the products on tiles as a share of their square, mean over vectors and products.
        after: the same with scaled channels; on other vectors than those that chose the exponent, as ``before``.
    """

    tensor: str
    products: tuple[str, ...]
    exponent: float | None
    before: float
    after: float


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SmoothedModel(RewrittenModel):
    """A network with scaled channels, which computes what it did before.

    Attributes:
        inputs: what was scaled, and what was not.
        samples: how many of the first ones that rests on; at most as many as give `VECTORS` vectors of every input.
        difference: greatest one of all answers to the first samples, as a share of the greatest answer; 0 where they
            are the same bit for bit.
    """

    inputs: tuple[SmoothedInput, ...]
    samples: int
    difference: float

    @property
    def legend(self) -> str:
        """Legend of the table's columns."""
        return (
            "exponent: how much of the spread of an input's channels went into the weights, 0 none, 1 all; -: left as"
            " it was, since tiles gain nothing by it\nerror: of products that read it, on tiles, squared, as a share of"
            f" their square, on vectors of {counted(self.samples, 'sample')} that did not choose the exponent"
        )

    @property
    def summary(self) -> str:
        """Number of inputs that were scaled, and the errors of their products."""
        scaled = [one for one in self.inputs if one.exponent is not None]
        if not scaled:
            gain = f"no products on tiles of {self.hardware.name} gain by it; the network is written as it was"
            return f"0 of {len(self.inputs)} inputs scaled: {gain}"
        before, after = (float(np.mean(values)) for values in zip(*((o.before, o.after) for o in scaled), strict=True))
        same = (
            "the same bit for bit" if self.difference == 0 else f"the same within {self.difference:.2g} of the greatest"
        )
        return (
            f"{len(scaled)} of {len(self.inputs)} inputs scaled; mean error of their products on tiles of"
            f" {self.hardware.name}, before any calibration: {before:.3g} -> {after:.3g};"
            f" digital answers to the first samples: {same}"
        )

    def as_table(self) -> Table:
        """One row an input."""
        rows = []
        for one in self.inputs:
            exponent = "-" if one.exponent is None else f"{one.exponent:g}"
            rows.append([one.tensor, str(len(one.products)), exponent, f"{one.before:.3g}", f"{one.after:.3g}"])
        headers = ("input", "products that read it", "exponent", "error as it was", "error scaled")
        return Table(headers, rows, right=(1, 2, 3, 4))


@dataclass(frozen=True, eq=False)
class Chosen:
    """Scaling of the channels of one input.

    Attributes:
        told: exponent and errors.
        factors: ``(channels,)``, powers of two; None where nothing is scaled.
    """

    told: SmoothedInput
    factors: Floats | None


def input_vectors(
    model: OnnxModel, tensors: Sequence[str], task: Task, progress: Progress
) -> tuple[Mapping[str, Floats], int]:
    """Vectors of some tensors, ``(vectors, channels)``, without those that do not count, and of how many first samples.

    Args:
        tensors: with channels on their last axis.

    Raises:
        DataError: the network does not run on these samples, or such a tensor is NaN or infinite.
    """
    samples = 0
    seen: dict[str, list[Floats]] = {tensor: [] for tensor in tensors}
    for feeds, counts, taken in _calls(model, task):
        inner = [tensor for tensor in tensors if tensor not in feeds]
        found = dict(feeds) | observe_tensors(model, inner, feeds)
        for tensor, vectors in seen.items():
            check_digital(found[tensor], tensor)
            vectors.append(_some(found[tensor].astype(np.float32), counts))
        samples += taken
        least = min(sum(map(len, vectors)) for vectors in seen.values())
        progress("reading samples", min(least, VECTORS), VECTORS)
        if least >= VECTORS:
            break
    return {tensor: np.concatenate(vectors) for tensor, vectors in seen.items()}, samples


def _calls(model: OnnxModel, task: Task) -> Iterator[tuple[Mapping[str, Array], Array | None, int]]:
    """Feeds of a call, which positions count, where the targets say that of some, and how many samples it takes."""
    batch = 1 if task.layout.one_a_call else static_batch(model, task.layout.inputs)
    inputs, targets = task.read(0, min(len(task), VECTORS))
    samples = count_samples(inputs)
    for where, feeds in cut(inputs, samples, batch or 1, batch is not None, task.layout):
        own = None if targets is None or targets.dtype.kind not in "iu" or targets.ndim < 2 else targets[where]
        yield feeds, None if own is None else np.not_equal(own, IGNORED), batch or where.stop - where.start


def _some(activation: Array, counted: Array | None) -> Floats:
    """Vectors of a call, evenly spread over those that count."""
    vectors = activation.reshape(-1, activation.shape[-1])
    if counted is not None and activation.shape[:-1] == counted.shape:
        vectors = vectors[counted.reshape(-1)]
    vectors = vectors[np.square(vectors).any(axis=1)]  # a product of less than 1e-23 is no number of float32
    kept: Floats = vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), VECTORS_A_CALL)).round().astype(int)]
    return kept


def chosen_factors(
    model: OnnxModel, graph: LayerGraph, one: ScalableInput, vectors: Floats, hardware: Hardware, seed: int, t_s: float
) -> Chosen:
    """Scaling of the channels of an input for some hardware.

    Args:
        vectors: of it, ``(vectors, channels)``: the first half chooses, the second half judges; one does both.
        t_s: seconds after the first read.

    Raises:
        ModelError: a product reads another number of channels than its input has.
    """
    from lhc.runtime.tiles.mvm_error import mvm_error  # loads PyTorch

    constants, nodes = Constants(model.proto.graph), {node.name: node for node in model.proto.graph.node}
    matrices: dict[str, Floats] = {}
    for name in one.products:
        weight = graph[name].weight
        assert weight is not None
        stored = Product.of_layer(nodes[name], graph[name]).matrix(constants.value(weight.name))
        if stored.shape[1] != vectors.shape[1]:
            raise ModelError(
                f"{model.label}: {name} reads {stored.shape[1]} channels, and its input {one.tensor} has"
                f" {vectors.shape[1]}"
            )
        matrices[name] = stored.astype(np.float32)

    def error(x: Floats, factors: Floats | None) -> float:
        s = np.ones(one.channels, np.float32) if factors is None else factors
        errors = []
        for name, matrix in matrices.items():
            weight = graph[name].weight
            assert weight is not None
            machine = hardware.for_layer(name)
            errors.append(mvm_error(matrix * s, x / s, machine, weight.devices, seed, t_s))
        return float(np.mean(errors))

    if not len(vectors):  # zeros alone, whose products are exact
        return Chosen(SmoothedInput(one.tensor, one.products, None, 0.0, 0.0), None)
    half = max(1, len(vectors) // 2)
    choose, judge = vectors[:half], vectors[half:] if len(vectors) > 1 else vectors
    ways: dict[float | None, Floats | None] = {None: None}
    ways |= {exponent: _factors(choose, list(matrices.values()), exponent) for exponent in EXPONENTS}
    errors = {exponent: error(choose, factors) for exponent, factors in ways.items()}
    best = min(errors, key=lambda exponent: errors[exponent])
    if errors[None] < ROUNDING or errors[best] > WORTH * errors[None]:
        best = None
    before = error(judge, None)
    after = before if best is None else error(judge, ways[best])
    return Chosen(SmoothedInput(one.tensor, one.products, best, before, after), ways[best])


def _factors(x: Floats, matrices: Sequence[Floats], exponent: float) -> Floats:
    """Powers of two, ``(channels,)``; 1 for channels that are always zero or meet no weight."""
    channels = _spread(x / np.sqrt(np.square(x, dtype=np.float64).mean(axis=1, keepdims=True)))
    weights = _spread(np.concatenate([matrix / (np.sqrt(np.square(matrix).mean()) or 1.0) for matrix in matrices]))
    used = (channels > 0) & (weights > 0)
    powers = np.zeros(len(used))
    powers[used] = exponent * np.log2(channels[used]) - (1 - exponent) * np.log2(weights[used])
    powers[used] -= np.median(powers[used]) if used.any() else 0.0
    factors: Floats = np.exp2(powers.round().clip(-_FARTHEST, _FARTHEST)).astype(np.float32)
    return factors


def _spread(rows: Floats) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.sqrt(np.square(rows, dtype=np.float64).mean(axis=0))
    return found


def smoothed_model(
    model: OnnxModel, graph: LayerGraph, inputs: Sequence[ScalableInput], chosen: Sequence[Chosen], store: Store
) -> OnnxModel:
    """The network with scaled channels, without annotations: these were for other weights.

    Raises:
        ModelError: numbers leave the range of their type.
    """
    factors = {one.told.tensor: one.factors for one in chosen if one.factors is not None}

    def checked(name: str, values: Array) -> onnx.TensorProto:
        if not np.isfinite(values).all():
            raise ModelError(f"{model.label}: scaled, {name!r} leaves the range of {values.dtype}")
        return store(name, values)

    proto = without_annotations(scaled_channels(model, graph, inputs, factors, checked))
    return OnnxModel(proto, None, (), model.label, model.complaint, held=model.held)


def greatest_difference(one: OnnxModel, other: OnnxModel, task: Task) -> float:
    """Greatest difference of two networks' answers to the first samples, as a share of the greatest answer.

    Raises:
        DataError: those of the first are NaN or infinite.
        ModelError: only those of the other are.
    """
    feeds, _, _ = next(_calls(one, task))
    names = [value.name for value in one.proto.graph.output]
    found, expected = (
        run_session(create_session(model.as_file(), model.label), names, feeds, model.label) for model in (other, one)
    )
    for name, exact, ours in zip(names, expected, found, strict=True):
        check_digital(exact, name)
        if ours.dtype.kind == "f" and not np.isfinite(ours).all():
            raise ModelError(f"{one.label}: with scaled channels it gives NaN or infinite values in {name!r}")
    return max(relative_error(*pair) for pair in zip(found, expected, strict=True))
