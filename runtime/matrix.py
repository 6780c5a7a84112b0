"""One weight matrix on aihwkit's tiles: mapping, programming, drift, and products by aihwkit's own tile forward.

A matrix larger than a tile is split as aihwkit splits it: inputs over tiles whose partial sums are added, outputs
over tiles whose outputs are joined. The groups of a grouped Conv lie side by side in the columns of the same tiles
and are driven one at a time.

With copies, every row split (a block of inputs that fits a tile) is stacked that many times before it is split over
tiles, so that a tile holds every weight of its block once or more, perhaps one part of the block once more than the
other. The same inputs drive all copies, and the digital scale divides the sum by their number. Slices of weights lie on
rows of tiles of their own, which the same inputs drive too; their scales shift them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from aihwkit.simulator.tiles.array import TileModuleArray
from torch import Tensor

from lhc.conductances import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.errors import ModelError
from lhc.hardware import Hardware, scaled_programming
from lhc.hardware.adc_mismatch import capacitor_levels
from lhc.hardware.converters import Converters
from lhc.hardware.device_model import LEAST_MAGNITUDE, PairedDevices
from lhc.hardware.geometry import split_sizes
from lhc.hardware.measured_noise import MeasuredNoise
from lhc.hardware.sensing import totals_of
from lhc.hardware.unit_cell import CellNoise
from lhc.hardware.weight_slices import slice_factors, slice_signs, weight_slices
from lhc.runtime import pcm_tile
from lhc.runtime.faulty_tiles import ChipTile, noise_factor, on_chip
from lhc.runtime.large_matrix import computed, summed
from lhc.runtime.stream import Unit
from lhc.runtime.tile import PerVectorTile
from lhc.runtime.unit_products import ProductsByUnit
from lhc.seeds import device_entropy, device_seed

__all__ = ["AnalogMatrix"]


_NO_GAIN = torch.ones(1)
"""Of drift compensation; is shared by all tiles."""
_KEPT = 6
"""Arrays of the size of the weights in a tile: as mapped, programmed, drifted, and the devices' drift coefficients."""
_KEPT_OF_FAULTS = 4
"""The same where cells may be stuck: as mapped, as aimed at, and what the cells of both sides are stuck at."""


@dataclass(frozen=True, eq=False)
class _Block:
    """Inputs that fit a tile, and the tiles that hold their weights.

    Attributes:
        inputs: of the matrix.
        array: aihwkit's tiles, which hold the weights of these inputs (or a slice of them) once per copy, one copy
            below the other.
        sign: in which they hold them.
        factor: what the full scale of the slice counts, as a share of that of the weights.
    """

    inputs: slice
    array: TileModuleArray
    sign: int
    factor: float

    @property
    def size(self) -> int:
        return int(self.inputs.stop - self.inputs.start)

    def rows(self) -> Iterator[tuple[npt.NDArray[np.int64], Sequence[Any]]]:
        """For every row of tiles: which input of the block drives each of its rows, and the tiles."""
        start = 0
        for size, tiles in zip(self.array.in_sizes, self.array.array, strict=True):
            yield np.arange(start, start + size) % self.size, tiles
            start += size


class AnalogMatrix(ProductsByUnit):
    """Tiles of one chip that hold one matrix; its products are the `reference` engine."""

    def __init__(
        self,
        weight: np.ndarray,
        groups: int,
        hardware: Hardware,
        devices: str,
        ranges: Sequence[float] | None = None,
        copies: int = 1,
    ) -> None:
        """Map a matrix onto tiles; nothing is programmed yet.

        Args:
            weight: ``(groups · outputs, inputs)``.
            groups: matrices that lie one below the other in ``weight``.
            devices: names the devices, for their seeds.
            ranges: static input range of each row split, for hardware that has them.
            copies: of every weight, each on devices of its own.
        """
        self.hardware = hardware
        self.devices = devices
        self.groups = groups
        self.copies = copies
        self._stream = (0, devices, 0)
        self._read = 0
        self.outputs = len(weight) // groups
        self.nbytes = (
            (_KEPT + _KEPT_OF_FAULTS * hardware.faults.any) * 4 * weight.size * copies * hardware.mapping.slices
        )
        config = hardware.to_rpu_config()
        config.simulator_tile_class = PerVectorTile
        slices, splits = weight_slices(weight, hardware), list(_splits(weight, hardware))
        kinds = list(zip(slices, slice_signs(hardware), slice_factors(hardware), strict=True))
        self._blocks = [_mapped(part, sign, f, inputs, copies, config) for inputs in splits for part, sign, f in kinds]
        if ranges is not None and hardware.needs_calibration:
            for value, block in zip(np.repeat(ranges, len(slices)), self._blocks, strict=True):
                for tile in _tiles(block):
                    tile.set_input_range(float(value))
        reductions = Converters.of(hardware).reductions
        for tile in self._tiles:
            tile.tile.reductions = reductions
            tile.tile.unsigned, tile.tile.unipolar = (
                hardware.dac.code == "unsigned",
                hardware.adc.polarity == "unipolar",
            )
            if hardware.adc.zero_skipping:
                tile.tile.mark_zero_columns()
        if not hardware.adc.zero_skipping:
            self._read_zeros(weight)
        self._computed = computed(hardware)
        self._pcm: dict[int, pcm_tile.PcmDevices] = {}
        of_pairs = isinstance(hardware.devices, PairedDevices) and not hardware.devices.plain
        self._by_cell = hardware.faults.any and of_pairs
        self._totals = [totals_of(tile.tile.weight.detach().numpy(), hardware) for tile in self._tiles]
        self._mapped = [tile.tile.weight.detach().numpy().copy() for tile in self._tiles if hardware.faults.any]

    def _read_zeros(self, weight: np.ndarray) -> None:
        """Have all-zero vectors and columns read; a slice of a tile without a bit has the scale that bits would have.

        What a tile without any weight gives is nothing.
        """
        for block in self._blocks:
            for _, row in block.rows():
                start = 0
                for size, tile in zip(block.array.out_sizes, row, strict=True):
                    full = float(np.abs(weight[start : start + size, block.inputs]).max())
                    tile.tile.reads_zeros, start = True, start + size
                    if not tile.tile.weight.any():
                        tile.set_mapping_scales(self.hardware.mapping.scales(torch.tensor([block.factor * full])))
                        tile.tile.live = None if full > 0 else torch.zeros(size)

    @cached_property
    def _tiles(self) -> Sequence[Any]:
        return [tile for block in self._blocks for tile in _tiles(block)]

    def program(self, seed: int, draw: int) -> None:
        """Program all devices anew and measure the baseline of drift compensation; no drift yet.

        Raises:
            ModelError: the noise model is not defined for these weights.
        """
        self._stream = (seed, self.devices, draw)
        chips = [
            self._test(tile, inputs, mapped, index)
            for index, (mapped, (inputs, tile)) in enumerate(zip(self._mapped, self._driven_tiles(), strict=False))
        ]
        for index, tile in enumerate(self._tiles if self.hardware.adc.capacitor_mismatch > 0 else ()):
            entropy = device_entropy(*self._stream, "adc", index)
            tile.tile.levels = capacitor_levels(self.hardware.adc, len(tile.tile.weight), entropy)
        if self.hardware.devices is None:
            return
        exact = self.hardware.compensation.drift == "global-exact"
        for index, tile in enumerate(self._tiles):
            if self.hardware.faults.differ:
                machine = scaled_programming(self.hardware, noise_factor(self.hardware, index, seed, draw))
                tile.rpu_config.noise_model = machine.to_rpu_config().noise_model
            if self._by_cell:
                tile.rpu_config.noise_model = self._cells(tile.rpu_config.noise_model, chips[index])
            torch.default_generator.manual_seed(device_seed(*self._stream, "program", index))
            if self._computed:
                self._pcm[index] = pcm_tile.program(tile, exact)
            else:
                tile.program_weights()
                if not torch.isfinite(tile.tile.weight).all():
                    raise ModelError(
                        f"devices {self.hardware.devices.model!r} cannot be programmed with a tile whose weights are"
                        " all equal: aihwkit's model divides by their range"
                    )
            if exact and self._mapped:  # the reference is the weights, not what devices are programmed to around faults
                tile.reference_combined_weights = torch.from_numpy(self._mapped[index])
                tile.drift_baseline = tile.rpu_config.drift_compensation.init_baseline(tile)
            # aihwkit keeps the gain of an earlier drift; freshly programmed tiles have none.
            tile.alpha = _NO_GAIN

    def _driven_tiles(self) -> Iterator[tuple[npt.NDArray[np.int64], Any]]:
        """What drives the rows of every tile, and the tile."""
        return ((inputs, tile) for block in self._blocks for inputs, row in block.rows() for tile in row)

    def _test(self, tile: Any, inputs: npt.NDArray[np.int64], mapped: Floats, index: int) -> ChipTile:
        """Give a tile the faults of its chip, and the weights that its devices are to be programmed to.

        Where what a pair holds is not the weight alone the noise model of its cells knows the faults.
        """
        scales = np.broadcast_to(tile.get_mapping_scales().detach().numpy(), len(mapped))
        chip = on_chip(self.hardware, device_entropy(*self._stream, "faults", index), mapped, scales, inputs, index)
        tile.tile.faults = None if self._by_cell else chip.held
        tile.tile.offset = None if chip.faults.offset is None else torch.from_numpy(chip.faults.offset)
        target = torch.from_numpy(chip.faults.mean(chip.target))
        tile.tile.set_weights(target)
        tile.reference_combined_weights = target
        return chip

    def _cells(self, model: Any, chip: ChipTile) -> Any:
        """The noise model of cells that are programmed, drift and are read one by one, on a tile with faults."""
        if isinstance(model, CellNoise | MeasuredNoise):
            return model.on(chip)
        assert isinstance(self.hardware.devices, PairedDevices)
        return CellNoise(self.hardware.devices, model, chip)

    def drift_to(self, t_s: float, read: int = 0) -> None:
        """Let the programmed devices drift to ``t_s`` seconds after the first read and draw read noise.

        Args:
            read: number of the read: 0 for inference, others for the reads of a calibration, each with noise of its
                own.
        """
        self._read = read
        if self.hardware.devices is None:
            return
        reads = (read,) if read else ()
        for index, tile in enumerate(self._tiles):
            milliseconds = round(t_s * 1000)
            torch.default_generator.manual_seed(device_seed(*self._stream, "drift", index, milliseconds, *reads))
            if self._computed:
                pcm_tile.drift(tile, self._pcm[index], t_s)
            else:
                tile.drift_weights(t_s)

    def products(self, vectors: Tensor, first_group: int, unit: Unit) -> Tensor:
        """See `ProductsByUnit`."""
        parts = enumerate(vectors)
        return torch.stack([self._product(x.T.contiguous(), first_group + index, unit).T for index, x in parts])

    def _product(self, x: Tensor, group: int, unit: Unit) -> Tensor:
        noisy = self.hardware.draws_outputs
        for index, tile in enumerate(self._tiles):
            tile.tile.reseed = partial(self._seed_noise, unit, group, index) if noisy else None
            if self.hardware.offset:
                tile.tile.base = (self.hardware.offset * _greatest(tile) / tile.alpha).expand(len(tile.tile.weight))
        try:
            total: Tensor | None = None
            for block in self._blocks:
                stacked = x[:, block.inputs].repeat(1, self.copies)
                summand = block.array(stacked) if self.groups == 1 else self._group_product(block, stacked, group)
                summand = summand if block.sign > 0 else -summand
                total = summand if total is None else total + summand
            assert total is not None
            return total / self.copies
        finally:
            for tile in self._tiles:
                tile.tile.reseed = tile.tile.base = None

    def _seed_noise(self, unit: Unit, group: int, tile: int, round_: int) -> None:
        key = (unit.number, group, tile, round_, unit.use, *((self._read,) if self._read else ()))
        torch.default_generator.manual_seed(device_seed(*self._stream, "noise", *key))

    def programmed(self) -> ProgrammedMatrix:
        """What the tiles hold now, as plain arrays; the copies in a tile as their sum, which its columns form."""
        tiles, starts, totals = [], [], iter(self._totals)
        for block in self._blocks:
            for inputs, row in block.rows():
                states = (_state(tile, block, inputs, self.copies, self.hardware.offset) for tile in row)
                tiles.append(tuple(state.in_units_of(next(totals)) for state in states))
                starts.append(block.inputs.start)
        found = ProgrammedMatrix(tuple(tiles), tuple(starts), self.groups, self.devices, self._read)
        shares = self.hardware.adc.columns
        return found if shares is None else found.with_adc_ranges(np.array(shares, np.float32))

    def reads(self, t_s: float, numbers: Sequence[int]) -> list[ProgrammedMatrix]:
        """The same at a time, as each of some reads finds it."""
        found = []
        for number in numbers:
            self.drift_to(t_s, number)
            found.append(self.programmed())
        return found

    def _group_product(self, block: _Block, x: Tensor, group: int) -> Tensor:
        """Drive the columns of one group only; its columns may lie on two or more tiles."""
        first, last = group * self.outputs, (group + 1) * self.outputs
        total: Tensor | None = None
        for part, row in zip(torch.split(x, block.array.in_sizes, dim=1), block.array.array, strict=True):
            pieces, start = [], 0
            for size, tile in zip(block.array.out_sizes, row, strict=True):
                columns = slice(max(first - start, 0), min(last - start, size))
                if columns.start < columns.stop:
                    pieces.append(_driven(tile, part, columns))
                start += size
            summand = torch.cat(pieces, dim=1)
            total = summand if total is None else total + summand
        assert total is not None
        return total


def _splits(weight: np.ndarray, hardware: Hardware) -> Iterator[slice]:
    """The inputs of each row split."""
    start = 0
    for size in split_sizes(weight.shape[1], hardware.tiles.rows):
        yield slice(start, start + size)
        start += size


def _mapped(weight: np.ndarray, sign: int, factor: float, inputs: slice, copies: int, config: Any) -> _Block:
    stacked = np.tile(np.ascontiguousarray(sign * weight[:, inputs], np.float32), (1, copies))
    array = TileModuleArray(*stacked.shape, config, bias=False)
    # torch draws random numbers in the order of memory: it must not show how the file stores the matrix.
    array.set_weights(torch.tensor(stacked))
    array.eval()
    for tile in (tile for row in array.array for tile in row):
        if tile.get_mapping_scales() is None:  # weights are not scaled
            tile.set_mapping_scales(torch.ones(1))
    return _Block(inputs, array, sign, factor)


def _tiles(block: _Block) -> Iterator[Any]:
    return (tile for row in block.array.array for tile in row)


def _state(tile: Any, block: _Block, inputs: npt.NDArray[np.int64], copies: int, offset: float) -> ProgrammedTile:
    held = tile.tile
    weights = held.weight.detach().numpy()
    scales = np.full(len(weights), tile.get_mapping_scales().detach().numpy())
    input_range = None if tile.input_range is None else float(tile.input_range.detach())
    if input_range is not None:
        scales *= np.float32(input_range)
    live = held.live
    compensated = tile.rpu_config.drift_compensation is not None
    return ProgrammedTile(
        weights=summed(weights, int(inputs[0]), block.size),
        scales=scales / np.float32(block.sign * copies) * (1 if live is None else live.numpy()),
        gain=np.full(len(weights), tile.alpha.numpy() if compensated else 1.0, np.float64),
        input_range=input_range,
        offset=None if held.offset is None else held.offset.numpy(),
        levels=held.levels,
        driven=None if copies == 1 else np.bincount(inputs, minlength=block.size).astype(np.float32),
        base=offset * _greatest(tile) if offset else 0.0,
    )


def _greatest(tile: Any) -> float:
    """Greatest weight that a tile was programmed to, as its devices were told it."""
    return max(float(tile.reference_combined_weights.abs().max()), LEAST_MAGNITUDE)


def _driven(tile: Any, x: Tensor, columns: slice) -> Tensor:
    """A tile's products with some of its columns, in aihwkit's order of scaling."""
    tile.tile.columns = columns
    try:
        output: Tensor = tile.tile.forward(tile.pre_forward(x, 1, True), is_test=True)
    finally:
        tile.tile.columns = slice(None)
    mapping, learned = (
        scales if scales is None or scales.numel() == 1 else scales[columns]
        for scales in (tile.get_mapping_scales(), tile.get_learned_out_scales())
    )
    if mapping is not None:
        output = output * (mapping if tile.input_range is None else tile.input_range * mapping)
    if tile.rpu_config.drift_compensation is not None:
        output = output * tile.alpha
    return output if learned is None else output * learned
