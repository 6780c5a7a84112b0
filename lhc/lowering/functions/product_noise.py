"""Noise and currents of a read as ONNX operators; see `lhc.hardware.circuits.currents` and `Adc`.

Products ``z`` and their deviations are in units of an output code, ``codes`` in units of an input code.
"""

from typing import Any

from onnxscript import OpBuilder

from lhc.lowering.functions.library import FLOAT, Values, sizes

__all__ = [
    "deviates_of",
    "driven_by",
    "noisy",
    "sigma_of",
    "sigma_of_codes",
    "weights_in_codes",
    "with_ir_drop",
    "with_mismatch",
]


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


def sigma_of_codes(op: OpBuilder, v: Values, codes: Any, weights: Any) -> Any:
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


def with_ir_drop(op: OpBuilder, v: Values, z: Any, codes: Any, weights: Any) -> Any:
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
    elif deviates is None:
        deviates = deviates_of(op, v, 0, z)
    sigma = sigma_of(op, v) if sigma is None else sigma
    return op.Add(z, op.Mul(deviates, sigma, _outputs=["noise"]), _outputs=["noisy"])


def deviates_of(op: OpBuilder, v: Values, number: int, like: Any) -> Any:
    """Deviates of one read, in the shape of its outputs."""
    own = op.Gather(v["deviates"], number, _outputs=["own_deviates"])
    return op.Reshape(own, op.Shape(like), _outputs=["shaped_deviates"])
