"""``lhc.analog.TileProduct``: vectors times what one read of a tile holds.

    s = max |x| of every vector, or a static range, or 1
    codes = round(clip(x / (s · dac_step)))                                    DAC
    z = codes · w · dac_step / adc_step + sigma / adc_step · N(0, 1)           product and noise
    y = clip(round(z)) · s · adc_step · scale                                  ADC and digital scaling

sigma is noise_sigma; what read noise and IR drop of products and mismatch of cells make of it and of z is in
`lhc.lowering.functions.tile_read`, as are the next two cases. Where inputs are driven in slices, codes have an axis of
reads, over which read codes are shifted and added. Where steps of an ADC differ, its code is found bit by bit. Where
devices hold an offset, it is subtracted from y, times the sum of the codes. Converters are Round and Clip, not
QuantizeLinear: onnxruntime takes a model with that for a quantised one, and quantises the weights too.

Where a vector can saturate, a loop reads those that do again with s · 2, s · 4, … until none does; docs/emulation.md
has the formulas. What is constant in them is computed once, when onnxruntime loads the model.
"""

from typing import Any

import onnx_ir as ir
from onnxscript import OpBuilder

from lhc.lowering.functions.library import FLOAT, Library, Values, beside, call, reduce_max, sizes, value
from lhc.lowering.functions.tile_read import (
    TileProduct,
    clipped,
    codes_of,
    codes_of_slices,
    deviates_of,
    driven_by,
    found_codes,
    outputs_of,
    read_of,
    scales_of_codes,
    sum_of_slices,
    weights_in_codes,
)

BOOL = ir.DataType.BOOL


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
    ``(groups, 1, 1, outputs)``, or ``(outputs,)`` where vectors are not scaled. Where inputs are driven in slices, what
    meets products has an axis of 1 for the reads, which lies before the last one.
    """
    x = v["x"]
    magnitudes = v.get("magnitudes")
    if spec.measures and magnitudes is None:
        magnitudes = reduce_max(op, op.Abs(x, _outputs=["absolute"]), "magnitudes")
    divisor, driven = v["input_range"] if spec.scaling == "range" else None, None
    if spec.scaling == "vector":
        # All-zero vectors are divided by 1; their outputs are multiplied by 0 below.
        divisor = op.Where(op.Equal(magnitudes, 0.0, _outputs=["zero"]), 1.0, magnitudes, _outputs=["divisor"])
    elif spec.measures:
        driven = driven_by(op, magnitudes)
    weights, codes = weights_in_codes(op, v), codes_of(op, spec, v, x, divisor)
    read = codes if spec.slices is None else codes_of_slices(op, spec.slices, codes, -2, 1)
    z = read_of(op, spec, v, read, weights, driven)
    found = _managed(op, library, spec, v, z, divisor, weights) if spec.managed else outputs_of(op, spec, v, z)
    if spec.slices is not None:
        found = sum_of_slices(op, spec.slices, found, -2, 1)
    scales = scales_of_codes(op, v)
    if spec.scaling == "vector":
        # A product of a column and a row: onnxruntime is slow where it repeats short rows.
        scales = op.MatMul(beside(op, magnitudes, "magnitudes_beside"), scales, _outputs=["scales_of_outputs"])
    y = op.Mul(found, scales, _outputs=["y"])
    return _with_offset_subtracted(op, spec, v, y, codes, magnitudes) if spec.subtracts else y


def _with_offset_subtracted(op: OpBuilder, spec: TileProduct, v: Values, y: Any, codes: Any, magnitudes: Any) -> Any:
    """Products of devices that hold an offset, less that times the sum of the inputs; ``bases``: ``(1, outputs)``."""
    sums = op.ReduceSum(codes, [-1], keepdims=1, _outputs=["sums_of_codes"])
    sums = op.Mul(sums, v["dac_step"], _outputs=["sums_of_inputs"]) if "dac_step" in v else sums
    if spec.scaling == "vector":
        sums = op.Mul(sums, beside(op, magnitudes, "magnitudes_of_sums"), _outputs=["sums_of_vectors"])
    return op.Sub(y, op.MatMul(sums, v["bases"], _outputs=["offsets_of_weights"]), _outputs=["y_less_offset"])


# --- bound management --------------------------------------------------------------------------------------------


def _managed(op: OpBuilder, library: Library, spec: TileProduct, v: Values, z: Any, divisor: Any, weights: Any) -> Any:
    """Output codes after bound management, in units of the first round's: a loop that is left when none is pending."""
    z = op.Relu(z, _outputs=["from_zero"]) if spec.unipolar else z
    rounded = op.Round(z, _outputs=["first"]) if "adc_step" in v else z
    pending = _beyond(op, spec, v, rounded)
    first = found_codes(op, spec.capacitors, v["levels"], z) if spec.capacitors else rounded
    inputs: dict[str, Any] = {"x": v["x"], "weights": weights, "divisor": divisor}
    result = first
    if not spec.grouped:  # vectors one below the other
        inputs["x"] = op.Reshape(v["x"], op.Concat([-1], sizes(op, weights, 0, 1), axis=0), _outputs=["vectors"])
        if spec.scaling == "vector":
            inputs["divisor"] = op.Reshape(divisor, [-1], _outputs=["divisors"])
        outputs = op.Concat([-1], sizes(op, weights, 1, 2), axis=0)
        result = op.Reshape(first, outputs, _outputs=["flat"])
        pending = op.Reshape(pending, outputs if spec.straddles else [-1, 1], _outputs=["flat_pending"])
    if spec.noise == "on":
        inputs |= _signs(op, result)
    reductions = op.Constant(value_floats=list(spec.reductions[1:]))

    def one_round(op: OpBuilder, number: Any, _: Any, result: Any, pending: Any, x: Any) -> Any:
        state = {"result": result, "pending": pending, "x": x}
        reduction = op.Gather(reductions, number, _outputs=["reduction"])
        found = _round(op, library, spec, v, {**inputs, **state, "reduction": reduction}, number)
        return [_any(op, found[1], "still_any"), *found, op.Identity(x, _outputs=["same_inputs"])]

    # Inputs are a state of the loop, not captured by its body: onnxruntime aborts where it moves a DequantizeLinear
    # over what is captured (its QDQPropagationTransformer).
    state = [value("result"), value("pending", BOOL), value("inputs")]
    body = op.builder.subgraph(
        one_round,
        [_scalar("round", ir.DataType.INT64), _scalar("goes_on", BOOL), *state],
        [_scalar("goes_on_after", BOOL), value("result_after"), value("pending_after", BOOL), value("inputs_after")],
        name="read_again",
    )
    any_saturated = _any(op, pending, "any_saturated")
    given = (result, pending, inputs["x"])
    read, *_ = op.Loop(
        len(spec.reductions) - 1, any_saturated, *given, body=body, _outputs=["read", "left", "inputs_left"]
    )
    return read if spec.grouped else op.Reshape(read, op.Shape(first), _outputs=["read_in_shape"])


def _signs(op: OpBuilder, result: Any) -> dict[str, Any]:
    """Signs, +1 or -1 at random, of every vector and of every output: the noise of further reads is multiplied by both.

    onnxruntime seeds a node that draws by its number in its graph, and the bodies of all loops have the same numbers.
    So all tiles would draw the same noise there. These signs are drawn outside of the loop; with them the noise of one
    tile and that of another are uncorrelated, and each is normal as before.
    """
    shapes = {
        "signs_of_vectors": op.Concat(sizes(op, result, 0, -1), [1], axis=0, _outputs=["shape_of_vectors"]),
        "signs_of_outputs": sizes(op, result, -1),
    }
    drawn = {name: op.RandomNormalLike(op.ConstantOfShape(shape)) for name, shape in shapes.items()}
    return {name: op.Sign(deviates, _outputs=[name]) for name, deviates in drawn.items()}


def _scalar(name: str, type_: ir.DataType) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(type_), shape=ir.Shape([]))


def _any(op: OpBuilder, flags: Any, name: str) -> Any:
    """Whether any flag is set."""
    count = op.ReduceSum(op.Cast(flags, to=FLOAT), keepdims=0)
    return op.Greater(count, 0.0, _outputs=[name])


def _beyond(op: OpBuilder, spec: TileProduct, v: Values, codes: Any) -> Any:
    """Which vectors saturate, ``(..., 1)``; which outputs where they lie on several tiles, ``(..., outputs)``."""
    absolute = op.Abs(codes, _outputs=["absolute_codes"])
    if spec.straddles:
        return op.Greater(absolute, v["adc_saturated"], _outputs=["beyond"])
    return beside(op, op.Greater(reduce_max(op, absolute, "peaks"), v["adc_saturated"], _outputs=["over"]), "saturated")


def _whole_tiles(op: OpBuilder, spec: TileProduct, v: Values, beyond: Any) -> Any:
    """Outputs on tiles that saturate, ``(..., outputs)``; unchanged where all outputs lie on one tile."""
    if not spec.straddles:
        return beyond
    lies_on = v["memberships"]
    back = op.Transpose(lies_on, perm=[0, 1, 3, 2] if spec.grouped else [1, 0], _outputs=["outputs_of_tiles"])
    of_tiles = op.MatMul(op.Cast(beyond, to=FLOAT), lies_on, _outputs=["beyond_of_tiles"])
    return op.Greater(op.MatMul(of_tiles, back, _outputs=["beyond_beside"]), 0.0, _outputs=["saturated_tiles"])


def _read_again(library: Library, spec: TileProduct) -> ir.Function:
    """``ReadAgain``: one more round; tiles with what is pending take its codes, and what saturates again stays pending.

    Outputs: codes in units of the first round's, and what is pending.
    """
    per_vector = spec.scaling != "none"
    tensors = [
        *(["divisor"] if per_vector else []),
        *(["signs"] if spec.noise == "on" else []),
        *(name for name in spec.tensors if name != "input_range"),
    ]

    def body(op: OpBuilder, v: Values) -> Any:
        pending = _whole_tiles(op, spec, v, v["pending"])
        codes = codes_of(op, spec, v, v["x"], v.get("divisor"), v["reduction"])
        z = read_of(op, spec, v, codes, v["weights"], deviates=v.get("deviates"))
        z = op.Relu(z, _outputs=["from_zero"]) if spec.unipolar else z
        rounded = op.Round(z, _outputs=["reread"]) if "adc_step" in v else z
        read = found_codes(op, spec.capacitors, v["levels"], z) if spec.capacitors else rounded
        reread = op.Mul(clipped(op, read, v["adc_limit"]), v["reduction"], _outputs=["in_first_codes"])
        result = op.Where(pending, reread, v["result"], _outputs=["new_result"])
        return [result, op.And(pending, _beyond(op, spec, v, rounded), _outputs=["still_pending"])]

    return library.function(
        "ReadAgain",
        spec,
        ("x", "weights", "result", "pending", "reduction", *tensors, *spec.numbers),
        body,
        "One round of bound management: vectors that saturated are read again, divided by a greater number.",
        types={"pending": BOOL},
    )


def _round(op: OpBuilder, library: Library, spec: TileProduct, v: Values, inputs: Values, number: Any) -> list[Any]:
    """A round after the first: codes and what is pending.

    Those vectors are read that are pending; of a grouped Conv all are, and those take the result that are.
    """
    like, given = inputs["result"], dict(inputs)
    if not spec.grouped:
        waiting = op.Cast(inputs["pending"], to=FLOAT)
        of_vectors = reduce_max(op, waiting, "pending_vectors")
        which = op.Reshape(op.NonZero(of_vectors), [-1], _outputs=["which"])
        picked = ["x", "result", "pending", *(["divisor"] if spec.scaling == "vector" else [])]
        picked += ["signs_of_vectors"] if spec.noise == "on" else []
        given |= {name: op.Gather(inputs[name], which, _outputs=[f"selected_{name}"]) for name in picked}
    if spec.noise == "on":
        given["signs"] = op.Mul(given["signs_of_vectors"], given["signs_of_outputs"], _outputs=["signs"])
    given["x"] = _in_range(op, spec, v, given["x"])
    if spec.noise == "input":
        own = deviates_of(op, v, op.Add(number, 1), like)
        given["deviates"] = own if spec.grouped else op.Gather(own, which)
    outputs = [value("read_codes"), value("pending_still", BOOL)]
    codes, pending = call(op, _read_again(library, spec), {**v, **given}, *outputs)
    if spec.grouped:
        return [codes, pending]
    rows = op.Unsqueeze(which, [-1], _outputs=["rows"])
    found = op.ScatterND(inputs["result"], rows, codes, _outputs=["new_codes"])
    return [found, op.ScatterND(inputs["pending"], rows, pending, _outputs=["new_pending"])]


def _in_range(op: OpBuilder, spec: TileProduct, v: Values, x: Any) -> Any:
    """Inputs that end at a static range, whatever they are divided by after that; a DAC that rounds ends its codes."""
    bounded = spec.scaling == "range" and "dac_step" not in v
    return clipped(op, x, v["input_range"], spec.unsigned) if bounded else x
