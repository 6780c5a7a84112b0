"""``lhc.analog.TileProduct``: vectors times what one read of a tile holds.

    s = max |x| of every vector, or a static range, or 1
    codes = round(clip(x / (s · dac_step)))                                    DAC
    z = codes · w · dac_step / adc_step + sigma / adc_step · N(0, 1)           product and noise
    y = clip(round(z)) · s · adc_step · scale                                  ADC and digital scaling

sigma is noise_sigma, or √(noise_sigma² + read_noise² dac_step² Σ driven · codes²) where there is constant read noise.
Converters are Round and Clip, not QuantizeLinear: onnxruntime takes a model with that for a quantised one, and
quantises the weights too. Where steps of an ADC differ, its code is found bit by bit (`lhc.lowering.adc_codes`).

Where a vector can saturate, a branch reads those that do again with s · 2, s · 4, …; docs/emulation.md has the
formulas. What is constant in them is computed once, when onnxruntime loads the model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import onnx_ir as ir
from onnxscript import OpBuilder

from lhc.hardware.converters import Converters, Scaling
from lhc.lowering.adc_codes import found_codes, with_offsets
from lhc.lowering.library import FLOAT, Library, Values, beside, call, reduce_max, sizes, value
from lhc.lowering.product_noise import deviates_of, driven_by, noisy, sigma_of, sigma_of_codes

__all__ = [
    "Noise",
    "TileProduct",
    "codes_of",
    "outputs_of",
    "product_function",
    "scales_of_codes",
    "weights_in_codes",
]

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
        straddles: the outputs of a group lie on more than one tile, and saturate tile by tile.
        measured: magnitudes of the vectors are given, not computed.
        by_output: read noise is another one in the unit of every output.
        capacitors: of ADCs whose steps differ; 0 where they are alike.
        offsets: ADCs add something to their outputs.
        unsigned, unipolar, reads_zeros: see `Converters`.
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
    unsigned: bool = False
    unipolar: bool = False
    reads_zeros: bool = False

    @classmethod
    def of(
        cls, io: Converters, noise: Noise, *, managed: bool, grouped: bool, straddles: bool, units: bool
    ) -> "TileProduct":
        """That of a layer's converters.

        Args:
            managed: vectors may saturate, and are read again then.
            units: every output has a unit of its own.
        """
        noise = noise if io.noise_most > 0 else "off"
        given = [name for name in ("dac_step", "dac_limit", "adc_step", "adc_limit") if getattr(io, name) is not None]
        given += ["adc_saturated"] * managed + ["noise_sigma"] * (noise != "off")
        given += ["read_noise"] * (noise != "off" and io.read_noise > 0)
        reductions = io.reductions if managed else (1.0,)
        by_output = units and "read_noise" in given
        grouped, straddles = managed and grouped, managed and straddles
        kind = {"unsigned": io.unsigned, "unipolar": io.unipolar, "reads_zeros": io.reads_zeros}
        return cls(io.scaling, tuple(given), noise, reductions, grouped, straddles, by_output=by_output, **kind)

    @property
    def measures(self) -> bool:
        """Whether magnitudes of vectors matter: they scale them, or tell those that are not driven."""
        return self.scaling == "vector" or ((self.noise != "off" or self.offsets) and not self.reads_zeros)

    @property
    def by_vector(self) -> bool:
        """Whether noise grows with the vectors: there is constant read noise."""
        return "read_noise" in self.numbers

    @property
    def managed(self) -> bool:
        """Whether vectors that saturate are read again."""
        return len(self.reductions) > 1

    @property
    def tensors(self) -> tuple[str, ...]:
        """Other inputs of a call, after x, weights and scales."""
        wanted = {
            "input_range": self.scaling == "range",
            "tile_numbers": self.straddles,
            "deviates": self.noise == "input",
            "driven": self.by_vector,
            "shares": self.by_output,
            "levels": self.capacitors > 0,
            "offsets": self.offsets,
        }
        return tuple(name for name, needed in wanted.items() if needed)

    @property
    def reads(self) -> int:
        """Deviates that an output takes at most."""
        return 0 if self.noise == "off" else len(self.reductions)


def product_function(library: Library, spec: TileProduct) -> ir.Function:
    """``TileProduct``, or ``ManagedTileProduct`` where vectors may be read again."""
    return library.function(
        "ManagedTileProduct" if spec.managed else "TileProduct",
        spec,
        ("x", *(["magnitudes"] if spec.measured else []), "weights", "scales", *spec.tensors, *spec.numbers),
        lambda op, v: _product(op, library, spec, v),
        "Vectors times the programmed weights of a tile: input scaling, DAC, product, output noise, ADC, scaling.",
    )


def _product(op: OpBuilder, library: Library, spec: TileProduct, v: Values) -> Any:
    """``(..., inputs) -> (..., outputs)``.

    ``weights`` are ``(inputs, outputs)``, or ``(groups, 1, inputs, outputs)``; ``scales`` are ``(1, outputs)``, or
    ``(groups, 1, 1, outputs)``, or ``(outputs,)`` where vectors are not scaled.
    """
    x = v["x"]
    magnitudes = v.get("magnitudes")
    if spec.measures and magnitudes is None:
        magnitudes = reduce_max(op, op.Abs(x, _outputs=["absolute"]), "magnitudes")
    divisor = v["input_range"] if spec.scaling == "range" else None
    sigma = None
    if spec.scaling == "vector":
        # All-zero vectors are divided by 1; their outputs are multiplied by 0 below.
        divisor = op.Where(op.Equal(magnitudes, 0.0, _outputs=["zero"]), 1.0, magnitudes, _outputs=["divisor"])
    elif spec.noise != "off" and not spec.by_vector:
        sigma = None if spec.reads_zeros else beside(op, sigma_of(op, v, driven_by(op, magnitudes)), "sigma_beside")
    weights = weights_in_codes(op, v)
    inputs = codes_of(op, spec, v, x, divisor)
    if spec.by_vector:
        sigma = sigma_of_codes(op, v, inputs)
        if spec.measures and spec.scaling != "vector":
            sigma = op.Mul(sigma, beside(op, driven_by(op, magnitudes), "driven_beside"), _outputs=["sigma_of_driven"])
    z = op.MatMul(inputs, weights, _outputs=["z"])
    if spec.offsets:
        masked = spec.measures and spec.scaling != "vector"
        driven = beside(op, driven_by(op, magnitudes), "driven_beside") if masked else None
        z = with_offsets(op, v, z, driven)
    z = noisy(op, v, z, sigma)
    codes = _managed(op, library, spec, v, z, divisor, weights) if spec.managed else outputs_of(op, spec, v, z)
    scales = scales_of_codes(op, v)
    if spec.scaling == "vector":
        # A product of a column and a row: onnxruntime is slow where it repeats short rows.
        scales = op.MatMul(beside(op, magnitudes, "magnitudes_beside"), scales, _outputs=["scales_of_outputs"])
    return op.Mul(codes, scales, _outputs=["y"])


def codes_of(op: OpBuilder, spec: TileProduct, v: Values, x: Any, divisor: Any, reduction: Any = None) -> Any:
    """What the DAC makes of inputs.

    They are divided by ``divisor``, which has one number for every vector or is one number, and by a round's reduction
    (None: 1).
    """
    parts = [part for part in (v.get("dac_step"), reduction) if part is not None]
    unit = divisor
    if parts:
        step = parts[0] if len(parts) == 1 else op.Mul(*parts, _outputs=["step"])
        unit = step if divisor is None else op.Mul(divisor, step, _outputs=["unit"])
    of_inputs = spec.scaling == "range" and reduction is None
    if "dac_limit" in v and of_inputs:
        # Where a Relu gave x, onnxruntime makes one operator of both.
        x = _clipped(op, x, op.Mul(v["dac_limit"], unit, _outputs=["greatest"]), spec.unsigned)
    # Reciprocal, not 1 / unit: onnxruntime makes x / unit of that, whose last bits are others.
    codes = x
    if unit is not None:
        factor = op.Reciprocal(unit, _outputs=["factor"])
        if spec.scaling == "vector":
            factor = beside(op, factor, "factor_beside")
        codes = op.Mul(x, factor, _outputs=["in_steps"])
    if "dac_step" in v and spec.scaling == "range" and reduction is not None:
        # Half the greatest code lies on a rounding edge: all inputs beyond the range have one code, whatever the range.
        full_scale = op.Round(op.Reciprocal(step, _outputs=["codes_of_range"]), _outputs=["code_of_range"])
        greatest = op.Min(v["dac_limit"], full_scale, _outputs=["greatest_code"])
        return _clipped(op, op.Round(codes, _outputs=["codes"]), greatest, spec.unsigned)
    if "dac_limit" in v and not of_inputs:
        codes = _clipped(op, codes, v["dac_limit"])
    return op.Round(codes, _outputs=["codes"]) if "dac_step" in v else codes


def weights_in_codes(op: OpBuilder, v: Values) -> Any:
    """Weights that take input codes to output codes."""
    unit = v.get("dac_step")
    if "adc_step" in v:
        unit = op.Div(1.0 if unit is None else unit, v["adc_step"], _outputs=["steps"])
    return v["weights"] if unit is None else op.Mul(v["weights"], unit, _outputs=["weights_in_codes"])


def scales_of_codes(op: OpBuilder, v: Values) -> Any:
    """What an output code stands for."""
    return op.Mul(v["scales"], v["adc_step"], _outputs=["code_scales"]) if "adc_step" in v else v["scales"]


def outputs_of(op: OpBuilder, spec: TileProduct, v: Values, z: Any) -> Any:
    """What the ADC makes of outputs; saturated ones are clipped."""
    read = z
    if spec.capacitors:
        read = found_codes(op, spec.capacitors, v["levels"], z)
    elif "adc_step" in v:
        read = op.Round(z, _outputs=["read"])
    # Last: onnxruntime fuses a Clip that follows a Conv, which is slower than the Clip by itself.
    if spec.unipolar and "adc_limit" not in v:
        return op.Relu(read, _outputs=["clipped"])
    return _clipped(op, read, v["adc_limit"], spec.unipolar) if "adc_limit" in v else read


def _clipped(op: OpBuilder, x: Any, limit: Any, from_zero: bool = False) -> Any:
    least = 0.0 if from_zero else op.Neg(limit, _outputs=["least"])
    return op.Clip(x, least, limit, _outputs=["clipped"])


# --- bound management --------------------------------------------------------------------------------------------


def _managed(op: OpBuilder, library: Library, spec: TileProduct, v: Values, z: Any, divisor: Any, weights: Any) -> Any:
    """Output codes after bound management, in units of the first round's: a branch that is taken when it is needed."""
    z = op.Relu(z, _outputs=["from_zero"]) if spec.unipolar else z
    rounded = op.Round(z, _outputs=["first"]) if "adc_step" in v else z
    over = _saturated(op, spec, v, rounded)
    first = found_codes(op, spec.capacitors, v["levels"], z) if spec.capacitors else rounded
    count = op.ReduceSum(op.Cast(over, to=FLOAT, _outputs=["saturated_one"]), keepdims=0, _outputs=["count"])
    again = _all_again if spec.grouped else _selected_again

    def read_again(op: OpBuilder) -> Any:
        return again(op, library, spec, v, first, over, divisor, weights)

    def keep(op: OpBuilder) -> Any:
        return op.Identity(first)

    then_branch = op.builder.subgraph(read_again, [], [value("managed")], name="read_again")
    else_branch = op.builder.subgraph(keep, [], [value("kept")], name="keep")
    any_saturated = op.Greater(count, 0.0, _outputs=["any_saturated"])
    return op.If(any_saturated, then_branch=then_branch, else_branch=else_branch, _outputs=["read"])


def _saturated(op: OpBuilder, spec: TileProduct, v: Values, codes: Any) -> Any:
    """Which vectors saturate, ``(..., 1)``; where outputs lie on several tiles, whose tile does, ``(..., outputs)``."""
    absolute = op.Abs(codes, _outputs=["absolute_codes"])
    if not spec.straddles:
        over = op.Greater(reduce_max(op, absolute, "peaks"), v["adc_saturated"], _outputs=["over"])
        return beside(op, over, "saturated")
    beyond = op.Cast(op.Greater(absolute, v["adc_saturated"], _outputs=["beyond"]), to=FLOAT, _outputs=["beyond_one"])
    numbers = v["tile_numbers"]
    same = op.Equal(op.Unsqueeze(numbers, [-1]), op.Unsqueeze(numbers, [-2]), _outputs=["same_tile"])
    beyond_tiles = op.MatMul(beyond, op.Cast(same, to=FLOAT), _outputs=["beyond_tiles"])
    return op.Greater(beyond_tiles, 0.0, _outputs=["saturated"])


def _read_again(library: Library, spec: TileProduct) -> ir.Function:
    """``ReadAgain``: one more round; what is pending takes its codes, and stays pending where it saturates again.

    Outputs: codes in units of the first round's, and what is pending.
    """
    per_vector = spec.scaling != "none"
    tensors = [*(["divisor"] if per_vector else []), *(name for name in spec.tensors if name != "input_range")]

    def body(op: OpBuilder, v: Values) -> Any:
        codes = codes_of(op, spec, v, v["x"], v.get("divisor"), v["reduction"])
        sigma = sigma_of_codes(op, v, codes) if spec.by_vector else None
        z = op.MatMul(codes, v["weights"], _outputs=["z"])
        z = noisy(op, v, with_offsets(op, v, z) if spec.offsets else z, sigma, v.get("deviates"))
        z = op.Relu(z, _outputs=["from_zero"]) if spec.unipolar else z
        rounded = op.Round(z, _outputs=["reread"]) if "adc_step" in v else z
        read = found_codes(op, spec.capacitors, v["levels"], z) if spec.capacitors else rounded
        reread = op.Mul(_clipped(op, read, v["adc_limit"]), v["reduction"], _outputs=["in_first_codes"])
        result = op.Where(v["pending"], reread, v["result"], _outputs=["new_result"])
        return [result, op.And(v["pending"], _saturated(op, spec, v, rounded), _outputs=["still_pending"])]

    return library.function(
        "ReadAgain",
        spec,
        ("x", "weights", "result", "pending", "reduction", *tensors, *spec.numbers),
        body,
        "One round of bound management: vectors that saturated are read again, divided by a greater number.",
        types={"pending": ir.DataType.BOOL},
    )


def _rounds(
    op: OpBuilder, library: Library, spec: TileProduct, v: Values, inputs: Values, deviates: Callable[[int], Any]
) -> Any:
    """All rounds after the first."""
    function = _read_again(library, spec)
    state: dict[str, Any] = {"result": inputs["result"], "pending": inputs["pending"]}
    for number, reduction in enumerate(spec.reductions[1:], start=1):
        given: dict[str, Any] = {**v, **inputs, **state, "reduction": reduction}
        if spec.noise == "input":
            given["deviates"] = deviates(number)
        outputs = [value("result"), value("pending", ir.DataType.BOOL)]
        state["result"], state["pending"] = call(op, function, given, *outputs)
    return state["result"]


def _in_range(op: OpBuilder, spec: TileProduct, v: Values, x: Any) -> Any:
    """Inputs that end at a static range, whatever they are divided by after that; a DAC that rounds ends its codes."""
    bounded = spec.scaling == "range" and "dac_step" not in v
    return _clipped(op, x, v["input_range"], spec.unsigned) if bounded else x


def _selected_again(
    op: OpBuilder, library: Library, spec: TileProduct, v: Values, first: Any, over: Any, divisor: Any, weights: Any
) -> Any:
    """Read the vectors that saturate again, and only those."""
    which = op.Reshape(op.NonZero(op.Reshape(over, [-1])), [-1], _outputs=["which"])
    flat = op.Reshape(first, op.Concat([-1], sizes(op, weights, 1, 2), axis=0), _outputs=["flat"])
    rows = op.Reshape(v["x"], op.Concat([-1], sizes(op, weights, 0, 1), axis=0))
    inputs = {
        "x": _in_range(op, spec, v, op.Gather(rows, which, _outputs=["selected"])),
        "weights": weights,
        "result": op.Gather(flat, which, _outputs=["selected_codes"]),
        "pending": op.Gather(op.Reshape(over, [-1, 1]), which, _outputs=["selected_pending"]),
        "divisor": op.Gather(op.Reshape(divisor, [-1]), which) if spec.scaling == "vector" else divisor,
    }

    def deviates(number: int) -> Any:
        return op.Gather(deviates_of(op, v, number, flat), which)

    result = _rounds(op, library, spec, v, inputs, deviates)
    return op.Reshape(op.ScatterND(flat, op.Unsqueeze(which, [-1]), result), op.Shape(first))


def _all_again(
    op: OpBuilder, library: Library, spec: TileProduct, v: Values, first: Any, over: Any, divisor: Any, weights: Any
) -> Any:
    """Read all vectors of a grouped Conv again and let those take the result that saturate."""
    x = _in_range(op, spec, v, v["x"])
    inputs = {"x": x, "weights": weights, "result": first, "pending": over, "divisor": divisor}
    return _rounds(op, library, spec, v, inputs, lambda number: deviates_of(op, v, number, first))
