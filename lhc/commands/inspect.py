"""``lhc.inspect``: the placement that a model carries."""

from lhc.onnx_io import read_plan
from lhc.onnx_model import ModelSource
from lhc.pipeline.inputs.model_source import open_model
from lhc.plan import Plan


def inspect(model: ModelSource) -> Plan | None:
    """The placement that a model carries; None where it carries none. Nothing is measured.

    Raises:
        ModelError: the model, or its annotations, cannot be read.
    """
    return read_plan(open_model(model).model)
