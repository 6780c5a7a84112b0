"""First-order effect of the noise of one layer, given the gradients g at its output.

With programmed weights W_r, and x_q the inputs after the DAC, the error d_r of the layer's output moves the answer by

    Σ g·d_r = Σ_p g_p · (W_r x_q,p - W x_p) = <G, W_r - W> + (<G, W> - Σ_p g_p · W x_p),    G = Σ_p g_p x_q,pᵀ

(sum over the products p of one answer), so that a further draw costs one inner product of matrices. Where a layer has
few products, (W_r - W) x_q is formed first instead. Output noise and rounding of the ADC are independent from product
to product and from output to output; their variance c_o² s_p² · (noise² + dy²/12) is a factor of the output (column
scale, compensation), one of the vector (what the DAC divides it by) and one of the converter, so

    E (Σ g·d)² = (noise² + dy²/12) · Σ_o c_o² Σ_p s_p² g_p,o²

summed over the rows of tiles, of which several may hold copies or slices of the same weights. Where inputs are driven
in slices, (noise² + dy²/12) is that of all reads together. Read noise of products (`lhc.hardware.circuits.currents`)
adds read_noise² Σ_o c_o² Σ_j |w_oj| Σ_p g_p,o² x_q,pj², with w what the tile holds (constant: with the number of rows
that an input drives instead of |w|); IR drop is left out.

A chip whose outputs are calibrated gives ``gain · y + offset``: with gains a_o and offsets b_o of the layer alone
(`lhc.runtime.calibration.chip_outputs.calibrated_alone`), a_o W_r takes the place of W_r, a_o c_o that of c_o, and
every output adds ``Σ_p g_p,o b_o``.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.hardware import Hardware
from lhc.programmed_matrix import Correction, ProgrammedMatrix, ProgrammedTile
from lhc.runtime.gradients.product_matrices import DifferentiableProduct

MOST_VALUES = 2**21
"""Values of an intermediate matrix; more samples are taken in pieces."""

Floats = npt.NDArray[np.float64]


class NoisyProduct:
    """One layer's product with its programmed weights."""

    def __init__(
        self,
        product: DifferentiableProduct,
        hardware: Hardware,
        chips: Sequence[ProgrammedMatrix],
        corrections: Sequence[Correction | None],
    ) -> None:
        """Prepare the errors of the weights.

        Args:
            chips: what its tiles hold, per draw.
            corrections: of its outputs when it alone is analog, per draw; None where they are not calibrated.
        """
        self.product = product
        self.draws = len(chips)
        self._hardware = hardware
        self._device = product.device
        gains = [torch.ones(len(product.matrix)) if c is None else torch.from_numpy(c.gain) for c in corrections]
        drawn = [
            (gain[:, None] * torch.from_numpy(chip.weights())).to(self._device)
            for gain, chip in zip(gains, chips, strict=True)
        ]
        # The digital weights as one more draw: what the DAC alone does.
        self._weights = torch.stack([*(w - product.matrix for w in drawn), product.matrix])
        blocks = list(dict.fromkeys(chips[0].starts))
        self._block_of_row = [blocks.index(start) for start in chips[0].starts]
        first = [self._block_of_row.index(block) for block in range(len(blocks))]
        self._splits = [chips[0].tiles[row][0].weights.shape[1] for row in first]
        self._ranges = [chips[0].tiles[row][0].input_range for row in first]
        scaled = (_output_scales(chip) * gain.numpy() for gain, chip in zip(gains, chips, strict=True))
        self._scales = np.stack(list(scaled))
        self._adc_offsets = _adc_offsets(
            chips, self._scales * sum(hardware.dac.reads), self._block_of_row, self._device
        )
        self._worth = self._worth_of_currents(chips) if hardware.currents.read_noise > 0 else None
        self._offsets = [
            None if c is None else torch.from_numpy(c.offset / product.form.alpha).to(self._device) for c in corrections
        ]

    def effects(self, x: Tensor, exact: Tensor, gradients: Sequence[Tensor], parts: int) -> tuple[Tensor, Floats]:
        """Movement by weights and DAC, ``(parts, directions, draws)``, and power of the output noise, ``(draws,)``.

        Args:
            x: the layer's inputs, ``(items, ...)``.
            exact: its digital products, ``(items, ...)``.
            gradients: at its outputs, ``(items, ...)``, one a direction.
            parts: equal parts of the items, each an answer of its own.
        """
        at_output = torch.stack([self.product.gradients(g, parts) for g in gradients], dim=2)
        still = [(g * exact).reshape(parts, -1).sum(1) for g in gradients] if self._converts else []
        moved, power, driven = [], self._no_power(), self._nothing()
        for vectors, squares, piece in self._pieces(x, at_output, parts):
            moved.append(self._moved(vectors, piece))
            power += self._power(squares, piece)
            driven = driven + self._driven(vectors, piece)
            if self._adc_offsets is not None:
                moved[-1][..., :-1] += _moved_by_offsets(squares, piece, self._adc_offsets).sum(2)
        both = torch.cat(moved)
        weights = both[..., :-1]
        if self._converts:
            weights = weights + (both[..., -1] - torch.stack(still, dim=1))[..., None]
        power_of_rows = power.cpu().numpy()[self._block_of_row]
        noise = self._hardware.output_variance * np.einsum("rso,so->r", self._scales**2, power_of_rows)
        return weights + self._shifted(at_output), noise + self._read_noise(driven).sum(1)

    def by_output(self, x: Tensor, gradients: Sequence[Tensor], parts: int) -> Floats:
        """``E (Σ g·d)²`` of every output by itself, ``(outputs,)``, mean over draws; without what the DAC rounds.

        Arguments as of `effects`; the product has one group.
        """
        at_output = torch.stack([self.product.gradients(g, parts) for g in gradients], dim=2)
        errors = self._weights[:-1].permute(1, 2, 0)
        shifts = torch.stack([errors.new_zeros(len(errors)) if b is None else b for b in self._offsets], dim=-1)
        total = torch.zeros(len(errors), dtype=torch.float64, device=self._device)
        power, driven = self._no_power(), self._nothing()
        for vectors, squares, piece in self._pieces(x, at_output, parts):
            g = piece.flatten(0, 2).transpose(0, 1)  # outputs, (parts and directions), products
            joint = (piece.flatten(1, 3) @ vectors[:, 0].transpose(1, 2)).view(*piece.shape[:4], -1)
            by_draw = joint.flatten(0, 2).transpose(0, 1) @ errors + g.sum(-1, keepdim=True) * shifts[:, None]
            if self._adc_offsets is not None:
                by_offsets = _moved_by_offsets(squares, piece, self._adc_offsets)
                by_draw = by_draw + by_offsets.flatten(0, 1).transpose(0, 1)
            total += by_draw.square().mean(-1).sum(1).double()
            power += self._power(squares, piece)
            driven = driven + self._driven(vectors, piece)
        outputs = np.einsum("rso,so->o", self._scales**2, power.cpu().numpy()[self._block_of_row]) / self.draws
        found: Floats = (
            total.cpu().numpy() + self._hardware.output_variance * outputs + self._read_noise(driven).mean(0)
        )
        return found

    def _worth_of_currents(self, chips: Sequence[ProgrammedMatrix]) -> Tensor:
        """``c² |w|`` by input squared, summed over rows of tiles, ``(draws, groups · outputs, inputs)``."""
        worth = torch.zeros(len(chips), *self.product.matrix.shape)
        for found, chip, scales in zip(worth, chips, self._scales, strict=True):
            for start, row, scale in zip(chip.starts, chip.tiles, scales, strict=True):
                weights = torch.from_numpy(self._noisy_rows(row))
                factor = torch.from_numpy(np.float32(np.square(scale / (row[0].input_range or 1.0))))
                found[:, start : start + weights.shape[1]] += factor[:, None] * weights
        return worth.to(self._device)

    def _noisy_rows(self, row: Sequence[ProgrammedTile]) -> npt.NDArray[np.float32]:
        """``|w|`` of a row of tiles, or where read noise is constant how often each input is driven there."""
        if not self._hardware.currents.constant:
            return np.asarray(np.abs(np.concatenate([tile.weights for tile in row])))
        driven = row[0].driven
        shape = sum(len(tile.weights) for tile in row), row[0].weights.shape[1]
        units = [np.ones(len(t.weights), np.float32) if t.unit is None else t.unit for t in row]
        found: npt.NDArray[np.float32] = np.broadcast_to(np.float32(1) if driven is None else driven, shape)
        return np.asarray(found / np.square(np.concatenate(units))[:, None], np.float32)

    def _driven(self, vectors: Tensor, at_output: Tensor) -> Tensor:
        """``Σ_p g² x²``, ``(groups · outputs, inputs)``; 0 where products have no read noise."""
        if self._worth is None:
            return self._nothing()
        energy = at_output.square().sum(2)
        return torch.einsum("pgoc,pgic->goi", energy, vectors.square()).reshape(self.product.matrix.shape)

    def _read_noise(self, driven: Tensor) -> Floats:
        """``E (Σ g·d)²`` by read noise of products, ``(draws, groups · outputs)``."""
        if self._worth is None:
            return np.zeros((self.draws, 1))
        variance = self._hardware.currents.read_noise**2
        found: Floats = variance * (self._worth * driven).sum(2, dtype=torch.float64).cpu().numpy()
        return found

    def _pieces(self, x: Tensor, at_output: Tensor, parts: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Vectors after the DAC, their squared scales, and gradients, of as many parts as fit at a time."""
        pieces = max(1, min(parts, MOST_VALUES // self._values(at_output)))
        nonnegative = bool(x.amin() >= 0)
        for start in range(0, parts, pieces):
            items = x[start * len(x) // parts : min(start + pieces, parts) * len(x) // parts]
            vectors = self.product.columns(items, min(pieces, parts - start))
            yield vectors, self._converted(vectors, nonnegative), at_output[start : start + pieces]

    def _shifted(self, at_output: Tensor) -> Tensor:
        """``Σ g · offset``, ``(parts, directions, draws)``."""
        summed = at_output.sum(-1).transpose(1, 2).flatten(2)
        shifts = [summed.new_zeros(summed.shape[:2]) if b is None else summed @ b for b in self._offsets]
        return torch.stack(shifts, dim=-1)

    def _values(self, at_output: Tensor) -> int:
        """Values that one part needs at a time."""
        _, groups, directions, outputs, count = at_output.shape
        inputs = self.product.matrix.shape[1]
        middle = (
            directions * outputs * inputs if self._outer(directions, count) else len(self._weights) * outputs * count
        )
        return groups * (inputs * count + middle)

    def _outer(self, directions: int, count: int) -> bool:
        """Whether forming G first takes fewer multiplications than forming the errors first."""
        outputs, inputs = self._weights.shape[1] // self.product.form.groups, self._weights.shape[2]
        first = directions * inputs * outputs * (count + len(self._weights))
        return first <= len(self._weights) * outputs * count * (inputs + directions)

    def _moved(self, vectors: Tensor, at_output: Tensor) -> Tensor:
        """``Σ g · W x_q`` for all directions and weights, ``(parts, directions, draws + 1)``."""
        parts, groups, directions, outputs, count = at_output.shape
        draws, inputs = len(self._weights), self.product.matrix.shape[1]
        if self._outer(directions, count):
            g = at_output.reshape(parts * groups, directions * outputs, count)
            joint = torch.bmm(g, vectors.reshape(parts * groups, inputs, count).transpose(1, 2))
            joint = joint.reshape(parts, groups, directions, outputs * inputs).transpose(1, 2)
            return (joint.reshape(parts * directions, -1) @ self._weights.reshape(draws, -1).T).reshape(
                parts, directions, draws
            )
        weights = self._weights.reshape(draws, groups, outputs, inputs).transpose(0, 1)
        errors = weights.reshape(groups, draws * outputs, inputs) @ vectors
        errors = errors.reshape(parts, groups, draws, outputs * count)
        return (at_output.reshape(parts, groups, directions, -1) @ errors.transpose(2, 3)).sum(1)

    def _power(self, squares: Tensor, at_output: Tensor) -> Tensor:
        """``Σ_p s_p² g_p,o²``, ``(row splits, groups · outputs)``, from s², ``(parts, groups, row splits, count)``."""
        if self._hardware.output_variance == 0:
            return self._no_power()
        energy = at_output.square().sum(2)
        summed = (squares @ energy.transpose(2, 3)).sum(0, dtype=torch.float64)
        return summed.transpose(0, 1).reshape(squares.shape[2], -1)

    def _no_power(self) -> Tensor:
        return torch.zeros(len(self._splits), len(self.product.matrix), dtype=torch.float64, device=self._device)

    def _nothing(self) -> Tensor:
        return torch.zeros((), device=self._device)

    @property
    def _converts(self) -> bool:
        return self._hardware.dac.step is not None or self._clips

    @property
    def _clips(self) -> bool:
        """Whether inputs can lie beyond the range of the DAC."""
        dac = self._hardware.dac
        return dac.scaling == "static" or dac.clip is not None

    def _converted(self, vectors: Tensor, nonnegative: bool) -> Tensor:
        """Replace vectors by what the DAC makes of them, in place; returns the squared vector scales.

        A vector that is all zero is not driven, if zeros are skipped: no noise.

        Args:
            vectors: ``(parts, groups, inputs, products)``.
            nonnegative: whether no value is below zero; spares a pass.

        Returns:
            ``(parts, groups, row splits, products)``.
        """
        dac = self._hardware.dac
        found = []
        for values, limit in zip(torch.split(vectors, self._splits, dim=2), self._ranges, strict=True):
            magnitudes = values.amax(2, keepdim=True)
            if not nonnegative:
                magnitudes = torch.maximum(magnitudes, values.amin(2, keepdim=True).neg_())
            scales = dac.scaling == "abs_max"
            scale = torch.where(magnitudes > 0, magnitudes, 1.0) if scales else magnitudes.new_ones(())
            driven = (
                magnitudes > 0 if self._hardware.adc.zero_skipping else torch.ones_like(magnitudes, dtype=torch.bool)
            )
            found.append(torch.where(driven, scale.square(), 0.0))
            scale = scale if limit is None else torch.tensor(limit, device=self._device)
            if self._clips:
                reach = scale * (dac.clip or 1.0)
                values.clamp_(torch.zeros_like(reach) if dac.from_zero else -reach, reach)
            if dac.step is not None:
                values.div_(scale * dac.step).round_().mul_(scale * dac.step)
        return torch.cat(found, dim=2)


def _adc_offsets(
    chips: Sequence[ProgrammedMatrix], scales: Floats, block_of_row: Sequence[int], device: torch.device
) -> Tensor | None:
    """ADC offsets on outputs of a vector of scale 1, ``(draws, row splits, groups · outputs)``; None: no offsets.

    Args:
        chips: per draw.
        scales: what one unit of an output is worth, ``(draws, rows of tiles, groups · outputs)``.
        block_of_row: which row split a row of tiles is of.
    """
    if chips[0].tiles[0][0].offset is None:
        return None
    found = np.zeros((len(chips), max(block_of_row) + 1, scales.shape[2]))
    for total, chip, worth in zip(found, chips, scales, strict=True):
        for row, block, scale in zip(chip.tiles, block_of_row, worth, strict=True):
            total[block] += scale * np.concatenate([tile.offset for tile in row if tile.offset is not None])
    return torch.from_numpy(found.astype(np.float32)).to(device)


def _moved_by_offsets(squares: Tensor, at_output: Tensor, offsets: Tensor) -> Tensor:
    """``Σ_p g s offset`` of the ADCs, ``(parts, directions, groups · outputs, draws)``.

    Args:
        squares: squared scales of the vectors, ``(parts, groups, row splits, products)``.
        at_output: gradients, ``(parts, groups, directions, outputs, products)``.
        offsets: see `_adc_offsets`.
    """
    summed = torch.einsum("pgsc,pgdoc->pdsgo", squares.sqrt(), at_output).flatten(3)
    return torch.einsum("pdso,rso->pdor", summed, offsets)


def _output_scales(chip: ProgrammedMatrix) -> npt.NDArray[np.float64]:
    """Value of one unit of a tile's output, ``(row splits, groups · outputs)``."""
    return np.stack([np.concatenate([tile.scales * tile.gain for tile in row]) for row in chip.tiles]).astype(
        np.float64
    )
