"""Read-out for aihwkit's drift compensations: ``forward`` of their read-out vectors, through the ADC.

DAC, noise and ADC are aihwkit's own (``AnalogMVM``). Added here are what its torch tile lacks: currents
(`lhc.hardware.circuits.currents`), offsets and unequal steps of ADCs, unipolar ADCs, and columns that are not read. The
read-out vectors of aihwkit's compensations are the unit matrix, whose product is the weights.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from aihwkit.inference.compensation.drift import GlobalDriftCompensation, PerColumnDriftCompensation
from aihwkit.simulator.parameters.io import IOParameters
from aihwkit.simulator.tiles.analog_mvm import AnalogMVM
from torch import Tensor

from lhc.hardware.circuits.currents import Currents
from lhc.hardware.converters import found_codes
from lhc.programmed_matrix import Floats
from lhc.runtime.lru_cache import LruCache
from lhc.runtime.tiles.circuit_effects import ir_drop_loss, read_noise_deviation

_OF_UNIT_VECTORS = (GlobalDriftCompensation.get_readout_tensor, PerColumnDriftCompensation.get_readout_tensor)
"""What makes aihwkit's own read-out vectors, the unit matrix: to make it for every tile takes as long as a read-out."""

_TOGETHER = 512
"""Unit vectors whose currents are found together."""


class _ReadOutMVM(AnalogMVM):  # type: ignore[misc]  # aihwkit is untyped
    """aihwkit's product of a tile, with what its torch tile lacks."""

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
        currents: Currents | None = None,
        **fwd_pars: Any,
    ) -> tuple[bool, Tensor]:
        x = cls._prepare_input(input_, scale, scaling, io_pars.inp_asymmetry != 0.0, io_pars)
        output = cls._matmul(weight, x, trans=trans)
        found: tuple[bool, Tensor] = cls._finalize_output(
            out_values=_with_currents(output, weight, [x], currents), io_pars=io_pars, **fwd_pars
        )
        return found

    @classmethod
    def of_unit_vectors(
        cls, weight: Tensor, io_pars: IOParameters, currents: Currents | None, **fwd_pars: Any
    ) -> Tensor:
        """The product of the unit matrix: the weights, as DAC, currents and ADC let them be seen.

        Where bound management reads again, it is `matmul`, of which this is a faster form.
        """
        code = _greatest_code(io_pars.inp_res, io_pars.inp_bound)
        # torch draws random numbers in the order of memory, and slowly where that is not the tensor's.
        output = weight.T.clone(memory_format=torch.contiguous_format).mul_(code)
        output = _with_currents(output, weight, _units_in_blocks(weight.shape[1], code), currents)
        within, found = cls._finalize_output(out_values=output, io_pars=io_pars, **fwd_pars)
        if not within:
            units = _unit(weight.shape[1])
            again: Tensor = cls.matmul(weight, units, io_pars, is_test=True, currents=currents, **fwd_pars)
            return again
        return found if io_pars.out_scale == 1.0 else found * io_pars.out_scale

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
    ) -> tuple[bool, Tensor]:
        if offset is not None:
            out_values += offset
        if levels is None and not unipolar:
            found: tuple[bool, Tensor] = super()._finalize_output(out_values, io_pars)
            return found
        _, noisy = super()._finalize_output(out_values, replace(io_pars, out_res=-1.0, out_bound=0.0))
        noisy = noisy.clamp(min=0) if unipolar else noisy
        converted: tuple[bool, Tensor] = super()._finalize_output(noisy, replace(io_pars, out_noise=0.0))
        if levels is None:
            return converted
        step = 2 * io_pars.out_bound * io_pars.out_res
        codes = torch.from_numpy(found_codes((noisy / step).numpy(), levels))
        return converted[0], (step * codes).clamp(-io_pars.out_bound, io_pars.out_bound)


def _with_currents(output: Tensor, weight: Tensor, blocks: Iterable[Tensor], currents: Currents | None) -> Tensor:
    """Products, which it changes, with what currents do to them.

    Args:
        output: ``(vectors, outputs)``.
        blocks: inputs, some vectors after the others, ``(vectors, inputs)``.
    """
    if currents is None:
        return output
    weights, deviation, start = weight[None, None], torch.empty_like(output), 0
    for x in blocks:
        vectors, some = x.T[None], slice(start, start + len(x))
        if currents.ir_drop > 0:
            output[some] -= ir_drop_loss(vectors, weights, currents)[0, 0].T
        if currents.read_noise > 0:
            deviation[some] = read_noise_deviation(vectors, weights, currents, None, None)[0, 0].T
        start += len(x)
    if currents.read_noise > 0:
        output += deviation.mul_(torch.randn_like(output))
    return output


def _units_in_blocks(size: int, code: float) -> Iterator[Tensor]:
    """The unit matrix times a code, some rows at a time: all of it may be larger than the weights by far."""
    for start in range(0, size, _TOGETHER):
        block = torch.zeros(min(_TOGETHER, size - start), size)
        block.diagonal(start).fill_(code)
        yield block


class TileReadOut:
    """A tile as aihwkit's drift compensations see it: what their ``init_baseline`` asks for.

    Attributes:
        reference_combined_weights: that the devices were to be programmed to, ``(outputs, inputs)``.
        weights: that they hold now, likewise.
    """

    def __init__(
        self,
        config: Any,
        reference: Tensor,
        read: Tensor | None,
        offset: Tensor | None,
        levels: Floats | None,
        unipolar: bool,
        currents: Currents | None,
    ) -> None:
        """A tile with aihwkit's configuration.

        Args:
            reference: see the class.
            read: 1 for every column that is read, 0 for others, ``(outputs,)``; None: all are.
            offset: of the ADCs, ``(outputs,)``.
            levels: of ADCs whose steps differ, see `lhc.hardware.converters`.
            unipolar: outputs below 0 are clipped.
            currents: what they do to products; None: nothing.
        """
        self.rpu_config = config
        self.reference_combined_weights = reference
        self.weights = reference
        self._read = read
        self._currents = currents
        self._pars: dict[str, Any] = {"offset": offset, "levels": levels, "unipolar": unipolar}

    def _forward_drift_readout_tensor(self, reset_if: bool = False, exact_reference: bool = False) -> Tensor:
        """Outputs for the read-out vectors, ``(vectors, outputs)``; of the reference, as plain products, on request.

        Its name is that of aihwkit's tiles, which its compensations call.
        """
        if exact_reference:
            exact: Tensor = self._vectors @ self.reference_combined_weights.T
            return exact
        forward = self.rpu_config.forward
        if self._reads_units:
            output = _ReadOutMVM.of_unit_vectors(self.weights, forward, self._currents, **self._pars)
        else:
            output = _ReadOutMVM.matmul(
                self.weights, self._vectors, forward, is_test=True, currents=self._currents, **self._pars
            )
        found: Tensor = output if self._read is None else output * self._read
        return found

    @cached_property
    def _vectors(self) -> Tensor:
        """Read-out vectors of the compensation; aihwkit draws them once a tile, too."""
        found: Tensor = self.rpu_config.drift_compensation.get_readout_tensor(self.weights.shape[1])
        return found

    @cached_property
    def _reads_units(self) -> bool:
        """Whether these are the unit matrix."""
        made_by = type(self.rpu_config.drift_compensation).get_readout_tensor
        return made_by in _OF_UNIT_VECTORS or torch.equal(self._vectors, _unit(self.weights.shape[1]))

    def baseline(self) -> Tensor:
        """Baseline of the compensation: its read-out right after programming."""
        found: Tensor = self.rpu_config.drift_compensation.init_baseline(self)
        return found

    def gain(self, baseline: Tensor) -> Tensor:
        """Gain of the compensation now: one number or ``(outputs,)``."""
        found: Tensor = self.rpu_config.drift_compensation.apply(self._forward_drift_readout_tensor(), baseline)
        return found


_UNITS: LruCache[Tensor] = LruCache(2**26)
"""Unit matrices of tiles with up to 4,096 rows; aihwkit makes one for every read-out."""


def _unit(size: int) -> Tensor:
    return _UNITS.get(size, lambda: torch.eye(size))


@lru_cache(maxsize=8)
def _greatest_code(resolution: float, bound: float) -> float:
    """DAC code of 1."""
    dac = IOParameters(inp_res=resolution, inp_bound=bound)
    return float(_ReadOutMVM._prepare_input(torch.ones(1, 1), torch.ones(1, 1), True, False, dac))
