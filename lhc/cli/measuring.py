"""Sub-commands that measure: sensitivity, partition, run."""

from pathlib import Path
from typing import Annotated

import typer

from lhc.cli.base import app, reporting
from lhc.cli.options import (
    Confidence,
    Data,
    Direction,
    Draws,
    Exclude,
    ExternalData,
    Force,
    ForceAnalog,
    ForceDigital,
    Form,
    Fresh,
    HardwareOption,
    Include,
    Jobs,
    Json,
    LabelKey,
    Memory,
    Metric,
    Model,
    Quiet,
    RunHardware,
    Samples,
    Scheduler,
    ScoredOutput,
    Seed,
    Timeout,
    TInference,
    WorkDir,
    execution,
)
from lhc.cli.output import check_file, check_form, emit, hint
from lhc.cli.progress import reporter
from lhc.errors import UsageError
from lhc.files import write_file

__all__ = ["partition", "run", "sensitivity"]


@app.command()
@reporting
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
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    work_dir: WorkDir = None,
    fresh: Fresh = False,
    memory: Memory = "2GiB",
    timeout: Timeout = None,
    form: Form = "table",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how much damage each layer does when it alone is analog."""
    from lhc.api import sensitivity as run
    from lhc.cli import documents
    from lhc.passes import Select

    form = check_form(form, json)
    how = execution(jobs, scheduler, work_dir, fresh, memory, timeout)
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
            execution=how,
        )
    footer = f"{table.draws} draws, {table.samples} samples, {table.t_s:g} s after programming, seed {table.seed}"
    emit(documents.sensitivity(table), table.as_table(), footer, form)


@app.command()
@reporting
def partition(
    model: Model,
    data: Data = None,
    metric: Metric = None,
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop", metavar="X", help="Greatest mean drop, in the metric's unit; a zoo model's own, else 0.01."
        ),
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
    external_data: ExternalData = "keep",
    force: Force = False,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    work_dir: WorkDir = None,
    fresh: Fresh = False,
    memory: Memory = "2GiB",
    timeout: Timeout = None,
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
    how = execution(jobs, scheduler, work_dir, fresh, memory, timeout)
    opened = open_model(model)
    documents.tell_renamed(opened.model.renamed, hint)
    where = output or _default_output(model, opened.model.path)
    check_output(where, opened.model, force, external_data)  # type: ignore[arg-type]  # checked there
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
            execution=how,
        )
    for note in result.notes:
        hint(f"note: {note}")
    result.save(where, force=force, external_data=external_data)  # type: ignore[arg-type]
    if plan_out is not None:
        write_file(plan_out, lambda file: file.write(result.plan.to_yaml().encode()))
        hint(f"written: {plan_out}")
    emit(documents.partition(result), plan_table(result.plan), documents.outcome_text(result), form)
    hint(f"written: {where}")
    outcome = result.plan.outcome
    if outcome is not None and not outcome.within_budget:
        hint("the budget is not met; the plan was written all the same")
        raise typer.Exit(1)


def _default_output(model: str, path: Path | None) -> Path:
    if path is None:
        return Path(f"{model}.lhc.onnx")
    return path.with_name(f"{path.name.removesuffix('.onnx').removesuffix('.lhc')}.lhc.onnx")


@app.command()
@reporting
def run(
    model: Model,
    data: Data = None,
    metric: Metric = None,
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    confidence: Confidence = 0.9,
    t_inference: Annotated[
        str | None,
        typer.Option("--t-inference", metavar="0,3600,86400", help="Seconds after the first read, one or more."),
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
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    work_dir: WorkDir = None,
    fresh: Fresh = False,
    memory: Memory = "2GiB",
    timeout: Timeout = None,
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
    how = execution(jobs, scheduler, work_dir, fresh, memory, timeout)
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
                execution=how,
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
