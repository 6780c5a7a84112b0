"""One read of a tile: its steps, and the operators of each. `tile_product` has the formulas."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from onnxscript import OpBuilder

from lhc.hardware.converters.codes import Converters, InputSlices, Scaling
from lhc.lowering.functions.converters import deviates_of_slices, found_codes, with_offsets
from lhc.lowering.functions.library import Values, beside
from lhc.lowering.functions.product_noise import noisy, sigma_of, sigma_of_codes, with_ir_drop, with_mismatch

__all__ = ["Noise", "TileProduct", "clipped", "codes_of", "outputs_of", "read_of", "scales_of_codes"]

Noise = Literal["on", "off", "input"]
"""Output noise of a compiled model: drawn by the runtime, left out, or read from inputs of the model."""


@dataclass(frozen=True)
class TileProduct:
    """Structure of a read: which steps it has.

    Attributes:
        numbers: scalars that a call gives, by their names in `Converters`; a step that a read has not has none.
        noise: drawn in the model, given to it, or none.
        reductions: by what vectors are divided in each round of bound management; 1 alone without.
        grouped: the matrices of a grouped Conv are driven side by side.
        straddles: outputs, those of a group, lie on more than one tile, and saturate tile by tile.
        measured: magnitudes of the vectors are given, not computed.
        by_output: read noise is another one in the unit of every output.
        capacitors: of ADCs whose steps differ; 0 where they are alike.
        offsets: ADCs add something to their outputs.
        subtracts: devices hold an offset, which is subtracted digitally.
        slices, unsigned, unipolar, reads_zeros: see `Converters`.
    """

    scaling: Scaling
    numbers: tuple[str, ...]
    noise: Noise
    reductions: tuple[float, ...]
    grouped: bool
    straddles: bool
    measured: bool = False
    by_output: bool = False
    capacitors: int = 0
    offsets: bool = False
    subtracts: bool = False
    slices: InputSlices | None = None
    unsigned: bool = False
    unipolar: bool = False
    reads_zeros: bool = False

    @classmethod
    def of(
        cls, io: Converters, noise: Noise, *, managed: bool, grouped: bool, straddles: bool, units: bool
    ) -> "TileProduct":
        """Read of a layer with its converters.

        Args:
            managed: vectors may saturate, and are read again then.
            units: every output has a unit of its own.
        """
        noise = noise if io.noise_most > 0 else "off"
        given = [name for name in ("dac_step", "dac_limit", "adc_step", "adc_limit") if getattr(io, name) is not None]
        given += ["adc_saturated"] * managed + ["noise_sigma"] * (noise != "off")
        given += ["drive_step"] * (io.slices is not None)
        of_noise = ("read_noise", "current_noise", "cell_mismatch")
        given += [name for name in of_noise if noise != "off" and getattr(io, name) > 0]
        given += ["ir_drop", "ir_drop_g_ratio"] * (io.ir_drop > 0)
        reductions = io.reductions if managed else (1.0,)
        by_output = units and "read_noise" in given
        grouped, straddles = managed and grouped, managed and straddles
        found = cls(io.scaling, tuple(given), noise, reductions, grouped, straddles, by_output=by_output)
        found = replace(found, unsigned=io.unsigned, unipolar=io.unipolar, reads_zeros=io.reads_zeros)
        return replace(found, slices=io.slices)

    @property
    def measures(self) -> bool:
        """Whether magnitudes of vectors matter: they scale them, or tell those that are not driven."""
        return self.scaling == "vector" or ((self.noise != "off" or self.offsets) and not self.reads_zeros)

    @property
    def by_vector(self) -> bool:
        """Whether noise grows with the vectors: there is constant read noise."""
        return "read_noise" in self.numbers

    @property
    def by_weight(self) -> bool:
        """Whether what currents do to products depends on weights."""
        return "current_noise" in self.numbers or "ir_drop" in self.numbers

    @property
    def managed(self) -> bool:
        """Whether vectors that saturate are read again."""
        return len(self.reductions) > 1

    @property
    def tensors(self) -> tuple[str, ...]:
        """Other inputs of a call, after x, weights and scales."""
        wanted = {
            "input_range": self.scaling == "range",
            "memberships": self.straddles,
            "deviates": self.noise == "input",
            "driven": self.by_vector,
            "shares": self.by_output,
            "levels": self.capacitors > 0,
            "offsets": self.offsets,
            "near": "ir_drop" in self.numbers,
            "bases": self.subtracts,
        }
        return tuple(name for name, needed in wanted.items() if needed)

    @property
    def reads(self) -> int:
        """Deviates that an output takes at most."""
        reads = self.reductions if self.slices is None else self.slices.counts
        return 0 if self.noise == "off" else len(reads)


def codes_of(op: OpBuilder, spec: TileProduct, v: Values, x: Any, divisor: Any, reduction: Any = None) -> Any:
    """DAC codes of inputs, in aihwkit's order of operations: others round half a step another way.

    They are divided by ``divisor``, which has one number for every vector or is one number, and by a round's reduction
    (None: 1).
    """
    scaled = x
    if spec.scaling == "vector":
        factor = beside(op, op.Reciprocal(divisor, _outputs=["factor"]), "factor_beside")
        scaled = op.Mul(x, factor, _outputs=["scaled"])
    elif divisor is not None:
        scaled = clipped(op, op.Div(x, divisor, _outputs=["of_range"]), op.Constant(value_float=1.0), spec.unsigned)
    if reduction is not None:
        scaled = op.Div(scaled, reduction, _outputs=["reduced"])
    codes = op.Div(scaled, v["dac_step"], _outputs=["in_steps"]) if "dac_step" in v else scaled
    if "dac_limit" in v:
        codes = clipped(op, codes, v["dac_limit"], spec.unsigned)
    return op.Round(codes, _outputs=["codes"]) if "dac_step" in v else codes


def scales_of_codes(op: OpBuilder, v: Values) -> Any:
    """Value of one output code."""
    return op.Mul(v["scales"], v["adc_step"], _outputs=["code_scales"]) if "adc_step" in v else v["scales"]


def outputs_of(op: OpBuilder, spec: TileProduct, v: Values, z: Any) -> Any:
    """ADC codes of outputs, clipped where they saturate."""
    read = z
    if spec.capacitors:
        read = found_codes(op, spec.capacitors, v["levels"], z)
    elif "adc_step" in v:
        read = op.Round(z, _outputs=["read"])
    # Last: onnxruntime fuses a Clip that follows a Conv, which is slower than the Clip by itself.
    if spec.unipolar and "adc_limit" not in v:
        return op.Relu(read, _outputs=["clipped"])
    return clipped(op, read, v["adc_limit"], spec.unipolar) if "adc_limit" in v else read


def clipped(op: OpBuilder, x: Any, limit: Any, from_zero: bool = False) -> Any:
    """Values clipped to -limit, or 0, and limit."""
    least = 0.0 if from_zero else op.Neg(limit, _outputs=["least"])
    return op.Clip(x, least, limit, _outputs=["clipped"])


def read_of(
    op: OpBuilder, spec: TileProduct, v: Values, codes: Any, weights: Any, driven: Any = None, deviates: Any = None
) -> Any:
    """Analog sums of one read, in units of ADC codes.

    Args:
        driven: 1 for vectors that are driven, 0 for all-zero ones, ``(...)``; None where these are told later.
        deviates: of the noise, where they are not those of the first read.
    """
    z = op.MatMul(codes, weights, _outputs=["z"])
    if "ir_drop" in v:
        z = with_ir_drop(op, v, z, codes, weights)
    sigma = None
    if "read_noise" in v or "current_noise" in v:
        sigma = sigma_of_codes(op, v, codes, weights)
        if driven is not None:
            sigma = op.Mul(sigma, _beside(op, spec, driven, "driven_beside"), _outputs=["sigma_of_driven"])
    elif driven is not None and spec.noise != "off":
        sigma = _beside(op, spec, sigma_of(op, v, driven), "sigma_beside")
    sigma = with_mismatch(op, v, z, sigma)
    if spec.offsets:
        z = with_offsets(op, v, z, None if driven is None else _beside(op, spec, driven, "driven_beside"))
    if spec.slices is not None:
        deviates = deviates_of_slices(op, v, z)
    return noisy(op, v, z, sigma, deviates)


def _beside(op: OpBuilder, spec: TileProduct, per_vector: Any, name: str) -> Any:
    """``(...)`` to be combined with products, ``(..., 1)``, or ``(..., 1, 1)`` where these have an axis of reads."""
    one = beside(op, per_vector, name)
    return one if spec.slices is None else beside(op, one, f"{name}_reads")
