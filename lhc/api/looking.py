"""What measures nothing."""

from collections.abc import Mapping

from lhc import __version__
from lhc.hardware import Hardware
from lhc.measure.data import DataSource
from lhc.metrics import UNCHOSEN
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
        shapes: full shapes of inputs, where the file leaves them open.
        label_key: key of the targets in the data, which are left aside.
    """
    machine = Hardware.load(hardware)
    opened = open_model(model, data, label_key)
    task = None if data is None else opened.task(data, UNCHOSEN, 1, label_key)
    opened.caution(measured=task is not None)
    graph = opened.graph(shapes, task)
    check_machine(machine, graph)
    plan = Qualify().run(graph, initial_plan(graph, machine, opened.model.source, __version__)).plan
    return Analysis(plan, graph, opened.model.renamed)
