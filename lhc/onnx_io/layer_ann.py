"""onnxruntime's layer assignment: the session option that goes with the node key ``layer_ann``, or one by names.

``session.layer_assignment_settings`` is ``device(=value);device(=value)``, ``=`` for an exact match: nodes whose
``layer_ann`` is that value go to that device where an execution provider has it. A wish, not a guarantee; onnxruntime
1.25 and later. Where no node has the key: `lhc.onnx_io.carriers.name_assignment`, which onnxruntime 1.32 knows.
"""

import re

from lhc.errors import UsageError
from lhc.model import LAYER_ANN, OnnxModel
from lhc.onnx_io.annotations import read_plan
from lhc.onnx_io.carriers import name_assignment

__all__ = ["layer_assignment"]

_DEVICE = re.compile(r"(cpu|gpu|cuda|dml|npu|fpga|accelerator|gpu:\w+)")


def layer_assignment(model: OnnxModel, device: str) -> tuple[str, str]:
    """Name and value of the session option that sends analog layers to a device and leaves digital ones on the CPU.

    Raises:
        UsageError: onnxruntime knows no such device, or the model has no placement.
    """
    if _DEVICE.fullmatch(device) is None:
        known = "cpu, gpu, cuda, dml, npu, fpga, accelerator or gpu:VENDOR"
        raise UsageError(f"--layer-assignment {device!r}: onnxruntime's devices are {known}")
    values = {e.value for node in model.proto.graph.node for e in node.metadata_props if e.key == LAYER_ANN}
    if values & {"analog", "digital"}:
        return "layer_assignment_settings", f"{device}(=analog);cpu(=digital)"
    plan = read_plan(model)
    if plan is None:
        raise UsageError(f"{model.label}: no placement, and no node has lhc's layer_ann; 'lhc partition' makes them")
    return "name_based_layer_assignment", name_assignment(model, plan, device)
