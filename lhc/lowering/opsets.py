"""The operator versions of a compiled model.

Bodies are written for opset 13 and later; older models are converted up. onnxruntime has no random kernels for opset
22 and later, so models that draw noise are converted down to 21.
"""

import onnx

from lhc.errors import ModelError
from lhc.lowering.functions.tile_read import Noise
from lhc.onnx_io import whole
from lhc.onnx_model import all_nodes, opset_of, shallow

__all__ = ["FIRST_OPSET", "LAST_RANDOM_OPSET", "with_fitting_opset"]

FIRST_OPSET = 13
LAST_RANDOM_OPSET = 21
"""onnxruntime 1.32 on CPUs: RandomNormalLike and its kin have kernels up to this version."""
_CONVERTED = {"", "ai.onnx", "ai.onnx.ml"}
"""Domains whose operators onnx's converter leaves right."""


def with_fitting_opset(proto: onnx.ModelProto, noise: Noise, label: str) -> onnx.ModelProto:
    """The model in a version that its compiled form can have: itself, or a conversion.

    Raises:
        ModelError: it has to be converted and cannot be.
    """
    version = opset_of(proto)
    if version < FIRST_OPSET:
        return _converted(proto, FIRST_OPSET, label, "compiled models need opset 13 or later; export it anew")
    if noise == "on" and version > LAST_RANDOM_OPSET:
        way_out = (
            "onnxruntime draws no random numbers in models of opset 22 and later; compile with --noise input (you"
            " feed the noise) or --noise off"
        )
        return _converted(proto, LAST_RANDOM_OPSET, label, way_out)
    return proto


def _converted(proto: onnx.ModelProto, version: int, label: str, way_out: str) -> onnx.ModelProto:
    what = f"{label}: cannot be converted from opset {opset_of(proto)} to {version}"
    if proto.functions:
        raise ModelError(f"{what}: onnx's converter drops the functions that the model has; {way_out}")
    used = {node.domain for node in all_nodes(proto.graph)}
    others = sorted(used - _CONVERTED)
    if others:
        raise ModelError(f"{what}: it has operators of {', '.join(others)}; {way_out}")
    try:
        plain = _importing_only(whole(proto), {*used, "", "ai.onnx"})
        converted = onnx.version_converter.convert_version(plain, version)
        onnx.checker.check_model(converted)
    except (RuntimeError, ValueError, onnx.checker.ValidationError, onnx.version_converter.ConvertError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"{what}: {reason[:300]}; {way_out}") from error
    _check_kept(proto, converted, what, way_out)
    return converted


def _importing_only(proto: onnx.ModelProto, domains: set[str]) -> onnx.ModelProto:
    """The model without imports of other domains: onnxruntime saves those of all that it knows."""
    kept = [entry for entry in proto.opset_import if entry.domain in domains]
    if len(kept) == len(proto.opset_import):
        return proto
    copy = shallow(proto, "opset_import")
    copy.opset_import.extend(kept)
    return copy


def _check_kept(proto: onnx.ModelProto, converted: onnx.ModelProto, what: str, way_out: str) -> None:
    """Nodes and outputs must be found again under their names."""
    names = {node.name for node in converted.graph.node} | {value.name for value in converted.graph.output}
    lost = sorted(({node.name for node in proto.graph.node} | {v.name for v in proto.graph.output}) - names)
    if lost:
        raise ModelError(f"{what}: the conversion lost {', '.join(lost[:3])}; {way_out}")
