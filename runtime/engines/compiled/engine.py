"""The engine ``fast``: machines that it takes, and how it lays out a matrix."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lhc.hardware import Hardware
from lhc.programmed_matrix import ProgrammedMatrix

if TYPE_CHECKING:
    from lhc.runtime.engines.compiled.matrix import CompiledMatrix

MOST_BITS = 23
"""Of a converter: codes of more are beyond those that `lhc.runtime.engines.compiled.matrix.ROUNDS` rounds."""


class CompiledEngine:
    """The ordinary tile, compiled by numba."""

    name = "fast"

    def unsupported(self, hardware: Hardware) -> str | None:
        """See `lhc.runtime.engines.protocol.Engine`."""
        effects = {f"{rare.what} ({path})": True for path, rare in hardware.rare_effects.items()}
        effects |= {
            "drives inputs without signs where layers have none (dac.signs)": hardware.dac.to_calibrate,
            "has ADCs with a range for every column (adc.range)": hardware.adc.range == "column"
            or hardware.adc.columns is not None,
            "subtracts an offset digitally (mapping.pair)": hardware.offset != 0,
            f"has converters of more than {MOST_BITS} bits (dac.bits, adc.bits)": any(
                one.step is not None and (one.bits or 0) > MOST_BITS for one in (hardware.dac, hardware.adc)
            ),
        }
        return next((what for what, has in effects.items() if has), None)

    def matrix(
        self,
        chips: Sequence[ProgrammedMatrix],
        draws: Sequence[int],
        seed: int,
        hardware: Hardware,
        convolves: bool,
    ) -> "CompiledMatrix":
        """See `lhc.runtime.engines.protocol.Engine`."""
        from lhc.runtime.engines.compiled.matrix import CompiledMatrix

        return CompiledMatrix(chips, draws, seed, hardware).lay_out(convolves)
