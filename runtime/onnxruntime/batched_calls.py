"""Calls of a network in batches of samples, those that calibrate chips among them."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lhc.costs.crossings import held_elements
from lhc.graph import LayerGraph
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.programmed_matrix import Correction
from lhc.runtime.engines.protocol import Position
from lhc.runtime.onnxruntime.sessions import Array
from lhc.samples.sample_axis import SampleLayout
from lhc.samples.task import count_samples, cut

CALL_SAMPLES = 64
"""Most samples in one call of onnxruntime where the model does not fix the batch."""
CALL_BYTES = 2**28
"""Most bytes of the largest product's output in a call of more than one sample; several tensors are alive at a time."""
CALIBRATION_BYTES = 2**30
"""Most bytes that a calibration holds between two layers. Not the memory that the user gives: results do not depend on
that."""

MASK = "attention_mask"
"""Inputs whose names hold this are 0 at padding, as exporters of Hugging Face's transformers write them."""
PARITY_SAMPLES = 4
PARITY_BYTES = 2**28
"""Aimed size of what goes into and out of all products at once."""

Call = tuple[Mapping[str, Array], Position]
"""Feeds of one call of the network, and where they stand in the stream of samples."""


class Correcting(Protocol):
    """Finds the correction of a layer's outputs on one chip, call after call."""

    def add(self, feeds: Mapping[str, Array], activation: Array, output: Array) -> None:
        """Take what goes into the layer in a call with these feeds, and its output before its bias."""
        ...

    def found(self) -> Correction | None:
        """Correction found from all calls; None where there is none."""
        ...


def call_samples(graph: LayerGraph) -> int:
    """Samples in one call of a network: a power of two, fewer where its products are large."""
    matrices = [layer.matrix for layer in graph.candidates if layer.matrix is not None]
    largest = 4 * max((matrix.positions * matrix.groups * matrix.cols for matrix in matrices), default=0)
    fitting = max(CALL_BYTES // max(largest, 1), 1)
    return min(CALL_SAMPLES, 1 << (fitting.bit_length() - 1))


def parity_samples(graph: LayerGraph) -> int:
    """Samples on which two ways to compute a network are compared, product by product: fewer where these are large."""
    matrices = [layer.matrix for layer in graph.candidates if layer.matrix is not None]
    size = 2 * 4 * sum(matrix.positions * matrix.groups * matrix.cols for matrix in matrices)
    return min(PARITY_SAMPLES, max(1, PARITY_BYTES // max(size, 1)))


def calibration_count(graph: LayerGraph, compensation: Compensation) -> int:
    """Most samples that chips are calibrated on: as many as are asked for, fewer where their tensors are large.

    A calibration goes from layer to layer with all of its samples. At least one for every read.
    """
    fitting = CALIBRATION_BYTES // (4 * max(held_elements(graph), 1))
    return min(compensation.samples, max(fitting, compensation.reads))


def calibration_calls(
    inputs: Mapping[str, Array], reads: int, most: int, fixed: bool, layout: SampleLayout | None = None
) -> list[Call]:
    """Calls of the network with calibration samples, enough of them for every read to take part.

    Args:
        inputs: input name -> ``(samples, ...)``.
        reads: of a calibration.
        most: samples of a call.
        fixed: every call has as many; the last sample is repeated where there are fewer.
        layout: where the network has samples; on the first axis by default.
    """
    samples = count_samples(inputs)
    size = most if fixed else min(most, -(-samples // reads))
    calls = cut(inputs, samples, size, fixed, layout or SampleLayout())
    return [(feeds, Position(where.start, size if fixed else where.stop - where.start)) for where, feeds in calls]


def padding_masks(feeds: Mapping[str, Array], values: int) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks of the vectors that are no padding, by input; of inputs that say the same the first.

    Several, of an encoder and its decoder for example, leave open which of them a product's vectors are.
    """
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for name, mask in feeds.items():
        if MASK in name and mask.size == values:
            kept = mask != 0
            if not any(np.array_equal(kept, other) for other in found.values()):
                found[name] = kept
    return found
