"""``lhc inspect``: the placement that a model carries."""

from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import emit, emit_json, hints, say
from lhc.options.declare import option, options
from lhc.options.printed import Printing
from lhc.options.subjects import Model

__all__ = ["command"]


@options
class InspectOptions(Printing, Model):
    """Of ``lhc inspect``."""

    PANEL: ClassVar[str] = "Output"

    layer_assignment: str | None = option(
        "Print onnxruntime's session.layer_assignment_settings that send analog layers to DEVICE (npu, …).",
        default=None,
        metavar="DEVICE",
        result="lhc.onnx_io.layer_assignment_settings(model, device)",
    )


def inspect(asked: InspectOptions) -> None:
    """Show the placement that a model carries. Measures nothing."""
    from lhc.onnx_io import layer_assignment_settings, read_plan
    from lhc.report.builder import graph_of_plan
    from lhc.report.json_documents import inspection_document
    from lhc.report.placement_lines import doubts, inspection_footer, verdict_sentence
    from lhc.study.outcome import plan_table
    from lhc.study.source import open_model

    opened = open_model(asked.model)
    hints(doubts(opened.model))
    if asked.layer_assignment is not None:
        say(layer_assignment_settings(opened.model, asked.layer_assignment))
        return
    plan = read_plan(opened.model)
    if plan is not None:
        document, footer = inspection_document(opened, plan), inspection_footer(opened.model, plan)
        head = verdict_sentence(plan, plan.tiles(graph_of_plan(plan)))
        emit(document, plan_table(plan), footer, asked.chosen, head)
    elif asked.chosen == "json":
        emit_json({"annotated": False})
    else:
        say(f"{opened.model.label}: no lhc annotations; 'lhc partition' makes them")


command = terminal_command("inspect", inspect, InspectOptions)
