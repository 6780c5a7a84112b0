"""The emulation checked in use: the engine ``fast`` compared with ``aihwkit`` on a placed network's own activations.

One chip runs the placed network. Of every analog layer a block of what it reads there is multiplied by both engines,
which have the same devices and the same deviates of noise. Differences are in units of the step of the ADC of the
output in question; where rows of tiles are added up, of the greatest. A sum on a rounding edge may become the next
code, since engines add in another order, and a vector whose greatest output lies on the edge of saturation may be read
again by one of them alone. All else is an error of an engine.
"""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lhc.hardware import Hardware
from lhc.onnx_io.operators.matrix_product import POINTWISE, ConvGeometry
from lhc.plan import Conformance, LayerConformance
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime.engines.protocol import Digital, Position, Products
from lhc.runtime.engines.registry import defining_matrix
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.onnxruntime.sessions import Array
from lhc.runtime.programmed_layers import OnDemand, ProgrammedLayers
from lhc.runtime.torch_settings import isolated

if TYPE_CHECKING:
    from lhc.runtime.operators.analog_layers import AnalogLayer

OUTPUTS = 4096
"""Most outputs of a layer that are compared, unless a single vector, or the fewest lines of an image, have more."""
_EQUAL = 0.01
"""Of a step: what the rounding of sums in float32 may come to."""
_UNQUANTISED = 1e-4
"""Of the greatest output: what counts as a step where the ADC rounds nothing."""
_OF_COLUMN = 4
"""Outputs of a column of which a share is told."""


def check_conformance(
    executor: HybridExecutor,
    hardware: Hardware,
    state: Mapping[str, ProgrammedMatrix],
    seed: int,
    draw: int,
    feeds: Mapping[str, Array],
    position: Position,
) -> Conformance:
    """Compare both engines on every analog layer of a placed network, on one chip.

    Args:
        executor: of the placement, by the engine ``fast``.
        hardware: that it is placed on.
        state: what the tiles of the chip hold, by tile set; may be made when it is asked for.
        seed: of the noise.
        draw: number of the chip.
        feeds: inputs of the network, some samples.
        position: of these in the stream.
    """
    programmed = executor.on_chips([state], hardware, seed, [draw])
    found: dict[str, LayerConformance] = {}

    def watched(held: Mapping[str, Products]) -> Mapping[str, Products]:
        def made(tile_set: str) -> Products:
            layers = [layer for layer in executor.layers if layer.tile_set == tile_set]
            return _Watched(held[tile_set], state[tile_set], hardware, seed, draw, layers, found)

        return OnDemand({}, tuple(held), made)

    layers = ProgrammedLayers(tuple(watched(chip) for chip in programmed.chips), watched(programmed.together), ())
    for _ in executor.finish(executor.prefix(feeds), layers, position):
        pass
    return Conformance(layers=tuple(found[layer.name] for layer in executor.layers if layer.name in found))


class _Watched:
    """A matrix of the engine ``fast`` that is compared with ``aihwkit`` when a layer multiplies by it first."""

    def __init__(
        self,
        fast: Products,
        state: ProgrammedMatrix,
        hardware: Hardware,
        seed: int,
        draw: int,
        layers: "list[AnalogLayer]",
        found: dict[str, LayerConformance],
    ) -> None:
        self.chips, self.completes, self.completes_epilogue = fast.chips, fast.completes, fast.completes_epilogue
        self._fast, self._state, self._hardware = fast, state, hardware.for_layer(layers[0].name)
        self._seed, self._draw, self._found = seed, draw, found
        self._names = {layer.use: layer.name for layer in layers}
        self._convolves = layers[0].form.window is not None

    def convolve(
        self, x: Tensor, geometry: ConvGeometry, position: Position, use: int, digital: Digital | None = None
    ) -> Tensor:
        """See `Products`."""
        if self._names[use] not in self._found:
            self._compare(_cropped(x, geometry, self._outputs), geometry, Position(position.first, 1), use)
        return self._fast.convolve(x, geometry, position, use, digital)

    def multiply(self, rows: Tensor, position: Position, use: int, digital: Digital | None = None) -> Tensor:
        """See `Products`."""
        if self._names[use] not in self._found:
            some = rows.reshape(-1, rows.shape[-1])[: max(1, OUTPUTS // self._outputs)]
            self._compare(some, None, Position(position.first, 1), use)
        return self._fast.multiply(rows, position, use, digital)

    @property
    def _outputs(self) -> int:
        """Outputs of a vector, of all groups."""
        return self._state.outputs * self._state.groups

    def _compare(self, x: Tensor, geometry: ConvGeometry | None, position: Position, use: int) -> None:
        with isolated():
            exact = defining_matrix(self._state, self._draw, self._seed, self._hardware, self._convolves)
            if geometry is None:
                expected, steps = exact.convolve_with_steps(x[..., None], POINTWISE, position, use)
                mine = self._fast.multiply(x, position, use)[..., None]
            else:
                expected, steps = exact.convolve_with_steps(x, geometry, position, use)
                mine = self._fast.convolve(x, geometry, position, use)
        self._found[self._names[use]] = compared(self._names[use], mine[0], expected[0], steps[0])


def compared(name: str, found: Tensor, expected: Tensor, steps: Tensor) -> LayerConformance:
    """Difference of a layer's outputs from those of the engine ``aihwkit``, ``(items, outputs, *positions)``.

    Args:
        steps: what a step of the ADC is in every output; 0 where nothing is rounded.
    """
    greatest = float(expected.nan_to_num(0, 0, 0).abs().max()) if expected.numel() else 0.0
    least = torch.where(steps > 0, steps, max(_UNQUANTISED * greatest, torch.finfo(torch.float32).tiny))
    alike = (found == expected) | (found.isnan() & expected.isnan())
    off = torch.where(alike, 0.0, (found - expected).abs() / least).nan_to_num(nan=torch.inf)
    apart = (off > _EQUAL).transpose(0, 1).flatten(1)
    further = int((off > 1 + _EQUAL).sum())
    most = torch.finfo(torch.float32).max
    return LayerConformance(
        name=name,
        outputs=found.numel(),
        apart=int(apart.sum()),
        further=further,
        greatest=min(float(off.max()), float(most)) if off.numel() else 0.0,
        column=float(apart.to(torch.float32).mean(1).max()) if apart.shape[1] >= _OF_COLUMN else 0.0,
    )


def _cropped(x: Tensor, geometry: ConvGeometry, outputs: int) -> Tensor:
    """The first image, or its first lines, so far as they have no more outputs than are compared."""
    x = x[:1]
    while (sizes := tuple(x.shape[2:]))[0] > 1:
        if outputs * prod(geometry.output_sizes(sizes)) <= OUTPUTS:
            break
        fewer = sizes[0] // 2
        try:
            if min(geometry.output_sizes((fewer, *sizes[1:]))) < 1:
                break
        except ValueError:
            break
        x = x[:, :, :fewer]
    return x.contiguous()
