"""onnxruntime's layer annotations: the session option that goes with the node key ``layer_ann``.

``session.layer_assignment_settings`` is ``device(=value);device(=value)``, ``=`` for an exact match: nodes whose
``layer_ann`` is that value go to that device where an execution provider has it. A wish, not a guarantee; onnxruntime
1.25 and later.
"""

import re

from lhc.errors import UsageError
from lhc.model import LAYER_ANN, OnnxModel

__all__ = ["layer_assignment_settings"]

_DEVICE = re.compile(r"(cpu|gpu|cuda|dml|npu|fpga|accelerator|gpu:\w+)")


def layer_assignment_settings(model: OnnxModel, device: str) -> str:
    """The value of the option that sends analog layers to a device and leaves digital ones on the CPU.

    Raises:
        UsageError: onnxruntime knows no such device, or no node has the key.
    """
    if _DEVICE.fullmatch(device) is None:
        known = "cpu, gpu, cuda, dml, npu, fpga, accelerator or gpu:VENDOR"
        raise UsageError(f"--layer-assignment {device!r}: onnxruntime's devices are {known}")
    values = {e.value for node in model.proto.graph.node for e in node.metadata_props if e.key == LAYER_ANN}
    if not values & {"analog", "digital"}:
        raise UsageError(f"{model.label}: no node has lhc's layer_ann; 'lhc partition --layer-ann' writes it")
    return f"{device}(=analog);cpu(=digital)"
