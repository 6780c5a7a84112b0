"""Noise of the products of a read, in operators; see `lhc.lowering.tile_product`."""

from typing import Any

from onnxscript import OpBuilder

from lhc.lowering.library import FLOAT, Values

__all__ = ["deviates_of", "driven_by", "noisy", "sigma_of", "sigma_of_codes"]


def driven_by(op: OpBuilder, magnitudes: Any) -> Any:
    """1 for vectors that are driven, 0 for all-zero ones, which put out no noise."""
    return op.Cast(op.Greater(magnitudes, 0.0, _outputs=["nonzero"]), to=FLOAT, _outputs=["driven"])


def sigma_of(op: OpBuilder, v: Values, driven: Any = None) -> Any:
    """Standard deviation of the noise in units of output codes; ``driven``: factor for every vector (None: 1)."""
    sigma = v["noise_sigma"]
    if "adc_step" in v:
        sigma = op.Div(sigma, v["adc_step"], _outputs=["sigma_in_codes"])
    return sigma if driven is None else op.Mul(driven, sigma, _outputs=["sigma_of_vectors"])


def sigma_of_codes(op: OpBuilder, v: Values, codes: Any) -> Any:
    """The same of every vector, ``(..., 1)``, where there is constant read noise; ``driven`` is ``(inputs, 1)``.

    Of every output, ``(..., outputs)``, with ``shares`` of it in their units, which are as ``scales``.
    """
    squares = op.MatMul(op.Mul(codes, codes, _outputs=["squares"]), v["driven"], _outputs=["squares_of_vectors"])
    unit = op.Mul(v["read_noise"], v["dac_step"]) if "dac_step" in v else v["read_noise"]
    steady = op.Mul(v["noise_sigma"], v["noise_sigma"], _outputs=["variance_of_outputs"])
    variance = op.Add(op.Mul(squares, op.Mul(unit, unit)), steady, _outputs=["variance"])
    sigma = op.Sqrt(variance, _outputs=["sigma_of_vectors"])
    sigma = op.Div(sigma, v["adc_step"], _outputs=["sigma_in_codes"]) if "adc_step" in v else sigma
    return op.Mul(sigma, v["shares"], _outputs=["sigma_of_outputs"]) if "shares" in v else sigma


def noisy(op: OpBuilder, v: Values, z: Any, sigma: Any = None, deviates: Any = None) -> Any:
    """Outputs with noise, in units of output codes.

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
    """Those given for a read, in the shape of its outputs."""
    own = op.Gather(v["deviates"], number, _outputs=["own_deviates"])
    return op.Reshape(own, op.Shape(like), _outputs=["shaped_deviates"])
