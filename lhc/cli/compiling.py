"""Sub-commands that write a placed network for other machines: compile, split."""

from pathlib import Path
from typing import Annotated

import typer

from lhc.cli.options import (
    Data,
    Force,
    Json,
    LabelKey,
    Metric,
    Model,
    Objective,
    Quiet,
    RunHardware,
    Samples,
    Seed,
    Shape,
    TInference,
    shapes_of,
)
from lhc.cli.output import emit_json, hint
from lhc.cli.progress import reporter
from lhc.errors import UsageError
from lhc.tables import time_text

__all__ = ["compile", "split"]


def compile(
    model: Model,
    data: Data = None,
    noise: Annotated[
        str,
        typer.Option("--noise", metavar="on|off|input", help="Output noise: drawn in the model, left out, or fed."),
    ] = "on",
    draws: Annotated[int, typer.Option("--draws", metavar="K", help="Programmings (chips): one file each.")] = 1,
    seed: Seed = 0,
    t_inference: TInference = None,
    hardware: RunHardware = None,
    all_analog: Annotated[bool, typer.Option("--all-analog", help="Ignore annotations: every eligible layer.")] = False,
    shape: Shape = None,
    metric: Metric = None,
    max_drop: Annotated[
        str | None,
        typer.Option("--max-drop", metavar="X", help="Of a model that is partitioned first; see 'lhc partition'."),
    ] = None,
    objective: Objective = None,
    samples: Samples = None,
    label_key: LabelKey = "labels",
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="OUT.sim.onnx", help="By default <stem>.sim.onnx beside MODEL."),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one chip as an ordinary ONNX file. Analog layers are ONNX functions that do what the tiles do.

    A model without a placement is partitioned first, which needs samples.
    """
    from lhc import api
    from lhc.cli import documents
    from lhc.lowering import check_compiled_output, noise_mode
    from lhc.opening import open_model

    if draws < 1:
        raise UsageError(f"--draws must be at least 1, got {draws}")
    mode = noise_mode(noise)
    opened = open_model(model)
    documents.warn_if_doubtful(opened.model, hint)
    paths = _paths(output or _default_output(model, opened.model.path), draws)
    for path in paths:
        check_compiled_output(path, opened.model, force)
    search = {"metric": metric, "max_drop": max_drop, "objective": objective, "samples": samples}
    options = {name: value for name, value in search.items() if value is not None}
    with reporter(quiet) as progress:
        placed = api.placed(
            opened,
            data,
            placement="all-analog" if all_analog else None,
            hardware=hardware,
            seed=seed,
            t_inference=t_inference,
            shapes=shapes_of(shape),
            label_key=label_key,
            **options if all_analog else {**options, "progress": progress},
        )
    if placed.result is not None:
        for note in placed.result.notes:
            hint(f"note: {note}")
        hint(placed.result.summary)
    chips = api.compile_draws(placed, range(draws), seed=seed, t_inference=t_inference, noise=mode)
    files = []
    for path, compiled in zip(paths, chips, strict=True):
        compiled.save(path, force=force)
        hint(f"written: {path}")
        files.append({"path": str(path), "draw": compiled.chip.draw, "bytes": path.stat().st_size})
    layers = len(placed.plan.analog)
    if json:
        emit_json({"files": files, "noise": noise, "seed": seed, "t_s": compiled.chip.t_s, "analog": layers})
    else:
        what = {"on": "drawn in the model", "off": "left out", "input": "read from inputs NAME.deviates"}[noise]
        total = len(placed.plan.layers)
        t_s = compiled.chip.t_s
        time = "as programmed" if t_s is None else f"{time_text(t_s)} after programming"
        typer.echo(f"analog {layers}/{total} layers, {time}, output noise {what}")
    outcome = placed.result.plan.outcome if placed.result is not None else None
    if outcome is not None and not outcome.within_budget:
        hint("the budget is not met; the files were written all the same")
        raise typer.Exit(1)


def split(
    model: Model,
    output: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A new or empty folder.")],
    data: Data = None,
    seed: Seed = 0,
    t_inference: TInference = None,
    hardware: RunHardware = None,
    all_analog: Annotated[bool, typer.Option("--all-analog", help="Ignore annotations: every eligible layer.")] = False,
    shape: Shape = None,
    label_key: LabelKey = "labels",
    json: Json = False,
) -> None:
    """Write digital and analog parts as models of their own. An index lists tiles and their conductances.

    A model without a placement is partitioned first, which needs samples.
    """
    from lhc import api
    from lhc.cli import documents
    from lhc.opening import open_model

    opened = open_model(model)
    documents.warn_if_doubtful(opened.model, hint)
    placement = "all-analog" if all_analog else None
    index = api.split(
        opened,
        output,
        data,
        placement=placement,
        hardware=hardware,
        seed=seed,
        t_inference=t_inference,
        shapes=shapes_of(shape),
        label_key=label_key,
    )
    if json:
        emit_json(index | {"folder": str(output)})
    else:
        files = sorted(path.name for path in output.iterdir())
        parts = {kind: sum(name.startswith(kind) for name in files) for kind in ("digital", "analog")}
        typer.echo(f"{parts['digital']} digital and {parts['analog']} analog sub-models, index.json, conductances.npz")
    hint(f"written: {output}")


def _default_output(model: str, path: Path | None) -> Path:
    if path is None:
        return Path(f"{model}.sim.onnx")
    return path.with_name(f"{path.name.removesuffix('.onnx').removesuffix('.lhc')}.sim.onnx")


def _paths(path: Path, draws: int) -> list[Path]:
    """One a chip: OUT.0.sim.onnx, OUT.1.sim.onnx, … where there are several."""
    if draws == 1:
        return [path]
    suffix = next(ending for ending in (".sim.onnx", ".onnx", "") if path.name.endswith(ending))
    stem = path.name.removesuffix(suffix)
    return [path.with_name(f"{stem}.{draw}{suffix}") for draw in range(draws)]
