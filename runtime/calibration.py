"""Calibrate static input ranges: one number per layer and row split of its tiles.

A tile with a static range R clips every input to ±R and converts x / R. R is a quantile of |x| over the inputs that the
digital network drives the tile with; all-zero vectors, which are not driven, count nothing. Layers that share their
tiles share their ranges: the greater of each.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.hardware.geometry import split_sizes
from lhc.model import OnnxModel
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.ort import Array, observe_tensors
from lhc.runtime.stream import Position, Unit
from lhc.runtime.threads import isolated
from lhc.runtime.unit_products import ProductsByUnit

__all__ = ["RangeRecorder", "calibrate_ranges"]

KEPT = 2**15
"""Values kept of each row split in each piece of products, drawn at random with a fixed seed."""

Ranges = tuple[float, ...]


class RangeRecorder(ProductsByUnit):
    """Stands in for the tiles of one layer and remembers what they are driven with."""

    def __init__(self, rows: int, outputs: int, tile_rows: int) -> None:
        """Record a matrix of ``rows`` inputs and ``outputs`` outputs a group, on tiles of ``tile_rows`` inputs."""
        self._sizes = split_sizes(rows, tile_rows)
        self._outputs = outputs
        self._seen: list[list[Tensor]] = [[] for _ in self._sizes]
        self._greatest = [0.0] * len(self._sizes)
        self._generator = torch.Generator().manual_seed(0)

    def products(self, vectors: Tensor, first_group: int, unit: Unit) -> Tensor:
        """Remember the magnitudes of the inputs; the products are not of interest and 0."""
        x = vectors.transpose(0, 1).flatten(1)
        driven = x[:, (x != 0).any(dim=0)]
        for index, (seen, part) in enumerate(zip(self._seen, torch.split(driven, self._sizes), strict=True)):
            values = part.abs().flatten()
            # What is drawn below hardly ever holds it.
            self._greatest[index] = max(self._greatest[index], float(values.max()) if len(values) else 0.0)
            if len(values) > KEPT:
                values = values[torch.randint(len(values), (KEPT,), generator=self._generator)]
            seen.append(values)
        return x.new_zeros((len(vectors), self._outputs, vectors.shape[2]))

    def ranges(self, quantile: float) -> Ranges:
        """The quantile of each row split; 1 where it was never driven or driven with zeros alone."""
        result = []
        for seen, greatest in zip(self._seen, self._greatest, strict=True):
            values = torch.cat(seen).numpy() if seen and quantile < 1 else np.zeros(0, np.float32)
            found = float(np.quantile(values, quantile)) if values.size else 0.0
            result.append(found or greatest or 1.0)
        return tuple(result)


def calibrate_ranges(
    model: OnnxModel,
    graph: LayerGraph,
    hardware: Hardware,
    names: Sequence[str],
    blocks: Iterable[tuple[int, Mapping[str, Array]]],
) -> dict[str, Ranges]:
    """Input ranges of layers.

    Args:
        model: the network.
        graph: its layers.
        hardware: tile rows, and the quantile.
        names: layers to calibrate.
        blocks: ``(samples, feeds)``, on which the digital network is run.

    Raises:
        DataError: the model does not run on these samples.
    """
    layers = HybridExecutor(model, graph, names).layers
    recorders = {layer.name: RangeRecorder(*layer.matrix_shape, hardware.tiles.rows) for layer in layers}
    inner = sorted({layer.activation for layer in layers if graph.producer(layer.activation) is not None})
    for samples, feeds in blocks:
        tensors = dict(feeds) | observe_tensors(model, inner, feeds)
        with isolated():
            for layer in layers:
                layer.run(recorders[layer.name], tensors[layer.activation], None, Position(0, samples))
    found = {name: recorder.ranges(hardware.for_layer(name).dac.range_quantile) for name, recorder in recorders.items()}
    shared: dict[str, Ranges] = {}
    for group in graph.tied(names):
        widest = tuple(max(values) for values in zip(*(found[name] for name in group), strict=True))
        shared.update(dict.fromkeys(group, widest))
    return shared
