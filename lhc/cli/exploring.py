"""Sub-commands about the whole trade-off and about other conditions: pareto, robustness, attribute."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lhc.cli.options import (
    Confidence,
    Data,
    Direction,
    Draws,
    Exclude,
    Force,
    ForceAnalog,
    ForceDigital,
    Form,
    Fresh,
    Group,
    HardwareOption,
    Include,
    Jobs,
    Json,
    LabelKey,
    MaxEnergy,
    MaxLatency,
    MaxTiles,
    Memory,
    Method,
    Metric,
    Model,
    Objective,
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
from lhc.files import write_file

__all__ = ["attribute", "pareto", "robustness"]

VerifiedConfidence = Annotated[
    float | None,
    typer.Option("--confidence", metavar="C", help="Two-sided level of the intervals; that of the verification."),
]
VerifiedDraws = Annotated[
    int | None,
    typer.Option("--draws", metavar="N", help="Programmings (chips) for times and noise; those that verified."),
]
VerifiedSeed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Fixes devices and noise; that of the verification.")
]
MaxDrop = Annotated[str | None, typer.Option("--max-drop", metavar="X", help="Greatest mean drop, as 0.01 or 1%.")]


def pareto(
    model: Model,
    data: Data = None,
    metric: Metric = None,
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    objective: Objective = None,
    max_tiles: MaxTiles = None,
    max_latency: MaxLatency = None,
    max_energy: MaxEnergy = None,
    group: Group = None,
    points: Annotated[int, typer.Option("--points", metavar="N", help="Points of the front to verify.")] = 12,
    from_dir: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Answer --max-drop from the fronts kept in this folder."),
    ] = None,
    max_drop: MaxDrop = None,
    confidence: Confidence = 0.9,
    hardware: HardwareOption = "lionheart",
    t_inference: TInference = None,
    method: Method = "auto",
    samples: Samples = None,
    draws: Draws = 10,
    seed: Seed = 0,
    include: Include = None,
    exclude: Exclude = None,
    force_analog: ForceAnalog = None,
    force_digital: ForceDigital = None,
    label_key: LabelKey = "labels",
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="F.json", help="Write the front.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="F.svg", help="Draw the front.")] = None,
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
    """Measure the trade-off of accuracy against cost, or ask it. Each point is verified."""
    from lhc.cli import fronts

    form = check_form(form, json)
    if from_dir is not None:
        if max_drop is None:
            raise UsageError("--from answers a budget: give --max-drop")
        fronts.answer_budget(model, from_dir, max_drop, objective, form)
        return
    if max_drop is not None:
        raise UsageError("--max-drop picks a point of a measured front: it goes with --from; 'lhc partition' places")
    for path in (out, plot):
        if path is not None:
            check_file(path, force)
    from lhc.api import pareto as run
    from lhc.opening import open_model

    opened = open_model(model)
    how = execution(jobs, scheduler, work_dir, fresh, memory, timeout)
    options: dict[str, Any] = {
        "metric": metric,
        "hardware": hardware,
        "t_inference": t_inference,
        "samples": samples,
        "draws": draws,
        "seed": seed,
        "label_key": label_key,
    }
    with reporter(quiet) as progress:
        front = run(
            opened,
            data,
            higher_is_better=higher_is_better,
            output=scored_output,
            objective=objective,  # type: ignore[arg-type]  # checked there
            max_tiles=max_tiles,
            max_latency=max_latency,
            max_energy=max_energy,
            group=tuple(group or ()),
            points=points,
            confidence=confidence,
            method=method,  # type: ignore[arg-type]  # checked there
            selection=selection_of(include, exclude, force_analog, force_digital),
            progress=progress,
            execution=how,
            **options,
        )
    assert how.work_dir is not None
    fronts.keep(front, opened.model.source, hardware, {"data": data, **options}, Path(how.work_dir))
    emit(fronts.front_document(front), fronts.front_table(front), fronts.front_footer(front), form)
    if out is not None:
        write_file(out, lambda file: file.write(fronts.front_json(front)))
        hint(f"written: {out}")
    if plot is not None:
        from lhc.report.front_svg import front_svg

        write_file(plot, lambda file: file.write(front_svg(front).encode()))
        hint(f"written: {plot}")


def robustness(
    model: Model,
    data: Data = None,
    metric: Metric = None,
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    max_drop: MaxDrop = None,
    confidence: VerifiedConfidence = None,
    t_inference: Annotated[
        str | None,
        typer.Option("--t-inference", metavar="0,3600,…", help="Seconds after the first read; 0 to ten years."),
    ] = None,
    chips: Annotated[int, typer.Option("--chips", metavar="N", help="Programmings for the spread over chips.")] = 50,
    draws: VerifiedDraws = None,
    hardware: RunHardware = None,
    all_analog: Annotated[bool, typer.Option("--all-analog", help="Ignore annotations: every eligible layer.")] = False,
    samples: Samples = None,
    seed: VerifiedSeed = None,
    label_key: LabelKey = "labels",
    report: ReportOption = None,
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
    """Run a placed model over time, chips and scaled noise. One margin says when it fails."""
    from lhc.api import robustness as run
    from lhc.cli import fronts
    from lhc.cli.measuring import parse_times
    from lhc.onnx_io import has_annotations, read_plan
    from lhc.opening import open_model

    form = check_form(form, json)
    how = execution(jobs, scheduler, work_dir, fresh, memory, timeout)
    opened = open_model(model)
    own = has_annotations(opened.model) and not all_analog and hardware is None
    own = own and is_judged_output(read_plan(opened.model), scored_output)
    if report is not None:
        check_report(report, force, own)
    if not (all_analog or has_annotations(opened.model)):
        raise UsageError(f"{model}: carries no placement; 'lhc partition' makes one, --all-analog takes every layer")
    with reporter(quiet) as progress:
        found = run(
            opened,
            data,
            metric=metric,
            higher_is_better=higher_is_better,
            output=scored_output,
            max_drop=max_drop,
            confidence=confidence,
            hardware=hardware,
            placement="all-analog" if all_analog else None,
            times=parse_times(t_inference),
            chips=chips,
            samples=samples,
            draws=draws,
            seed=seed,
            label_key=label_key,
            progress=progress,
            execution=how,
        )
    emit(fronts.robustness_document(found), fronts.robustness_table(found), fronts.robustness_footer(found), form)
    if own:
        report_measured(opened, Path(opened.model.label).name, how.work_dir, report, robustness=found)


def attribute(
    model: Model,
    data: Data = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="M", help="In whose unit damage is measured: kl, or nmse without classes."),
    ] = None,
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    confidence: Confidence = 0.9,
    hardware: RunHardware = None,
    t_inference: TInference = None,
    samples: Samples = None,
    draws: Draws = 10,
    seed: Seed = 0,
    include: Include = None,
    exclude: Exclude = None,
    label_key: LabelKey = "labels",
    report: ReportOption = None,
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
    """Measure what causes each layer's damage. Each effect of the tiles is switched off in turn."""
    from lhc.api import attribute as run
    from lhc.cli import fronts
    from lhc.hardware import Hardware
    from lhc.onnx_io import read_plan
    from lhc.opening import open_model

    form = check_form(form, json)
    how = execution(jobs, scheduler, work_dir, fresh, memory, timeout)
    opened = open_model(model)
    plan = read_plan(opened.model)
    own = plan is not None and (hardware is None or plan.hardware == Hardware.load(hardware))
    own = own and is_judged_output(plan, scored_output)
    if report is not None:
        check_report(report, force, own)
    with reporter(quiet) as progress:
        found = run(
            opened,
            data,
            metric=metric,
            higher_is_better=higher_is_better,
            output=scored_output,
            confidence=confidence,
            hardware=hardware,
            t_inference=t_inference,
            samples=samples,
            draws=draws,
            seed=seed,
            label_key=label_key,
            selection=selection_of(include, exclude),
            progress=progress,
            execution=how,
        )
    emit(fronts.attribution_document(found), fronts.attribution_table(found), fronts.attribution_footer(found), form)
    if own:
        report_measured(opened, Path(opened.model.label).name, how.work_dir, report, attribution=found)
