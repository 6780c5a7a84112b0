"""What can be analog, and why not the rest. Measures nothing."""

from lhc.errors import ModelError, OpenSizesError
from lhc.onnx_io import example_shapes
from lhc.options.commands import AnalyzeOptions
from lhc.options.signature import keywords
from lhc.passes import ChooseCopies, PayingCopies, qualified_plan
from lhc.samples.metrics import UNCHOSEN
from lhc.study.machines import check_machine, machine_of, warn_of_defaults
from lhc.study.outcome import Analysis
from lhc.study.source import opened_of

__all__ = ["analyze"]


@keywords(AnalyzeOptions)
def analyze(options: AnalyzeOptions) -> Analysis:
    """Which layers can be analog on this hardware, and what they cost. Measures nothing.

    A PyTorch module needs samples, to be exported on; sizes are taken from them. Where MACs depend on sizes that are
    not given, those of an example are taken, and named.
    """
    machine = machine_of(options)
    opened = opened_of(options)
    task = None if options.data is None else opened.task(options.data, UNCHOSEN, 1, options)
    opened = opened if task is None else opened.seen(task)
    opened.caution(measured=task is not None)
    example: dict[str, tuple[int, ...]] = {}
    try:
        graph = opened.graph(options.shapes, task)
    except OpenSizesError as error:
        example = example_shapes(opened.model, options.shapes or {})
        try:
            graph = opened.graph(dict(options.shapes or {}) | example)
        except ModelError:
            raise error from None
    check_machine(machine, graph)
    warn_of_defaults(machine)
    plan = qualified_plan(graph, machine, opened.model.source)
    plan = PayingCopies().run(graph, ChooseCopies().run(graph, plan).plan).plan  # as 'lhc partition' does
    return Analysis(plan, graph, opened.model.renamed, example)
