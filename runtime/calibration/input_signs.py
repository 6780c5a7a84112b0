"""Layers with unsigned inputs (none below 0 on data), which some DACs drive in another code."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from lhc.graph import LayerGraph
from lhc.onnx_model import OnnxModel
from lhc.runtime.calibration.converter_ranges import recorded
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.onnxruntime.sessions import Array
from lhc.runtime.operators.analog_layers import AnalogLayer
from lhc.runtime.operators.fixed_size_batches import ProductsByUnit
from lhc.runtime.sample_position import Unit

__all__ = ["calibrate_signs"]


class _SignRecorder(ProductsByUnit):
    """Stands in for the tiles of one layer and remembers if any of their inputs is negative."""

    def __init__(self, outputs: int) -> None:
        """Record a matrix of ``outputs`` outputs a group."""
        self._outputs = outputs
        self.signed = False

    def products(self, vectors: Tensor, first_group: int, unit: Unit) -> Tensor:
        """Remember it; the products are not of interest and 0."""
        self.signed = self.signed or bool((vectors < 0).any())
        return vectors.new_zeros((len(vectors), self._outputs, vectors.shape[2]))


def calibrate_signs(
    model: OnnxModel, graph: LayerGraph, names: Sequence[str], blocks: Iterable[tuple[int, Mapping[str, Array]]]
) -> dict[str, bool]:
    """Whether any input of these layers is negative, of layers that share tiles together.

    Args:
        blocks: ``(samples, feeds)``, on which the digital network is run, more than once if it is large.

    Raises:
        DataError: the model does not run on these samples.
    """

    def recorder(layer: AnalogLayer) -> _SignRecorder:
        return _SignRecorder(layer.matrix_shape[1])

    seen = recorded(model, graph, HybridExecutor(model, graph, names).layers, blocks, recorder)
    found = {name: one.signed for name, one in seen}
    return {name: any(found[other] for other in group) for group in graph.tied(names) for name in group}
