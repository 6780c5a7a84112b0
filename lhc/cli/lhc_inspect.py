"""``lhc inspect``: the placement that a model carries."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import check_file, emit_json, emit_table, hint, hints, say, write
from lhc.errors import UsageError
from lhc.options.declare import option, options
from lhc.options.printed import Printing, Replacing
from lhc.options.subjects import Model

if TYPE_CHECKING:
    from lhc.plan import Plan
    from lhc.study.source import Opened


@options
class InspectOptions(Printing, Replacing, Model):
    """Of ``lhc inspect``."""

    PANEL: ClassVar[str] = "Output"

    layer_assignment: str | None = option(
        "Print the onnxruntime setting that sends analog layers to DEVICE (npu, …), by layer_ann or else by names.",
        default=None,
        metavar="DEVICE",
        result="lhc.onnx_io.layer_assignment(model, device)",
    )
    nnpa_config: bool = option(
        "Print the placement as JSON for onnx-mlir --config-file.",
        default=False,
        result="lhc.onnx_io.nnpa_config(model, plan)",
        rare=True,
    )
    fusion: Path | None = option(
        "Write what the devices of analog layers are programmed to, as aihwkit's CSV for the Fusion chip.",
        default=None,
        metavar="F.csv",
        result="lhc.onnx_io.fusion.fusion_csv(model, graph, plan)",
        rare=True,
    )


def inspect(asked: InspectOptions) -> None:
    """Show the placement that a model carries. Measures nothing."""
    from lhc.onnx_io import layer_assignment, nnpa_config, read_plan
    from lhc.report.builder import graph_of_plan
    from lhc.report.json_documents import inspection_document
    from lhc.report.placement_lines import doubts, inspection_footer, verdict_sentence
    from lhc.study.outcome import plan_table
    from lhc.study.source import open_model

    opened = open_model(asked.model)
    hints(doubts(opened.model))
    if asked.layer_assignment is not None:
        setting, value = layer_assignment(opened.model, asked.layer_assignment)
        say(value)
        hint(f"the value of onnxruntime's session.{setting}")
        return
    plan = read_plan(opened.model)
    if asked.nnpa_config and plan is not None:
        say(nnpa_config(opened.model, plan))
        return
    if asked.fusion is not None:
        _write_fusion(opened, plan, asked.fusion, asked.force)
        return
    if asked.chosen == "json":
        emit_json({"annotated": False} if plan is None else inspection_document(opened, plan))
    elif plan is not None:
        head = verdict_sentence(plan, plan.tiles(graph_of_plan(plan)))
        emit_table(plan_table(plan), inspection_footer(opened.model, plan), asked.chosen, head)
    else:
        say(f"{opened.model.label}: no lhc annotations; 'lhc partition' makes them")


def _write_fusion(opened: "Opened", plan: "Plan | None", path: Path, force: bool) -> None:
    from lhc.onnx_io.fusion import fusion_csv

    if plan is None:
        raise UsageError(f"{opened.model.label}: no lhc annotations; 'lhc partition' makes them")
    check_file(path, force)
    placed = opened.split_as(plan)
    write(path, fusion_csv(placed.model, placed.graph(), plan))


command = terminal_command("inspect", inspect, InspectOptions)
