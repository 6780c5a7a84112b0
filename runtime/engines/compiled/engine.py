"""The engine ``fast``: machines that it takes, and how it lays out a matrix."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lhc.conductances import ProgrammedMatrix
from lhc.hardware import Hardware

if TYPE_CHECKING:
    from lhc.runtime.engines.compiled.matrix import CompiledMatrix

__all__ = ["CompiledEngine"]


class CompiledEngine:
    """The ordinary tile, compiled by numba."""

    name = "fast"

    def unsupported(self, hardware: Hardware) -> str | None:
        """See `lhc.runtime.engines.protocol.Engine`."""
        dac, adc = hardware.dac, hardware.adc
        effects = {
            "drives inputs in slices (dac.slice_bits)": dac.slice_bits is not None,
            f"drives inputs in the code {dac.code} (dac.code)": dac.code != "sign-magnitude",
            "drives inputs without signs where layers have none (dac.signs)": dac.to_calibrate,
            "has ADCs that begin at 0 (adc.polarity)": adc.polarity == "unipolar",
            "reads all-zero vectors and columns (adc.zero_skipping)": not adc.zero_skipping,
            "has ADCs with a range for every column (adc.range)": adc.range == "column" or adc.columns is not None,
            "has ADCs whose capacitors differ (adc.capacitor_mismatch)": adc.capacitor_mismatch > 0,
            "has noise that depends on outputs (adc.cell_mismatch)": adc.cell_mismatch > 0,
            "senses voltages (adc.sensing)": adc.sensing == "voltage",
            "subtracts an offset digitally (mapping.pair)": hardware.offset != 0,
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
