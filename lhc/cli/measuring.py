"""Sub-commands that measure: sensitivity, run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lhc.cli.estimates import emit_estimate
from lhc.cli.options import (
    Confidence,
    Data,
    Direction,
    Draws,
    DryRun,
    Exclude,
    Force,
    Form,
    Fresh,
    HardwareOption,
    Include,
    Jobs,
    Json,
    LabelKey,
    Memory,
    Method,
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
    selection_of,
)
from lhc.cli.output import check_file, check_form, emit, hint
from lhc.cli.progress import reporter
from lhc.cli.reporting import ReportOption, check_report, is_judged_output, report_measured
from lhc.errors import UsageError
from lhc.tables import time_text

__all__ = ["parse_times", "run", "sensitivity"]


def sensitivity(
    model: Model,
    data: Data = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="M", help="In whose unit damage is measured: kl, or nmse without classes."),
    ] = None,
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    half_width: Annotated[
        float | None,
        typer.Option("--half-width", metavar="W", help="Stop a layer once its interval is within W of its mean (0.2)."),
    ] = None,
    method: Method = "auto",
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
    dry_run: DryRun = False,
    form: Form = "table",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the damage of each layer when it alone is analog."""
    from lhc.api import estimate
    from lhc.api import sensitivity as run
    from lhc.cli import documents

    form = check_form(form, json)
    shared: dict[str, Any] = {
        "metric": metric,
        "higher_is_better": higher_is_better,
        "output": scored_output,
        "half_width": half_width,
        "method": method,
        "hardware": hardware,
        "t_inference": t_inference,
        "samples": samples,
        "draws": draws,
        "seed": seed,
        "label_key": label_key,
        "selection": selection_of(include, exclude),
        "execution": execution(jobs, scheduler, work_dir, fresh, memory, timeout),
    }
    if dry_run:
        emit_estimate(estimate("sensitivity", model, data, **shared), form)
        return
    with reporter(quiet) as progress:
        table = run(model, data, confidence=confidence, progress=progress, **shared)
    documents.tell_ranking(table, hint)
    footer = (
        f"{table.draws} draws, {table.samples} samples, {time_text(table.t_s)} after programming, seed {table.seed}"
    )
    emit(documents.sensitivity(table), table.as_table(), footer, form)


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
    report: ReportOption = None,
    label_key: LabelKey = "labels",
    force: Force = False,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    work_dir: WorkDir = None,
    fresh: Fresh = False,
    memory: Memory = "2GiB",
    timeout: Timeout = None,
    dry_run: DryRun = False,
    form: Form = "table",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a placed model with its analog noise, over time."""
    from lhc import api
    from lhc.cli import documents
    from lhc.cli.output import write_npz
    from lhc.onnx_io import has_annotations, read_plan
    from lhc.opening import open_model

    form = check_form(form, json)
    how = execution(jobs, scheduler, work_dir, fresh, memory, timeout)
    opened = open_model(model)
    if outputs is not None:
        check_file(outputs, force)
    own_placement = has_annotations(opened.model) and not all_analog and hardware is None
    own_placement = own_placement and is_judged_output(read_plan(opened.model), scored_output)
    if report is not None:
        check_report(report, force, own_placement)
    documents.warn_if_doubtful(opened.model, hint)
    if not (all_analog or has_annotations(opened.model)):
        hint(f"note: {model} carries no placement, so everything runs digital; see 'lhc partition' and --all-analog")
    times = parse_times(t_inference)
    placement = "all-analog" if all_analog else None
    only_outputs = outputs is not None and metric is None and not documents.has_labels(opened, data, label_key)
    shared: dict[str, Any] = {
        "metric": metric,
        "higher_is_better": higher_is_better,
        "output": scored_output,
        "hardware": hardware,
        "placement": placement,
        "times": times,
        "samples": samples,
        "draws": 10 if draws is None else draws,
        "seed": seed,
        "label_key": label_key,
        "execution": how,
    }
    if dry_run:
        emit_estimate(api.estimate("run", opened, data, **shared), form)
        return
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
            evaluations = api.evaluate(opened, data, confidence=confidence, progress=progress, **shared)
    if outputs is not None:
        hint(f"written: {outputs}")
    if not only_outputs:
        table, footer = documents.evaluation_table(evaluations), documents.evaluation_footer(evaluations)
        emit(documents.evaluations(evaluations), table, footer, form)
        if own_placement:
            report_measured(opened, Path(opened.model.label).name, how.work_dir, report, times=evaluations)


def parse_times(option: str | None) -> list[float] | None:
    """Times of inference, in seconds; None where none are named.

    Raises:
        UsageError: not numbers.
    """
    if option is None:
        return None
    try:
        return [float(part) for part in option.split(",")]
    except ValueError as error:
        raise UsageError(f"--t-inference {option!r}: write seconds, separated by commas, e.g. 0,3600,86400") from error
