"""Numbers of the converters as compiled loops take them."""

from dataclasses import dataclass

import numpy as np

from lhc.hardware import Hardware
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.converters.codes import Converters
from lhc.programmed_matrix import Floats
from lhc.runtime.engines.compiled.kernels.adc_noise_and_currents import ConverterCodes
from lhc.runtime.engines.counter_rng import deviate_terms

__all__ = ["RowConverters"]

INFINITE = np.float32(np.inf)
ROUNDS = np.float32(1.5 * 2**23)
"""Added and taken away again in float32, this rounds half to even below 2^22, as the processor's rounding mode does."""


@dataclass(frozen=True)
class RowConverters:
    """`Converters` as compiled loops take them; a step is 1 where nothing is quantised.

    Attributes:
        input_step, output_step: in units of the full scale, as all steps are.
        input_clip, output_clip: greatest magnitudes in codes, infinite where nothing clips.
        output_limit: greatest magnitude in codes that does not count as saturated.
        input_shift, output_shift: what rounds codes, 0 where nothing is quantised.
        noise: standard deviation of the output noise, in output codes.
        scales_vectors: every vector is divided by its greatest magnitude.
        reductions: of the inputs, by round of bound management.
        currents: what they do to products.
    """

    input_step: float
    input_clip: np.float32
    input_shift: np.float32
    output_step: float
    output_clip: float
    output_limit: float
    output_shift: np.float32
    noise: float
    scales_vectors: bool
    reductions: tuple[float, ...]
    currents: Currents

    @classmethod
    def of(cls, hardware: Hardware) -> "RowConverters":
        io, clip = Converters.of(hardware), hardware.dac.clip
        input_step, output_step = io.dac_step or 1.0, io.adc_step or 1.0
        return cls(
            input_step=input_step,
            input_clip=INFINITE if clip is None else np.float32(clip / input_step),
            input_shift=np.float32(0) if io.dac_step is None else ROUNDS,
            output_step=output_step,
            output_clip=float(INFINITE) if io.adc_limit is None else io.adc_limit,
            output_limit=float(INFINITE) if io.adc_saturated is None else io.adc_saturated,
            output_shift=np.float32(0) if io.adc_step is None else ROUNDS,
            noise=io.noise_sigma / output_step,
            scales_vectors=io.scaling == "vector",
            reductions=io.reductions,
            currents=hardware.currents,
        )

    def codes(self) -> ConverterCodes:
        """Converter constants in the form that kernels take."""
        deviation = self.noise
        if self.currents.any:  # the kernels' factor is that of every product, or vector
            deviation = float(self.noise > 0 or self.currents.read_noise > 0)
        return ConverterCodes(
            self.scales_vectors,
            self.input_shift,
            self.input_clip,
            self.output_shift,
            np.float32(self.output_limit),
            np.float32(self.output_clip),
            np.array(self.reductions, np.float32),
            deviate_terms(deviation) if deviation > 0 else np.zeros(0, np.float32),
        )

    def in_codes(self, inputs: int) -> tuple[float, float, float, float]:
        """Numbers of `lhc.hardware.circuits.currents` for a tile with so many rows.

        p is weights times codes, in output codes. Variance of the output noise; variance by ``Σ |p| |code|``; ``a`` by
        ``Σ |p|``; factor on the drop. Where read noise is constant, the variances are those of `by_vector`.
        """
        current = inputs * self.output_step / self.currents.ir_drop_g_ratio
        if self.currents.constant:
            return 1.0, 0.0, current, self.currents.ir_drop
        read = self.currents.read_noise**2 * self.input_step / self.output_step
        return self.noise**2, read, current, self.currents.ir_drop

    def by_vector(self, driven: Floats) -> Floats:
        """Variance of the output noise, and of constant read noise by the square of each input's code, in codes.

        Args:
            driven: rows of the tile that each input drives, ``(inputs,)``.
        """
        read = (self.currents.read_noise * self.input_step / self.output_step) ** 2
        return np.append(self.noise**2, read * driven).astype(np.float32)
