"""What measures nothing."""

from collections.abc import Mapping

from lhc import __version__
from lhc.errors import ModelError, OpenSizesError
from lhc.hardware import Hardware
from lhc.measure.data import DataSource
from lhc.metrics import UNCHOSEN
from lhc.onnx_io import example_shapes
from lhc.opening import ModelSource, open_model
from lhc.outcomes import Analysis
from lhc.passes import Qualify, initial_plan
from lhc.preparing import HardwareSource, check_machine

__all__ = ["analyze"]

Shapes = Mapping[str, tuple[int, ...]]


def analyze(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    hardware: HardwareSource = "lionheart",
    shapes: Shapes | None = None,
    label_key: str = "labels",
) -> Analysis:
    """Which layers can be analog on this hardware, and what they cost. Measures nothing.

    Args:
        model: what to look at.
        data: samples; a PyTorch module needs some, to be exported on; shapes are taken from them.
        hardware: preset, YAML file or description.
        shapes: full shapes of inputs, where the file leaves them open; where MACs depend on sizes that nothing gives,
            they are those of an example, which the analysis names.
        label_key: key of the targets in the data, which are left aside.
    """
    machine = Hardware.load(hardware)
    opened = open_model(model, data, label_key)
    task = None if data is None else opened.task(data, UNCHOSEN, 1, label_key)
    opened.caution(measured=task is not None)
    example: dict[str, tuple[int, ...]] = {}
    try:
        graph = opened.graph(shapes, task)
    except OpenSizesError as error:
        example = example_shapes(opened.model, shapes or {})
        try:
            graph = opened.graph(dict(shapes or {}) | example)
        except ModelError:
            raise error from None
    check_machine(machine, graph)
    plan = Qualify().run(graph, initial_plan(graph, machine, opened.model.source, __version__)).plan
    return Analysis(plan, graph, opened.model.renamed, example)
