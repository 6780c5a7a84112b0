"""The sub-command that trains a placed model: retrain."""

from pathlib import Path
from typing import Annotated

import typer

from lhc.cli.options import (
    Confidence,
    Data,
    Direction,
    Draws,
    ExternalData,
    Force,
    Form,
    Fresh,
    Jobs,
    Json,
    LabelKey,
    Memory,
    Metric,
    Model,
    Quiet,
    RunHardware,
    Samples,
    ScoredOutput,
    Seed,
    TInference,
    WorkDir,
    execution,
)
from lhc.cli.output import check_form, emit, hint
from lhc.cli.progress import reporter
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
    Steps,
    Validations,
    settings,
)

__all__ = ["retrain"]


def retrain(
    model: Model,
    data: Data = None,
    verify_data: Annotated[
        Path | None,
        typer.Option("--verify-data", metavar="DATA", help="Samples that judge; a fifth of --data by default."),
    ] = None,
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
    validations: Validations = VALIDATIONS,
    seed: Seed = 0,
    checkpoint: CheckpointFolder = None,
    all_analog: Annotated[
        bool, typer.Option("--all-analog", help="Every layer that can be is analog, whatever the annotations say.")
    ] = False,
    metric: Metric = None,
    higher_is_better: Direction = None,
    scored_output: ScoredOutput = None,
    max_drop: Annotated[
        str | None,
        typer.Option(
            "--max-drop", metavar="X", help="Greatest mean drop, as 0.01 or 1%; that of the annotations, else 0.01."
        ),
    ] = None,
    confidence: Confidence = 0.9,
    hardware: RunHardware = None,
    t_inference: TInference = None,
    samples: Samples = None,
    draws: Draws = 10,
    label_key: LabelKey = "labels",
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="OUT.onnx", help="By default <stem>.retrained.lhc.onnx beside MODEL."),
    ] = None,
    external_data: ExternalData = "keep",
    force: Force = False,
    jobs: Jobs = 1,
    work_dir: WorkDir = None,
    fresh: Fresh = False,
    memory: Memory = "2GiB",
    form: Form = "table",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a placed model under the noise of its tiles. The weights are kept if they are better."""
    from lhc.api import retrain as run
    from lhc.cli import documents
    from lhc.opening import open_model
    from lhc.outcomes import check_output, plan_table
    from lhc.retraining import retrained_from

    form = check_form(form, json)
    how = execution(jobs, None, work_dir, fresh, memory, None)
    chosen = settings(
        steps, epochs, batch_size, optimizer, rate, digital_rate, loss, augment, noise, patience, validations, seed
    )
    opened = open_model(model)
    where = output or _default_output(model, opened.model.path)
    force = force or retrained_from(where, opened.model)
    check_output(where, opened.model, force, external_data)  # type: ignore[arg-type]  # checked there
    with reporter(quiet) as progress:
        result = run(
            opened,
            data,
            verify_data=verify_data,
            settings=chosen,
            checkpoint=checkpoint,
            metric=metric,
            higher_is_better=higher_is_better,
            output=scored_output,
            max_drop=max_drop,
            confidence=confidence,
            hardware=hardware,
            placement="all-analog" if all_analog else None,
            t_inference=t_inference,
            samples=samples,
            draws=draws,
            label_key=label_key,
            progress=progress,
            execution=how,
        )
    for note in result.notes:
        hint(f"note: {note}")
    # The output was checked against the input before the training; a file that is there holds that network.
    result.save(where, force=force or where.exists(), external_data=external_data)  # type: ignore[arg-type]
    emit(documents.partition(result), plan_table(result.plan), documents.outcome_text(result), form)
    hint(f"written: {where}")
    outcome = result.plan.outcome
    if outcome is not None and not outcome.within_budget:
        hint("the budget is not met; the model was written all the same")
        raise typer.Exit(1)


def _default_output(model: str, path: Path | None) -> Path:
    if path is None:
        return Path(f"{model}.retrained.lhc.onnx")
    return path.with_name(f"{path.name.removesuffix('.onnx').removesuffix('.lhc')}.retrained.lhc.onnx")
