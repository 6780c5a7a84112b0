"""Device configurations as objects of onnx-ir (1.0 and later), which hold values, not names, so that renames keep them.

In a file, `lhc.onnx_io.annotate.third_party_annotations` writes them by names.
"""

from collections.abc import Iterable

import onnx
import onnx_ir as ir

from lhc.errors import MissingDependencyError
from lhc.onnx_model import CONFIGURATION


def check_device_configurations() -> None:
    """Refuse an onnx-ir without them, which would drop what a file holds.

    Raises:
        MissingDependencyError: it is older than 1.0.
    """
    if not hasattr(ir, "NodeDeviceConfiguration"):
        raise MissingDependencyError(
            f"device configurations in onnx-ir models need onnx-ir 1.0, this is {ir.__version__}:"
            " pip install -U onnx-ir"
        )


def bind_device_configurations(
    model: ir.Model, annotated: onnx.ModelProto, pairs: Iterable[tuple[ir.Node, onnx.NodeProto]]
) -> None:
    """Give a model lhc's device configuration of its annotated form, in place of an earlier one; others' stay.

    Args:
        pairs: operators of the model, and as they are in the annotated form, outputs in the same order.
    """
    model.ir_version = annotated.ir_version
    model.device_configurations = tuple(one for one in model.device_configurations if one.name != CONFIGURATION)
    written = next(one for one in annotated.configuration if one.name == CONFIGURATION)
    configuration = model.add_device_configuration(CONFIGURATION, device_names=tuple(written.device))
    for node, proto in pairs:
        kept = tuple(
            one
            for one in node.device_configurations
            if one.configuration is None or one.configuration.name != CONFIGURATION
        )
        own = (
            _bound(node, proto, one, configuration)
            for one in proto.device_configurations
            if one.configuration_id == CONFIGURATION
        )
        node.device_configurations = (*kept, *own)


def _bound(
    node: ir.Node,
    proto: onnx.NodeProto,
    written: onnx.NodeDeviceConfigurationProto,
    configuration: "ir.ModelConfiguration",
) -> "ir.NodeDeviceConfiguration":
    """A node's configuration, with its outputs in place of their names."""
    outputs = dict(zip(proto.output, node.outputs, strict=True))
    specs = tuple(
        ir.ShardingSpec(value=outputs[spec.tensor_name], device=tuple(spec.device)) for spec in written.sharding_spec
    )
    stage = written.pipeline_stage if written.HasField("pipeline_stage") else None
    return ir.NodeDeviceConfiguration(configuration, specs, stage)
