"""Sub-commands and their options.

Exit codes: 0 done and within budget; 1 done, budget not met (the best plan is written); 2 usage or configuration;
3 model or data not usable; 130 interrupted.
"""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from lhc import __version__
from lhc.cli.output import check_file, check_form, emit, emit_json, hint
from lhc.cli.progress import reporter
from lhc.errors import LhcError, UsageError
from lhc.files import write_file

__all__ = ["app", "main"]

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="lhc",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    help="Partition ONNX networks between analog in-memory computing tiles and digital cores.",
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="An .onnx file, or a name that 'lhc models' lists.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="F.npz", help="Samples: keys are input names, the first axis counts samples."),
]
LabelKey = Annotated[str, typer.Option("--label-key", metavar="KEY", help="Key of the targets in the data.")]
HardwareOption = Annotated[str, typer.Option("--hardware", metavar="H", help="Preset name or YAML file.")]
RunHardware = Annotated[
    str | None,
    typer.Option("--hardware", metavar="H", help="Preset or YAML file; that of the annotations by default."),
]
Metric = Annotated[
    str | None,
    typer.Option("--metric", metavar="M", help="accuracy (default with labels), agreement, kl, …, or module:function."),
]
Direction = Annotated[
    bool | None,
    typer.Option("--higher-is-better/--lower-is-better", help="Direction of a metric given as module:function."),
]
ScoredOutput = Annotated[
    str | None, typer.Option("--output", metavar="NAME", help="The output that is scored; the first by default.")
]
Confidence = Annotated[float, typer.Option("--confidence", metavar="C", help="Two-sided level of the intervals.")]
Samples = Annotated[int | None, typer.Option("--samples", metavar="N", help="Use the first N samples; all by default.")]
Draws = Annotated[int, typer.Option("--draws", metavar="N", help="Programmings (chips) per placement.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Fixes devices and noise.")]
TInference = Annotated[
    float | None,
    typer.Option("--t-inference", metavar="S", help="Seconds after the first read; the hardware's own by default."),
]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
Form = Annotated[str, typer.Option("--format", metavar="F", help="table, csv, markdown, latex or json.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file that lhc did not write for this model.")]
Patterns = list[str] | None
Include = Annotated[Patterns, typer.Option("--include", metavar="P", help="Look at these layers only (glob, or re:…).")]
Exclude = Annotated[Patterns, typer.Option("--exclude", metavar="P", help="Leave these layers digital, unmeasured.")]
ForceAnalog = Annotated[Patterns, typer.Option("--force-analog", metavar="P", help="These layers are analog.")]
ForceDigital = Annotated[Patterns, typer.Option("--force-digital", metavar="P", help="These layers are digital.")]
Shape = Annotated[
    Patterns,
    typer.Option("--shape", metavar="NAME=1,3,224,224", help="Shape of an input that the file leaves open."),
]


def _reporting(command: Callable[P, R]) -> Callable[P, R]:
    """Turn lhc's errors into a message on stderr and the exit code that goes with them."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except LhcError as error:
            hint(f"error: {error}")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            hint("interrupted; nothing was written")
            raise typer.Exit(130) from error

    return wrapped


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lhc {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _shapes(options: Patterns) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for option in options or ():
        name, _, sizes = option.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(","))
        except ValueError:
            shape = ()
        if not name or not shape or min(shape) < 1:
            raise UsageError(f"--shape {option!r}: write NAME=1,3,224,224, with sizes of at least 1")
        shapes[name] = shape
    return shapes


@app.command()
@_reporting
def analyze(
    model: Model, hardware: HardwareOption = "lionheart", shape: Shape = None, form: Form = "table", json: Json = False
) -> None:
    """Show which layers can be analog, and why not the others. Needs no data."""
    from lhc.api import analyze as run
    from lhc.cli import documents

    form = check_form(form, json)
    analysis = run(model, hardware=hardware, shapes=_shapes(shape))
    documents.tell_renamed(analysis.renamed, hint)
    emit(documents.analysis(analysis), analysis.as_table(), documents.totals_line(analysis), form)


@app.command()
@_reporting
def sensitivity(
    model: Model,
    data: Data = None,
    metric: Annotated[str, typer.Option("--metric", metavar="M", help="In whose unit damage is measured.")] = "kl",
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    half_width: Annotated[
        float | None,
        typer.Option("--half-width", metavar="W", help="Stop a layer once its interval is within W of its mean (0.2)."),
    ] = None,
    confidence: Confidence = 0.9,
    hardware: HardwareOption = "lionheart",
    t_inference: TInference = None,
    samples: Samples = None,
    draws: Draws = 10,
    seed: Seed = 0,
    include: Include = None,
    exclude: Exclude = None,
    label_key: LabelKey = "labels",
    form: Form = "table",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how much damage each layer does when it alone is analog."""
    from lhc.api import sensitivity as run
    from lhc.cli import documents
    from lhc.passes import Select

    form = check_form(form, json)
    with reporter(quiet) as progress:
        table = run(
            model,
            data,
            metric=metric,
            higher_is_better=higher_is_better,
            output=scored_output,
            half_width=half_width,
            confidence=confidence,
            hardware=hardware,
            t_inference=t_inference,
            samples=samples,
            draws=draws,
            seed=seed,
            label_key=label_key,
            selection=Select(tuple(include or ()), tuple(exclude or ())),
            progress=progress,
        )
    footer = f"{table.draws} draws, {table.samples} samples, {table.t_s:g} s after programming, seed {table.seed}"
    emit(documents.sensitivity(table), table.as_table(), footer, form)


@app.command()
@_reporting
def partition(
    model: Model,
    data: Data = None,
    metric: Metric = None,
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", metavar="X", help="Greatest mean drop, in the metric's unit; 0.01 by default."),
    ] = None,
    drop_type: Annotated[str, typer.Option("--drop-type", metavar="T", help="absolute or relative.")] = "absolute",
    confidence: Confidence = 0.9,
    generalize: Annotated[
        bool, typer.Option("--generalize", help="Decide for other samples too, not for these samples alone.")
    ] = False,
    hardware: HardwareOption = "lionheart",
    t_inference: TInference = None,
    draws: Draws = 10,
    samples: Samples = None,
    strategy: Annotated[
        str,
        typer.Option("--strategy", metavar="S", help="sensitivity, lionheart, all-analog, all-digital or first-last."),
    ] = "sensitivity",
    seed: Seed = 0,
    include: Include = None,
    exclude: Exclude = None,
    force_analog: ForceAnalog = None,
    force_digital: ForceDigital = None,
    label_key: LabelKey = "labels",
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="OUT.onnx", help="By default <stem>.lhc.onnx beside MODEL."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="F.yaml", help="Verify and write this plan instead of searching one."),
    ] = None,
    plan_out: Annotated[
        Path | None,
        typer.Option("--plan-out", metavar="F.yaml", help="Also write the plan, to be read, edited, fed back."),
    ] = None,
    force: Force = False,
    form: Form = "table",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Place every layer within the accuracy you can afford to lose, and annotate the model."""
    from lhc.api import partition as run
    from lhc.cli import documents
    from lhc.opening import open_model
    from lhc.outcomes import check_output, plan_table
    from lhc.passes import Select
    from lhc.plan import Plan

    form = check_form(form, json)
    opened = open_model(model)
    documents.tell_renamed(opened.model.renamed, hint)
    where = output or _default_output(model, opened.model.path)
    check_output(where, opened.model, force)
    if plan_out is not None:
        check_file(plan_out, force)
    followed = None if plan is None else Plan.load(plan)
    patterns = [tuple(p or ()) for p in (include, exclude, force_analog, force_digital)]
    with reporter(quiet) as progress:
        result = run(
            opened,
            data,
            metric=metric,
            higher_is_better=higher_is_better,
            output=scored_output,
            confidence=confidence,
            generalize=generalize,
            max_drop=max_drop,
            drop_type=drop_type,  # type: ignore[arg-type]  # checked there
            hardware=hardware,
            t_inference=t_inference,
            strategy=strategy,
            samples=samples,
            draws=draws,
            seed=seed,
            label_key=label_key,
            selection=Select(*patterns),
            follow=followed,
            progress=progress,
        )
    for note in result.notes:
        hint(f"note: {note}")
    result.save(where, force=force)
    if plan_out is not None:
        write_file(plan_out, lambda file: file.write(result.plan.to_yaml().encode()))
        hint(f"written: {plan_out}")
    emit(documents.partition(result), plan_table(result.plan), documents.outcome_text(result), form)
    hint(f"written: {where}")
    outcome = result.plan.outcome
    if outcome is not None and not outcome.within_budget:
        hint("the budget is not met; the best plan found was written")
        raise typer.Exit(1)


def _default_output(model: str, path: Path | None) -> Path:
    if path is None:
        return Path(f"{model}.lhc.onnx")
    return path.with_name(f"{path.name.removesuffix('.onnx').removesuffix('.lhc')}.lhc.onnx")


@app.command()
@_reporting
def run(
    model: Model,
    data: Data = None,
    metric: Metric = None,
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    confidence: Confidence = 0.9,
    t_inference: Annotated[
        str | None,
        typer.Option("--t-inference", metavar="0,3600,86400", help="Seconds after programming, one or more."),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option("--draws", metavar="N", help="Programmings (chips): 10, or 1 for --outputs alone."),
    ] = None,
    hardware: RunHardware = None,
    all_analog: Annotated[bool, typer.Option("--all-analog", help="Ignore annotations: every eligible layer.")] = False,
    samples: Samples = None,
    seed: Seed = 0,
    outputs: Annotated[
        Path | None,
        typer.Option("--outputs", metavar="OUT.npz", help="Write the outputs of the mapped network."),
    ] = None,
    label_key: LabelKey = "labels",
    force: Force = False,
    form: Form = "table",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run an annotated model with its analog noise, at one or more times after programming."""
    from lhc import api
    from lhc.cli import documents
    from lhc.cli.output import write_npz
    from lhc.onnx_io import has_annotations
    from lhc.opening import open_model

    form = check_form(form, json)
    opened = open_model(model)
    if outputs is not None:
        check_file(outputs, force)
    documents.warn_if_doubtful(opened.model, hint)
    if not (all_analog or has_annotations(opened.model)):
        hint(f"note: {model} carries no placement, so everything runs digital; see 'lhc partition' and --all-analog")
    times = _times(t_inference)
    placement = "all-analog" if all_analog else None
    only_outputs = outputs is not None and metric is None and not documents.has_labels(opened, data, label_key)
    with reporter(quiet) as progress:
        if outputs is not None:
            arrays = api.analog_outputs(
                opened,
                data,
                hardware=hardware,
                placement=placement,
                times=times,
                samples=samples,
                draws=draws or 1,
                seed=seed,
                label_key=label_key,
                progress=progress,
            )
            write_npz(outputs, arrays)
        if not only_outputs:
            evaluations = api.evaluate(
                opened,
                data,
                metric=metric,
                higher_is_better=higher_is_better,
                output=scored_output,
                confidence=confidence,
                hardware=hardware,
                placement=placement,
                times=times,
                samples=samples,
                draws=10 if draws is None else draws,
                seed=seed,
                label_key=label_key,
                progress=progress,
            )
    if outputs is not None:
        hint(f"written: {outputs}")
    if not only_outputs:
        table, footer = documents.evaluation_table(evaluations), documents.evaluation_footer(evaluations)
        emit(documents.evaluations(evaluations), table, footer, form)


def _times(option: str | None) -> list[float] | None:
    if option is None:
        return None
    try:
        return [float(part) for part in option.split(",")]
    except ValueError as error:
        raise UsageError(f"--t-inference {option!r}: write seconds, separated by commas, e.g. 0,3600,86400") from error


@app.command()
@_reporting
def inspect(model: Model, form: Form = "table", json: Json = False) -> None:
    """Show the placement that a model carries, without measuring anything."""
    from lhc.cli import documents
    from lhc.onnx_io import read_plan
    from lhc.opening import open_model
    from lhc.outcomes import plan_table

    form = check_form(form, json)
    opened = open_model(model)
    documents.warn_if_doubtful(opened.model, hint)
    plan = read_plan(opened.model)
    if plan is not None:
        footer = documents.inspection_footer(opened.model, plan)
        emit(documents.inspection(opened.model, plan), plan_table(plan), footer, form)
    elif form == "json":
        emit_json({"annotated": False})
    else:
        typer.echo(f"{opened.model.label}: no lhc annotations; 'lhc partition' makes them")


@app.command()
@_reporting
def view(
    model: Model,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="By default a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Show a model in Netron, analog layers orange and digital ones blue, until Ctrl-C."""
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


@app.command()
@_reporting
def hardware(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Preset name or YAML file.")] = None,
) -> None:
    """List the hardware presets, or print one as YAML to start your own from."""
    from lhc.hardware import Hardware, preset_names, preset_text

    if name is None:
        for preset in preset_names():
            typer.echo(f"{preset}: {Hardware.load(preset).description}")
    elif name in preset_names():
        typer.echo(preset_text(name), nl=False)
    else:
        typer.echo(Hardware.load(name).to_yaml(), nl=False)


@app.command()
@_reporting
def models(json: Json = False) -> None:
    """List the models that come with lhc."""
    from lhc.models import zoo_entry, zoo_names

    entries = [zoo_entry(name) for name in zoo_names()]
    document = {"models": [{"name": e.name, "description": e.description, "max_drop": e.max_drop} for e in entries]}
    if json:
        emit_json(document)
    else:
        typer.echo("\n".join(f"{entry.name}: {entry.description}" for entry in entries))


@app.command()
@_reporting
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
        labels = {} if task.targets is None else {"labels": task.targets}
        write_npz(data_out, dict(task.inputs) | labels)
        hint(f"written: {data_out}")
    save_model(model.proto, output)
    hint(f"written: {output}")


def main() -> None:
    """Entry point of the ``lhc`` command."""
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s", stream=sys.stderr)
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
