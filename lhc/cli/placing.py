"""The sub-command that places layers: partition."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lhc.cli.estimates import emit_estimate
from lhc.cli.options import (
    Confidence,
    Data,
    Direction,
    Draws,
    DryRun,
    Exclude,
    ExternalData,
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
from lhc.cli.reporting import ReportOption, check_report, report_measured
from lhc.cli.training import (
    VALIDATIONS,
    Augment,
    BatchSize,
    CheckpointFolder,
    DigitalRate,
    Epochs,
    Loss,
    Noise,
    Optimizer,
    Patience,
    Rate,
    Retrain,
    Rounds,
    Steps,
    TrainData,
    partitioner,
    settings,
)
from lhc.files import write_file

if TYPE_CHECKING:
    from lhc.outcomes import PartitionResult
    from lhc.plan import Plan

__all__ = ["partition"]


def partition(
    model: Model,
    data: Data = None,
    metric: Metric = None,
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    max_drop: Annotated[
        str | None,
        typer.Option(
            "--max-drop",
            metavar="X",
            help="Greatest mean drop, in the metric's unit; one point of accuracy is 1% or 0.01. A zoo model's own,"
            " else 0.01.",
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
        typer.Option(
            "--strategy",
            metavar="S",
            help="sensitivity, milp, lionheart, hilal, exhaustive, random, all-analog, all-digital or first-last.",
        ),
    ] = "sensitivity",
    objective: Objective = None,
    max_tiles: MaxTiles = None,
    max_latency: MaxLatency = None,
    max_energy: MaxEnergy = None,
    group: Group = None,
    method: Method = "auto",
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
    report: ReportOption = None,
    retrain: Retrain = False,
    train_data: TrainData = None,
    steps: Steps = None,
    epochs: Epochs = None,
    batch_size: BatchSize = 128,
    optimizer: Optimizer = "adam",
    rate: Rate = None,
    digital_rate: DigitalRate = None,
    loss: Loss = "distillation",
    augment: Augment = "none",
    noise: Noise = "devices",
    patience: Patience = None,
    rounds: Rounds = None,
    checkpoint: CheckpointFolder = None,
    external_data: ExternalData = "keep",
    layer_ann: Annotated[
        bool,
        typer.Option("--layer-ann", help="Also write onnxruntime's key layer_ann on nodes that have none."),
    ] = False,
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
    """Place every layer within the loss you can afford. Annotates the model."""
    from lhc.api import estimate
    from lhc.api.estimating_trained import Asked
    from lhc.cli import documents
    from lhc.opening import open_model
    from lhc.outcomes import check_output
    from lhc.plan import Plan
    from lhc.retraining import retrained_from

    form = check_form(form, json)
    opened = open_model(model)
    how = execution(jobs, scheduler, work_dir, fresh, memory, timeout)
    shared: dict[str, Any] = {
        "metric": metric,
        "higher_is_better": higher_is_better,
        "output": scored_output,
        "hardware": hardware,
        "t_inference": t_inference,
        "strategy": strategy,
        "objective": objective,
        "group": tuple(group or ()),
        "method": method,
        "samples": samples,
        "draws": draws,
        "seed": seed,
        "label_key": label_key,
        "selection": selection_of(include, exclude, force_analog, force_digital),
        "execution": how,
        **({} if plan is None else {"follow": Plan.load(plan)}),
    }
    chosen = settings(
        steps, epochs, batch_size, optimizer, rate, digital_rate, loss, augment, noise, patience, VALIDATIONS, seed
    )
    run = partitioner(retrain, train_data, chosen, checkpoint, patience, rounds, plan is not None)
    if dry_run:
        asked = Asked(chosen, train_data, patience or 1, rounds) if retrain else None
        emit_estimate(estimate("partition", opened, data, retrain=asked, **shared), form)
        return
    documents.tell_renamed(opened.model.renamed, hint)
    where = output or _default_output(model, opened.model.path)
    force = force or (retrain and retrained_from(where, opened.model))
    check_output(where, opened.model, force, external_data)  # type: ignore[arg-type]  # checked there
    _check_others(plan_out, report, force)
    with reporter(quiet) as progress:
        result = run(
            opened,
            data,
            confidence=confidence,
            generalize=generalize,
            max_drop=max_drop,
            drop_type=drop_type,
            progress=progress,
            max_tiles=max_tiles,
            max_latency=max_latency,
            max_energy=max_energy,
            **shared,
        )
    _tell(result)
    # With other weights it is another network; that its place is free was checked above.
    force = force or (retrain and where.exists())
    result.save(where, force=force, external_data=external_data, layer_ann=layer_ann)  # type: ignore[arg-type]
    if plan_out is not None:
        _write_plan(result.plan, plan_out)
    _emit(result, where, form)
    report_measured(result, where.name, how.work_dir, report)
    _end(result)


def _check_others(plan_out: Path | None, report: Path | None, force: bool) -> None:
    """Find out before any work whether the other files can be written."""
    if plan_out is not None:
        check_file(plan_out, force)
    if report is not None:
        check_report(report, force)


def _write_plan(plan: "Plan", path: Path) -> None:
    write_file(path, lambda file: file.write(plan.to_yaml().encode()))
    hint(f"written: {path}")


def _tell(result: "PartitionResult") -> None:
    """Say how the layers were ranked, and what else there is to note."""
    from lhc.cli.documents import tell_ranking

    if result.ranking is not None:
        tell_ranking(result.ranking, hint)
    for note in result.notes:
        hint(f"note: {note}")


def _emit(result: "PartitionResult", where: Path, form: str) -> None:
    """Print the placement with its costs, and say where the model is."""
    from lhc.cli import costs, documents, searching
    from lhc.outcomes import plan_table

    document = documents.partition(result) | {
        "cost": costs.system_cost(result.cost, result.digital_cost),
        "infeasibility": searching.infeasibility(result.infeasibility),
    }
    emit(document, plan_table(result.plan), documents.outcome_text(result), form)
    hint(f"written: {where}")


def _end(result: "PartitionResult") -> None:
    """Say what was not kept to; exit code 1 if anything was not."""
    from lhc.cli.searching import infeasibility_lines

    outcome = result.plan.outcome
    if outcome is None:
        return
    if not outcome.limits_kept:
        hint("no placement keeps to --max-tiles, --max-latency and --max-energy; the plan was written all the same")
    if not outcome.within_budget:
        hint("the budget is not met; the plan was written all the same")
    for line in infeasibility_lines(result.infeasibility, result.plan):
        hint(line)
    if not (outcome.within_budget and outcome.limits_kept):
        raise typer.Exit(1)


def _default_output(model: str, path: Path | None) -> Path:
    if path is None:
        return Path(f"{model}.lhc.onnx")
    return path.with_name(f"{path.name.removesuffix('.onnx').removesuffix('.lhc')}.lhc.onnx")
