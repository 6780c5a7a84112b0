"""aihwkit's torch tile with bound management per input vector, as hardware has it.

aihwkit's own torch tile manages a whole call at once: one saturating vector makes every vector of the call be
read again at half the resolution. Here each vector is managed by itself, so an answer never depends on its
neighbours. Everything else (scaling, DAC, product, noise, ADC) is aihwkit's own arithmetic.

Round k reads the whole block at reduction 2^k with random numbers of its own; a vector takes the first round
in which none of its outputs saturates, or the last. Two deviations from aihwkit: an all-zero input vector and an
all-zero weight column of a tile give 0 (aihwkit would put out noise as large as a full-scale signal).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from aihwkit.simulator.parameters.enums import NoiseManagementType, WeightNoiseType
from aihwkit.simulator.parameters.io import IOParameters
from aihwkit.simulator.tiles.analog_mvm import AnalogMVM
from aihwkit.simulator.tiles.torch_tile import TorchSimulatorTile
from torch import Tensor

from lhc.conductances import Floats
from lhc.hardware.adc_mismatch import found_codes
from lhc.runtime.engines.compiled.jit import compiled
from lhc.runtime.engines.compiled.pointers import number, put, span

__all__ = ["PerVectorMVM", "PerVectorTile"]


class PerVectorMVM(AnalogMVM):  # type: ignore[misc]  # aihwkit is untyped
    """aihwkit's product with each vector managed by itself."""

    @classmethod
    def matmul(
        cls,
        weight: Tensor,
        input_: Tensor,
        io_pars: IOParameters,
        trans: bool = False,
        is_test: bool = False,
        reseed: Callable[[int], None] | None = None,
        reductions: Sequence[float] = (1.0,),
        unsigned: bool = False,
        reads_zeros: bool = False,
        **fwd_pars: Any,
    ) -> Tensor:
        """Products of a block of vectors.

        Args:
            weight: ``(outputs, inputs)``, scaled to ±1.
            input_: ``(vectors, inputs)``.
            trans: use the transpose.
            is_test: inference.
            reseed: called with the number of each round before it draws noise.
            reductions: of the inputs, by round.
            unsigned, reads_zeros: see `PerVectorTile`.
            fwd_pars: as aihwkit's tile passes them.

        Returns:
            ``(vectors, outputs)``.
        """
        magnitudes = input_.abs().amax(dim=1, keepdim=True)
        input_ = input_.clamp(min=0) if unsigned else input_
        scaled = io_pars.noise_management == NoiseManagementType.ABS_MAX
        scales = torch.where(magnitudes > 0, magnitudes, 1.0) if scaled else torch.ones_like(magnitudes)
        result = torch.zeros(())
        pending = torch.ones(len(input_), dtype=torch.bool)
        for round_, reduction in enumerate(reductions):
            if reseed is not None:
                reseed(round_)
            # As aihwkit does it, in this order: other orders flip about one DAC code in a million.
            factor = 1.0 / scales / reduction
            saturated, output = cls._compute_analog_mv(
                weight=weight,
                input_=input_,
                trans=trans,
                scale=factor,
                scaling=True,
                is_test=is_test,
                io_pars=io_pars,
                **fwd_pars,
            )
            output *= io_pars.out_scale / factor
            result = output if round_ == 0 else torch.where(pending[:, None], output, result)
            pending &= saturated
            if not pending.any():
                break
        zero = magnitudes == 0
        return torch.where(zero, 0.0, result) if zero.any() and not reads_zeros else result

    @classmethod
    def check_support(cls, io_pars: IOParameters) -> None:
        """As aihwkit's torch tile does, but read noise of products and IR drop are computed here."""
        super().check_support(replace(io_pars, w_noise=0.0, w_noise_type=WeightNoiseType.NONE, ir_drop=0.0))

    @classmethod
    def _compute_analog_mv(
        cls,
        weight: Tensor,
        input_: Tensor,
        trans: bool,
        scale: Tensor | float,
        scaling: bool,
        is_test: bool,
        io_pars: IOParameters,
        **fwd_pars: Any,
    ) -> tuple[Tensor, Tensor]:
        """aihwkit's, with what its compiled tile does between product and ADC, see `lhc.hardware.currents`."""
        x = cls._prepare_input(input_, scale, scaling, io_pars.inp_asymmetry != 0.0, io_pars)
        output = cls._matmul(weight, x, trans=trans)
        if io_pars.ir_drop > 0:
            n = weight.shape[1]
            a = n / io_pars.ir_drop_g_ratio * (x.abs() @ weight.abs().T)
            near = 1 - (1 - torch.arange(n, dtype=x.dtype) / n) ** 2
            output -= io_pars.ir_drop * a * (a * (0.05 * a - 0.2) + 0.5) * ((x * near) @ weight.T)
        if io_pars.w_noise > 0:
            constant = io_pars.w_noise_type == WeightNoiseType.ADDITIVE_CONSTANT
            power = x.square().sum(1, keepdim=True) if constant else x.square() @ weight.abs().T
            output += io_pars.w_noise * power.sqrt() * torch.randn_like(output)
        return cls._finalize_output(out_values=output, io_pars=io_pars, **fwd_pars)

    @classmethod
    def _finalize_output(
        cls,
        out_values: Tensor,
        io_pars: IOParameters,
        out_noise_values: Tensor | None = None,
        offset: Tensor | None = None,
        levels: Floats | None = None,
        unipolar: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Noise, ADC and saturation, as aihwkit does them, but telling which vectors saturated; offsets before them.

        Args:
            levels: of ADCs whose steps differ, see `lhc.hardware.adc_mismatch`.
            unipolar: outputs below 0 are clipped.
        """
        bound = io_pars.out_bound if io_pars.out_bound > 0 else float("inf")
        output, alike = cls.converted(out_values, io_pars, offset, levels, unipolar)
        return (alike.abs() > bound).any(dim=1), output.clamp(min=-bound, max=bound)

    @staticmethod
    def converted(
        values: Tensor, io: IOParameters, offset: Tensor | None, levels: Floats | None, unipolar: bool
    ) -> tuple[Tensor, Tensor]:
        """What an ADC gives that never saturates, with its noise; and what one does whose steps are alike.

        Args:
            values: are overwritten; others as of `_finalize_output`.
        """
        if offset is not None:
            values += offset
        if io.out_noise > 0:
            values += torch.randn_like(values).mul_(io.out_noise)
        if unipolar:
            values.clamp_(min=0)
        if io.out_res <= 0:
            return values, values
        step = 2 * io.out_bound * io.out_res
        exact = values.div_(step)
        if levels is None:
            alike = exact.round_().mul_(step)
            return alike, alike
        alike = exact.round().mul_(step)
        return step * torch.from_numpy(found_codes(exact.detach().numpy(), levels)), alike


class PerVectorTile(TorchSimulatorTile):  # type: ignore[misc]
    """Simulator tile that multiplies by `PerVectorMVM`.

    Attributes:
        reseed: seeds the noise of a round of bound management; None leaves the generator running, as
            programming and read-outs want it.
        reductions: of the inputs, by round of bound management.
        columns: the outputs that are driven: those of one group of a grouped Conv.
        live: 1 for outputs that hold any weight, 0 for all-zero columns; None where there are none.
        faults: what a chip's cells hold, given what they would hold if they were healthy; None where they are.
        offset: of the ADCs of a chip, ``(outputs,)``; None where there is none.
        levels: of the ADCs of a chip, see `ProgrammedTile`; None where steps are all alike.
        base: what is subtracted behind the ADC, times the sum of the inputs, before drift compensation, ``(outputs,)``;
            None: nothing, as in read-outs.
        unsigned: inputs below 0 are clipped to it.
        unipolar: outputs below 0 are.
        reads_zeros: all-zero vectors have noise as others have.
    """

    reseed: Callable[[int], None] | None = None
    reductions: Sequence[float] = (1.0,)
    columns: slice = slice(None)
    live: Tensor | None = None
    faults: Callable[[Floats], Floats] | None = None
    offset: Tensor | None = None
    levels: Floats | None = None
    base: Tensor | None = None
    unsigned = False
    unipolar = False
    reads_zeros = False

    def __init__(self, x_size: int, d_size: int, rpu_config: Any, bias: bool = False) -> None:
        super().__init__(x_size, d_size, rpu_config, bias, analog_mvm=PerVectorMVM)

    def set_weights(self, weight: Tensor) -> None:
        """What healthy devices hold, ``(outputs, inputs)``: mapped, programmed or drifted."""
        super().set_weights(weight if self.faults is None else torch.from_numpy(self.faults(weight.numpy())))

    def hold(self, weights: Floats) -> None:
        """The same, one after the other; they are not copied where devices are healthy."""
        healthy = torch.from_numpy(weights).view(self.weight.shape)
        if self.faults is None:
            self.weight.data = healthy
        else:
            self.set_weights(healthy)

    def mark_zero_columns(self) -> None:
        """Remember which outputs have no weight, if any; to be called before programming."""
        live = (self.weight.detach() != 0).any(dim=1)
        self.live = None if live.all() else live.to(self.weight.dtype)

    def forward(
        self,
        x_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        is_test: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """The driven outputs, ``(vectors, driven outputs)``."""
        weight = self.weight[self.columns]
        output = PerVectorMVM.matmul(
            weight,
            x_input,
            self._f_io,
            is_test=is_test,
            reseed=self.reseed,
            reductions=self.reductions,
            offset=None if self.offset is None else self.offset[self.columns],
            levels=None if self.levels is None else self.levels[:, self.columns],
            unsigned=self.unsigned,
            unipolar=self.unipolar,
            reads_zeros=self.reads_zeros,
        )
        if self.base is not None:
            output = output - self.base[self.columns] * self._sums(x_input)
        return output if self.live is None else output * self.live[self.columns]

    def _sums(self, x_input: Tensor) -> Tensor:
        """Of the inputs as the DAC makes them, ``(vectors, 1)``."""
        exact = replace(self._f_io, out_bound=0.0, out_noise=0.0, out_res=-1.0)
        ones = torch.ones(1, x_input.shape[1])
        return PerVectorMVM.matmul(ones, x_input, exact, is_test=True, unsigned=self.unsigned)

    def read_out(self) -> Tensor:
        """What `forward` gives for the unit matrix, ``(inputs, outputs)``, where neither DAC nor ADC saturates.

        The DAC takes 1 as its greatest code, and the product of the unit matrix is the weights.
        """
        if self.offset is None and self.levels is None and not self.unipolar and self._codes is not None:
            output = torch.empty(self.weight.shape[::-1]).normal_()
            _read_out(self.weight.detach().numpy(), self._codes, output.numpy())
        else:
            output = self.weight.detach().T.clone(memory_format=torch.contiguous_format).mul_(self._greatest_code)
            output, _ = PerVectorMVM.converted(output, self._f_io, self.offset, self.levels, self.unipolar)
        return output if self.live is None else output * self.live

    @cached_property
    def _codes(self) -> Floats | None:
        """What the DAC makes of 1, and the ADC's noise and step; None where one of both is missing."""
        noise, step = self._f_io.out_noise, 2 * self._f_io.out_bound * self._f_io.out_res
        return np.array((self._greatest_code, noise, step), np.float32) if noise > 0 and step > 0 else None

    @cached_property
    def _greatest_code(self) -> float:
        """What the DAC makes of 1."""
        return float(PerVectorMVM._prepare_input(torch.ones(1, 1), torch.ones(1, 1), True, False, self._f_io))


@compiled()
def _read_out(weights: Floats, numbers: Floats, result: Floats) -> None:
    """Weights as an ADC reads them.

    Args:
        weights: ``(outputs, inputs)``.
        numbers: what the DAC makes of 1, and the ADC's noise and step.
        result: deviates, which the values overwrite, ``(inputs, outputs)``.
    """
    given, held, target = span(numbers), span(weights), span(result)
    code, noise, step = number(given, 0), number(given, 1), number(given, 2)
    inputs, outputs = result.shape
    for i in range(inputs):
        for o in range(outputs):
            place = i * outputs + o
            value = number(held, o * inputs + i) * code + number(target, place) * noise
            put(target, place, np.rint(value / step) * step)
