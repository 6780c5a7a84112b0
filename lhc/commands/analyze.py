"""``lhc.analyze``: layers that can be analog, and why the others cannot. Measures nothing."""

from collections.abc import Mapping

from lhc.errors import ModelError, OpenSizesError
from lhc.graph import LayerGraph
from lhc.onnx_io import example_shapes
from lhc.onnx_io.read.shapes import SECOND_OF_SOUND, SMALLER_EXAMPLE
from lhc.options.by_command import AnalyzeOptions
from lhc.options.declaration.python_signature import keywords
from lhc.passes import ChooseCopies, ProfitableCopies, qualified_plan
from lhc.pipeline.analysis_and_partition_results import Analysis
from lhc.pipeline.inputs.hardware_choice import check_machine, machine_of, warn_of_defaults
from lhc.pipeline.inputs.model_source import LoadedModel, loaded_model
from lhc.samples.metrics import UNCHOSEN


@keywords(AnalyzeOptions)
def analyze(options: AnalyzeOptions) -> Analysis:
    """Layers that can be analog on this hardware, and their costs. Nothing is measured.

    A PyTorch module needs samples, to be exported on; sizes are taken from them. Where MACs depend on sizes that are
    not given, those of an example are taken, and named; a recurrent operator takes as many steps as these have.
    """
    machine = machine_of(options)
    opened = loaded_model(options)
    task = None if options.data is None else opened.task(options.data, UNCHOSEN, 1, options)
    opened = opened if task is None else opened.seen(task)
    opened.caution(measured=task is not None)
    example: dict[str, tuple[int, ...]] = {}
    if task is not None:
        graph = opened.graph(options.shapes, task)
    else:
        graph, example = _of_shapes(opened, options.shapes or {})
    check_machine(machine, graph)
    warn_of_defaults(machine)
    plan = qualified_plan(graph, machine, opened.model.source)
    plan = ProfitableCopies().run(graph, ChooseCopies().run(graph, plan).plan).plan  # as 'lhc partition' does
    return Analysis(plan, graph, opened.model.renamed, example)


def _of_shapes(
    opened: LoadedModel, given: Mapping[str, tuple[int, ...]]
) -> tuple[LayerGraph, dict[str, tuple[int, ...]]]:
    """The graph with sizes that are given, else made up where MACs depend on them; the shapes of the latter inputs.

    Raises:
        OpenSizesError: no sizes that are made up fit; the reason is told for the last ones.
    """
    try:
        return opened.stepped(given).graph(given), {}
    except OpenSizesError as raised:
        error = raised
    reason: ModelError = error
    for size in (None, SMALLER_EXAMPLE, SECOND_OF_SOUND):
        example = example_shapes(opened.model, given, size)
        if size == SECOND_OF_SOUND and any(len(shape) > 2 for shape in example.values()):
            continue  # no waveforms, and a picture of that side would not fit in memory
        shapes = {**given, **example}
        try:
            graph = opened.stepped(shapes).graph(shapes)
        except ModelError as other:
            reason = other
            continue
        empty = next((layer for layer in graph.candidates if layer.matrix and layer.matrix.positions < 1), None)
        if empty is None:
            return graph, example
        reason = ModelError(f"layer {empty.name!r} has no output then: its window is larger than its input")
    raise OpenSizesError(f"{error}, with sizes that fit: none that was tried does, nor that one ({reason})") from reason
