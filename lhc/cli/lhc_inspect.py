"""``lhc inspect``: the placement that a model carries."""

from typing import TYPE_CHECKING

from lhc.cli.output import check_file, emit_json, emit_table, hint, hints, say, write
from lhc.errors import UsageError
from lhc.options.looking_options import InspectOptions

if TYPE_CHECKING:
    from lhc.plan import Plan
    from lhc.study.source import Opened


def inspect(asked: InspectOptions) -> None:
    """Show the placement that a model carries. Measures nothing."""
    from lhc.onnx_io import layer_assignment, read_plan
    from lhc.study.source import open_model

    opened = open_model(asked.model)
    plan = read_plan(opened.model)
    if plan is not None:
        from lhc.report.placement_lines import doubts

        hints(doubts(opened.model, plan))
    if asked.layer_assignment is not None:
        setting, value = layer_assignment(opened.model, asked.layer_assignment)
        say(value)
        hint(f"the value of onnxruntime's session.{setting}")
    elif plan is not None:
        _show(opened, plan, asked)
    elif asked.fusion is not None:
        raise UsageError(f"{opened.model.label}: no lhc annotations; 'lhc partition' makes them")
    elif asked.chosen == "json":
        emit_json({"annotated": False})
    else:
        say(f"{opened.model.label}: no lhc annotations; 'lhc partition' makes them")


def _show(opened: "Opened", plan: "Plan", asked: InspectOptions) -> None:
    from lhc.onnx_io import nnpa_config
    from lhc.report.placement_lines import inspection_footer, verdict_sentence
    from lhc.study.plan_table import graph_of_plan, plan_table

    if asked.nnpa_config:
        say(nnpa_config(opened.model, plan))
    elif asked.fusion is not None:
        from lhc.onnx_io.fusion import fusion_csv

        check_file(asked.fusion, asked.force)
        placed = opened.split_as(plan)
        write(asked.fusion, fusion_csv(placed.model, placed.graph(), plan))
    elif asked.chosen == "json":
        from lhc.report.json_documents import inspection_document

        emit_json(inspection_document(opened, plan))
    else:
        head = verdict_sentence(plan, plan.tiles(graph_of_plan(plan)))
        emit_table(plan_table(plan), inspection_footer(opened.model, plan), asked.chosen, head)
