"""``lhc inspect``: the placement that a model carries."""

from lhc.cli.framework.output import check_file, emit_json, emit_table, hint, hints, say, write
from lhc.errors import UsageError
from lhc.options.viewing import InspectOptions


def inspect(asked: InspectOptions) -> None:
    """Show the placement that a model carries, or write it as a graph. Measures nothing.

    That a model carries none is an answer, so the exit code is 0; 'lhc report', which needs one, ends with 2.
    """
    from lhc.onnx_io import layer_assignment, nnpa_config, read_plan
    from lhc.pipeline.inputs.model_source import open_model

    if asked.out is not None:
        from lhc.report.exports.graph_files import check_graph_kind

        check_graph_kind(asked.out)
        check_file(asked.out, asked.force)
    opened = open_model(asked.model)
    plan = read_plan(opened.model)
    if plan is not None:  # only then is loaded what knows plans
        from lhc.pipeline.plan_table import graph_of_plan, plan_table
        from lhc.report.wording.model_file import doubts, inspection_footer
        from lhc.report.wording.placement import verdict_sentence

        hints(doubts(opened.model, plan))
    if asked.out is not None:
        from lhc.commands.layer_graph import graph_of
        from lhc.report.exports.graph_files import graph_file

        if plan is None:
            hint(f"{opened.model.label}: no lhc annotations; its layers carry no placement")
        write(asked.out, graph_file(graph_of(opened, plan), asked.out))
    elif asked.layer_assignment is not None:
        setting, value = layer_assignment(opened.model, asked.layer_assignment)
        say(value)
        hint(f"the value of onnxruntime's session.{setting}")
    elif plan is None:
        nothing = f"{opened.model.label}: no lhc annotations; 'lhc partition' makes them"
        if asked.fusion is not None:
            raise UsageError(nothing)
        if asked.chosen == "json":
            emit_json({"annotated": False})
        else:
            say(nothing)
    elif asked.nnpa_config:
        say(nnpa_config(opened.model, plan))
    elif asked.fusion is not None:
        from lhc.onnx_io.annotate.plan_as_fusion_csv import fusion_csv

        check_file(asked.fusion, asked.force)
        placed = opened.split_as(plan)
        write(asked.fusion, fusion_csv(placed.model, placed.graph_as_placed(plan), plan))
    elif asked.chosen == "json":
        from lhc.report.exports.json_documents import inspection_document

        emit_json(inspection_document(opened, plan))
    else:
        head = verdict_sentence(plan, plan.tiles(graph_of_plan(plan)))
        emit_table(plan_table(plan), inspection_footer(opened.model, plan), asked.chosen, head)
