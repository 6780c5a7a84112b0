"""One read of a tile in operators: its steps, converters, noise and currents. `tile_product` has the formulas.

Inputs that are driven slice by slice have all reads of a product side by side, on an axis of their own. ADC mismatch is
offsets, and codes of unequal steps (`lhc.hardware.converters`). Noise and currents are those of
`lhc.hardware.circuits.currents` and `Adc`: products ``z`` and their deviations are in units of an output code,
``codes`` in units of an input code.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from onnxscript import OpBuilder

from lhc.hardware.converters import Converters, InputSlices, Scaling
from lhc.lowering.functions.library import FLOAT, Values, beside, sizes


def codes_of_slices(op: OpBuilder, slices: InputSlices, codes: Any, axis: int, behind: int) -> Any:
    """Codes that every read is driven with.

    Args:
        codes: of all bits.
        axis: where that of the reads is put.
        behind: axes of the result that lie behind it.
    """
    wide, zero = op.Unsqueeze(codes, [axis], _outputs=["codes_beside"]), 0.0
    negative = op.Less(wide, zero, _outputs=["negative"])
    if slices.signed_from:
        size = op.Where(negative, op.Add(wide, slices.signed_from), wide, _outputs=["without_sign"])
    else:
        size = op.Abs(wide, _outputs=["without_sign"])
    shares = _for_every_read(op, [0.5**low for low in slices.lows], behind)
    low = op.Mul(size, shares, _outputs=["from_bit"])
    size_of_slice = slices.greatest + 1
    high = op.Mul(op.Floor(op.Mul(low, 1 / size_of_slice)), size_of_slice, _outputs=["higher_bits"])
    digits = op.Sub(op.Floor(low), high, _outputs=["digits"])
    if not slices.signed_from:
        return op.Where(negative, op.Neg(digits), digits, _outputs=["slices"])
    signs = op.Where(negative, slices.greatest, zero, _outputs=["signs"])
    return op.Concat(digits, signs, axis=axis, _outputs=["slices"])


def sum_of_slices(op: OpBuilder, slices: InputSlices, codes: Any, axis: int, behind: int) -> Any:
    """Sum of all reads, shifted and added; arguments as for `codes_of_slices`."""
    counted = op.Mul(codes, _for_every_read(op, slices.counts, behind), _outputs=["shifted"])
    return op.ReduceSum(counted, [axis], keepdims=0, _outputs=["sum_of_reads"])


def images_of_slices(op: OpBuilder, values: Any) -> Any:
    """Reads ``(images, reads, channels, ...)`` as images of their own."""
    return op.Reshape(values, op.Concat([-1], sizes(op, values, 2), axis=0), _outputs=["images"])


def in_slices(op: OpBuilder, slices: InputSlices, images: Any) -> Any:
    """Images as ``(images, reads, channels, ...)``."""
    return op.Reshape(images, op.Concat([-1, len(slices.counts)], sizes(op, images, 1), axis=0), _outputs=["reads"])


def deviates_of_slices(op: OpBuilder, v: Values, like: Any) -> Any:
    """Deviates of all reads, in the shape of their outputs; None where none are given."""
    return op.Reshape(v["deviates"], op.Shape(like), _outputs=["shaped_deviates"]) if "deviates" in v else None


def _for_every_read(op: OpBuilder, values: Any, behind: int) -> Any:
    """A number for every read, with axes behind it."""
    array = np.array(values, np.float32).reshape(-1, *(1,) * behind)
    return op.Constant(value=ir.tensor(array))


def found_codes(op: OpBuilder, capacitors: int, levels: Any, z: Any) -> Any:
    """The codes of outputs ``z``, in units of a code; five operators a bit.

    Args:
        capacitors: how many there are.
        levels: what each adds, ``(capacitors, ...)``, the rest as it meets the axes of the outputs.
    """
    size = op.Add(op.Abs(z, _outputs=["magnitude"]), 0.5, _outputs=["size"])
    reached: Any = 0.0
    code: Any = 0.0
    for k in reversed(range(capacitors)):
        level = op.Add(op.Gather(levels, k), reached, _outputs=[f"level_{k}"])
        above = op.Greater(level, size, _outputs=[f"above_{k}"])
        code = op.Where(above, code, op.Add(code, float(2**k)) if k < capacitors - 1 else float(2**k))
        reached = op.Where(above, reached, level, _outputs=[f"reached_{k}"])
    signed = op.Where(op.Less(z, 0.0), op.Neg(code), code, _outputs=["signed"])
    return op.Where(op.IsNaN(z), z, signed, _outputs=["found"])  # what is no number stays


def _with_offsets(op: OpBuilder, v: Values, z: Any, driven: Any = None) -> Any:
    """Outputs, in units of a code, with what their ADCs add in every read.

    Args:
        driven: 1 for vectors that are read, 0 for all-zero ones; None where these are told later.
    """
    added = op.Div(v["offsets"], v["adc_step"], _outputs=["offsets_in_codes"]) if "adc_step" in v else v["offsets"]
    return op.Add(z, added if driven is None else op.Mul(driven, added), _outputs=["z_with_offsets"])


def weights_in_codes(op: OpBuilder, v: Values) -> Any:
    """Weights that take input codes to output codes."""
    unit = _drive_step(v)
    if "adc_step" in v:
        unit = op.Div(1.0 if unit is None else unit, v["adc_step"], _outputs=["steps"])
    return v["weights"] if unit is None else op.Mul(v["weights"], unit, _outputs=["weights_in_codes"])


def _drive_step(v: Values) -> Any:
    """Value of one code that a read is driven with; None for 1."""
    return v.get("drive_step", v.get("dac_step"))


def driven_by(op: OpBuilder, magnitudes: Any) -> Any:
    """1 for vectors that are driven, 0 for all-zero ones, which put out no noise."""
    return op.Cast(op.Greater(magnitudes, 0.0, _outputs=["nonzero"]), to=FLOAT, _outputs=["driven"])


def sigma_of(op: OpBuilder, v: Values, driven: Any = None) -> Any:
    """Standard deviation of the noise in units of output codes; ``driven``: factor for every vector (None: 1)."""
    sigma = v["noise_sigma"]
    if "adc_step" in v:
        sigma = op.Div(sigma, v["adc_step"], _outputs=["sigma_in_codes"])
    return sigma if driven is None else op.Mul(driven, sigma, _outputs=["sigma_of_vectors"])


def _sigma_of_codes(op: OpBuilder, v: Values, codes: Any, weights: Any) -> Any:
    """Standard deviation of a product's noise in units of output codes, where there is read noise of products.

    Of every vector, ``(..., 1)``, where it is constant; ``driven`` is ``(inputs, 1)``. Of every output, ``(...,
    outputs)``, with ``shares`` of it in their units, which are as ``scales``, or where it grows with ``weights``.
    """
    steady, squares = sigma_of(op, v), op.Mul(codes, codes, _outputs=["squares"])
    by_weight = "current_noise" in v
    unit = v["current_noise"] if by_weight else v["read_noise"]
    summed = op.Abs(weights, _outputs=["conductances"]) if by_weight else v["driven"]
    read = op.MatMul(squares, summed, _outputs=["squares_of_vectors"])
    variance, step, code = op.Mul(unit, unit, _outputs=["variance_of_devices"]), _drive_step(v), v.get("adc_step")
    # Weights in codes have one step of each converter in them, and squares of codes none.
    for _ in range(1 if by_weight else 2):
        variance = variance if step is None else op.Mul(variance, step)
        variance = variance if code is None else op.Div(variance, code)
    total = op.Add(op.Mul(read, variance), op.Mul(steady, steady), _outputs=["variance"])
    sigma = op.Sqrt(total, _outputs=["sigma_of_vectors"])
    return op.Mul(sigma, v["shares"], _outputs=["sigma_of_outputs"]) if "shares" in v else sigma


def with_mismatch(op: OpBuilder, v: Values, z: Any, sigma: Any) -> Any:
    """Deviations (None: the same of all) with what mismatch of cells adds to them in outputs ``z``."""
    if "cell_mismatch" not in v:
        return sigma
    sigma = sigma_of(op, v) if sigma is None else sigma
    size = op.Abs(z, _outputs=["sum"])
    size = op.Mul(size, v["adc_step"]) if "adc_step" in v else size
    part = op.Div(op.Mul(v["cell_mismatch"], v["cell_mismatch"]), op.Add(size, 1.0), _outputs=["of_capacitors"])
    return op.Mul(sigma, op.Sqrt(op.Add(part, 1.0)), _outputs=["sigma_with_mismatch"])


def _with_ir_drop(op: OpBuilder, v: Values, z: Any, codes: Any, weights: Any) -> Any:
    """Outputs less what is lost along wires; ``near``: of every input, by its place on the wire, ``(inputs,)``."""
    lost = op.MatMul(op.Mul(codes, v["near"], _outputs=["codes_by_place"]), weights, _outputs=["lost"])
    currents = op.MatMul(op.Abs(codes), op.Abs(weights), _outputs=["currents"])
    rows = op.Cast(sizes(op, v["near"], 0), to=FLOAT, _outputs=["rows"])
    unit = op.Div(rows, v["ir_drop_g_ratio"], _outputs=["unit_of_currents"])
    unit = op.Mul(unit, v["adc_step"]) if "adc_step" in v else unit
    a = op.Mul(currents, unit, _outputs=["a"])
    inner = op.Add(op.Mul(a, op.Sub(op.Mul(a, 0.05), 0.2)), 0.5)
    drop = op.Mul(op.Mul(a, inner), v["ir_drop"], _outputs=["drop"])
    return op.Sub(z, op.Mul(drop, lost), _outputs=["z_with_drop"])


def noisy(op: OpBuilder, v: Values, z: Any, sigma: Any = None, deviates: Any = None) -> Any:
    """Outputs with noise.

    Args:
        z: outputs without noise.
        sigma: of the noise, where it is not the same for all outputs.
        deviates: those of the first read by default, where the model does not draw them.
    """
    if "noise_sigma" not in v:
        return z
    if "deviates" not in v:
        # Scale 1 and a product: RandomNormalLike with scale 0 ends onnxruntime's process.
        deviates = op.RandomNormalLike(z, _outputs=["deviates"])
        deviates = op.Mul(deviates, v["signs"], _outputs=["own_deviates"]) if "signs" in v else deviates
    elif deviates is None:
        deviates = deviates_of(op, v, 0, z)
    sigma = sigma_of(op, v) if sigma is None else sigma
    return op.Add(z, op.Mul(deviates, sigma, _outputs=["noise"]), _outputs=["noisy"])


def deviates_of(op: OpBuilder, v: Values, number: int, like: Any) -> Any:
    """Deviates of one read, in the shape of its outputs."""
    own = op.Gather(v["deviates"], number, _outputs=["own_deviates"])
    return op.Reshape(own, op.Shape(like), _outputs=["shaped_deviates"])


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
        z = _with_ir_drop(op, v, z, codes, weights)
    sigma = None
    if "read_noise" in v or "current_noise" in v:
        sigma = _sigma_of_codes(op, v, codes, weights)
        if driven is not None:
            sigma = op.Mul(sigma, _beside(op, spec, driven, "driven_beside"), _outputs=["sigma_of_driven"])
    elif driven is not None and spec.noise != "off":
        sigma = _beside(op, spec, sigma_of(op, v, driven), "sigma_beside")
    sigma = with_mismatch(op, v, z, sigma)
    if spec.offsets:
        z = _with_offsets(op, v, z, None if driven is None else _beside(op, spec, driven, "driven_beside"))
    if spec.slices is not None:
        deviates = deviates_of_slices(op, v, z)
    return noisy(op, v, z, sigma, deviates)


def _beside(op: OpBuilder, spec: TileProduct, per_vector: Any, name: str) -> Any:
    """``(...)`` to be combined with products, ``(..., 1)``, or ``(..., 1, 1)`` where these have an axis of reads."""
    one = beside(op, per_vector, name)
    return one if spec.slices is None else beside(op, one, f"{name}_reads")
