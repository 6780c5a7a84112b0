"""Sub-commands that measure nothing: analyze, inspect, view, hardware, models, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lhc.cli.options import Force, Form, HardwareOption, Json, Model, Shape, shapes_of
from lhc.cli.output import check_file, check_form, emit, emit_json, hint
from lhc.errors import UsageError

if TYPE_CHECKING:
    from lhc.model import OnnxModel

__all__ = ["analyze", "export", "hardware", "inspect", "models", "view"]


def analyze(
    model: Model,
    hardware: HardwareOption = "lionheart",
    shape: Shape = None,
    inline_functions: Annotated[
        Path | None,
        typer.Option(
            "--inline-functions",
            metavar="OUT.onnx",
            help="First write the model with its local functions inlined, then look at that.",
        ),
    ] = None,
    force: Force = False,
    form: Form = "table",
    json: Json = False,
) -> None:
    """Show which layers can be analog, and why not the others. Needs no data."""
    from lhc.api import analyze as run
    from lhc.cli import costs, documents
    from lhc.opening import open_model
    from lhc.outcomes import GROUPED_FORMS

    form = check_form(form, json)
    opened = open_model(model)
    if inline_functions is not None:
        _inline(opened.model, inline_functions, force)
        opened = open_model(inline_functions)
    analysis = run(opened, hardware=hardware, shapes=shapes_of(shape))
    documents.tell_renamed(analysis.renamed, hint)
    document = documents.analysis(analysis) | {"costs": costs.layer_costs(analysis)}
    footer = documents.totals_line(analysis) + costs.analysis_lines(analysis)
    emit(document, analysis.as_table(form in GROUPED_FORMS), footer, form)


def _inline(model: "OnnxModel", path: Path, force: bool) -> None:
    from lhc.onnx_io import inline_functions, save_model
    from lhc.outcomes import check_output

    check_output(path, model, force)
    if not model.proto.functions:
        hint(f"note: {model.label} has no local functions; the copy is the same network")
    save_model(inline_functions(model), path)
    hint(f"written: {path}")


def inspect(
    model: Model,
    layer_assignment: Annotated[
        str | None,
        typer.Option(
            "--layer-assignment",
            metavar="DEVICE",
            help="Print onnxruntime's session.layer_assignment_settings that send analog layers to DEVICE (npu, …).",
        ),
    ] = None,
    form: Form = "table",
    json: Json = False,
) -> None:
    """Show the placement that a model carries. Measures nothing."""
    from lhc.cli import costs, documents
    from lhc.onnx_io import layer_assignment_settings, read_plan
    from lhc.opening import open_model
    from lhc.outcomes import plan_table

    form = check_form(form, json)
    opened = open_model(model)
    documents.warn_if_doubtful(opened.model, hint)
    if layer_assignment is not None:
        typer.echo(layer_assignment_settings(opened.model, layer_assignment))
        return
    plan = read_plan(opened.model)
    if plan is not None:
        footer = documents.inspection_footer(opened.model, plan)
        document = documents.inspection(opened.model, plan)
        document["cost"] = costs.system_cost(*costs.stored_costs(opened, plan))
        emit(document, plan_table(plan), footer, form)
    elif form == "json":
        emit_json({"annotated": False})
    else:
        typer.echo(f"{opened.model.label}: no lhc annotations; 'lhc partition' makes them")


def view(
    model: Model,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="By default a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Show a model in Netron, its placement in two colours. Ends with Ctrl-C."""
    from lhc import report
    from lhc.cli import documents
    from lhc.onnx_io import read_plan

    shown = report.open_for_viewing(model)
    plan = read_plan(shown)
    documents.tell_renamed(shown.renamed, hint)
    for note in report.annotation_notes(shown, plan):
        hint(note)
    if not report.has_weights_outside(shown):
        documents.warn_if_doubtful(shown, hint)
    server = report.make_server(report.netron_site(shown, plan), port)
    report.serve(server, browse=not no_browser, ready=typer.echo, tell=hint)


def hardware(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Preset name or YAML file.")] = None,
) -> None:
    """List the hardware presets, or print one as YAML. Start your own from it."""
    from lhc.hardware import Hardware, preset_names, preset_text

    if name is None:
        for preset in preset_names():
            typer.echo(f"{preset}: {Hardware.load(preset).description}")
    elif name in preset_names():
        typer.echo(preset_text(name), nl=False)
    else:
        typer.echo(Hardware.load(name).to_yaml(), nl=False)


def models(json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """List the models that come with lhc."""
    from lhc.models import zoo_entry, zoo_names

    entries = [zoo_entry(name) for name in zoo_names()]
    document = {"models": [{"name": e.name, "description": e.description, "max_drop": e.max_drop} for e in entries]}
    if json:
        emit_json(document)
    else:
        typer.echo("\n".join(f"{entry.name}: {entry.description}" for entry in entries))


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that 'lhc models' lists.")],
    output: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.onnx", help="Where the model goes.")],
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Trained weights, .npz or a PyTorch state dict."),
    ] = None,
    data_out: Annotated[
        Path | None, typer.Option("--data-out", metavar="F.npz", help="Also write the model's own samples.")
    ] = None,
    force: Force = False,
) -> None:
    """Write a model of the zoo as ONNX, and its samples as npz."""
    import numpy as np

    from lhc.cli.output import write_npz
    from lhc.models import zoo_entry
    from lhc.onnx_io import load_model, save_model
    from lhc.outcomes import check_output

    entry = zoo_entry(name)
    model = load_model(entry.model(weights), label=name)
    check_output(output, model, force)
    if data_out is not None:
        check_file(data_out, force)
        task = entry.task()
        if task.targets is not None and task.targets.dtype.names:
            raise UsageError(
                f"--data-out: the targets of {name} are no plain numbers; give --data {name} instead of a file"
            )
        labels = {} if task.targets is None else {"labels": task.targets}
        write_npz(data_out, {name: np.asarray(array) for name, array in task.inputs.items()} | labels)
        hint(f"written: {data_out}")
    save_model(model.proto, output)
    hint(f"written: {output}")
