"""The fast engine: aihwkit's arithmetic on the programmed state, in place and block by block.

The product of a block of vectors with a tile is memory-bound: aihwkit's tile makes some fifteen passes over new copies
of the block, this engine six over one buffer. Operations, their order and their random numbers are those of the
`reference` engine (`runtime/tile.py`), so that both give the same bytes; docs/emulation.md has the formulas.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lhc.conductances import ProgrammedMatrix, ProgrammedTile
from lhc.hardware import Hardware
from lhc.runtime.rounds import reductions

__all__ = ["FastMatrix"]


@dataclass(frozen=True)
class _Converters:
    """Numbers of DAC and ADC, as aihwkit's IOParameters has them."""

    input_step: float
    input_bound: float
    output_step: float
    output_bound: float
    noise: float
    scales_vectors: bool
    reductions: tuple[float, ...]

    @classmethod
    def of(cls, hardware: Hardware) -> "_Converters":
        dac, adc = hardware.dac, hardware.adc
        input_step = 0.0 if dac.bits is None else (1.0 / (2**dac.bits - 2)) * 2 * (dac.bound or 0.0)
        return cls(
            input_step=input_step,
            input_bound=dac.bound or float("inf"),
            output_step=0.0 if adc.bits is None else (1.0 / (2**adc.bits - 2)) * 2 * (adc.bound or 0.0),
            output_bound=adc.bound or float("inf"),
            noise=adc.noise,
            scales_vectors=dac.scaling == "abs_max",
            reductions=reductions(adc.bound_management == "iterative", input_step),
        )


class FastMatrix:
    """Products with a programmed matrix."""

    def __init__(self, programmed: ProgrammedMatrix, hardware: Hardware) -> None:
        """Prepare a matrix; ``hardware`` is that of its layer."""
        self._converters = _Converters.of(hardware)
        self._rows = [[_FastTile(tile, self._converters) for tile in row] for row in programmed.tiles]
        self._inputs = [row[0].inputs for row in self._rows]
        self._widths = [tile.outputs for tile in self._rows[0]]
        self._outputs = programmed.outputs

    def product(self, x: Tensor, group: int, reseed: Callable[[int, int], None] | None) -> Tensor:
        """Products of a block of vectors with one group's matrix.

        Args:
            x: ``(vectors, inputs)``, float32; not changed.
            group: which matrix.
            reseed: ``(tile, round)``: seeds the noise of a round of bound management of a tile.

        Returns:
            ``(vectors, outputs)``.
        """
        total: Tensor | None = None
        number = 0
        for part, row in zip(torch.split(x, self._inputs, dim=1), self._rows, strict=True):
            pieces, start = [], 0
            for tile, width in zip(row, self._widths, strict=True):
                low, high = max(group * self._outputs - start, 0), min((group + 1) * self._outputs - start, width)
                if low < high:
                    seed = None if reseed is None else _for_tile(reseed, number)
                    pieces.append(tile.product(part, slice(low, high), seed))
                start += width
                number += 1
            partial = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
            total = partial if total is None else total.add_(partial)
        assert total is not None
        return total


def _magnitudes(x: Tensor) -> Tensor:
    """Greatest magnitude of each vector, ``(vectors, 1)``.

    Two reductions without a copy: five times as fast as torch's vector norm of infinite order.
    """
    return torch.maximum(x.amax(dim=1, keepdim=True), x.amin(dim=1, keepdim=True).neg_())


def _for_tile(reseed: Callable[[int, int], None], tile: int) -> Callable[[int], None]:
    return lambda number: reseed(tile, number)


class _FastTile:
    """One tile, with a buffer for its scaled and quantised inputs."""

    def __init__(self, tile: ProgrammedTile, converters: _Converters) -> None:
        self._weights = torch.from_numpy(tile.weights)
        self._scales = torch.from_numpy(tile.scales)
        self._gain = tile.gain
        self._live = None if tile.live.all() else torch.from_numpy(tile.live)
        self._range = tile.input_range
        self._io = converters
        self._buffer = torch.empty(0)
        self.outputs, self.inputs = tile.weights.shape

    def product(self, x: Tensor, columns: slice, reseed: Callable[[int], None] | None) -> Tensor:
        if self._range is not None:
            x = x.clamp(-self._range, self._range).div_(self._range)
        zero, scales = self._vector_scales(x)
        weights = self._weights[columns].T
        result = torch.empty(0)
        pending: Tensor | None = None
        for number, reduction in enumerate(self._io.reductions):
            if reseed is not None:
                reseed(number)
            factor = 1.0 / scales / reduction
            output = torch.mm(self._converted(x, factor), weights)
            saturated = self._read(output)
            output.mul_(1.0 / factor)
            result = output if pending is None else torch.where(pending[:, None], output, result)
            if saturated is None:
                break
            pending = saturated if pending is None else pending & saturated
            if not pending.any():
                break
        if zero is not None:
            result[zero] = 0.0
        if self._live is not None:
            result.mul_(self._live[columns])
        return result.mul_(self._scales[columns]).mul_(self._gain)

    def _vector_scales(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """Which vectors are all zero (None if none is), and what each is divided by."""
        magnitudes = _magnitudes(x)
        zero = magnitudes[:, 0] == 0
        any_zero = bool(zero.any())
        if not self._io.scales_vectors:
            return (zero if any_zero else None), torch.ones_like(magnitudes)
        if any_zero:
            magnitudes[zero] = 1.0
        return (zero if any_zero else None), magnitudes

    def _converted(self, x: Tensor, factor: Tensor) -> Tensor:
        """Scaled, quantised and clipped inputs, in the tile's buffer."""
        if self._buffer.shape != x.shape:
            self._buffer = torch.empty_like(x, memory_format=torch.contiguous_format)
        q = torch.mul(x, factor, out=self._buffer)
        if self._io.input_step > 0:
            q.div_(self._io.input_step).round_().mul_(self._io.input_step)
        if self._io.input_bound < float("inf"):
            q.clamp_(-self._io.input_bound, self._io.input_bound)
        return q

    def _read(self, z: Tensor) -> Tensor | None:
        """Add noise, quantise and clip in place; which vectors saturated, None if none did."""
        if self._io.noise > 0:
            z.add_(self._io.noise * torch.randn_like(z))
        if self._io.output_step > 0:
            z.div_(self._io.output_step).round_().mul_(self._io.output_step)
        bound = self._io.output_bound
        if bound == float("inf"):
            return None
        saturated: Tensor = _magnitudes(z)[:, 0] > bound
        if not saturated.any():
            return None
        z.clamp_(-bound, bound)
        return saturated
