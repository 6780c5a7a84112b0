"""``lhc compile``: one chip as an ordinary ONNX file."""

from dataclasses import replace
from pathlib import Path

from lhc.cli.framework.output import default_output, emit_json, end_by, hint, hints, notes, replaced_text, say
from lhc.cli.framework.progress import watched
from lhc.options.by_command import CompileOptions
from lhc.options.output_options import CompileOutput


def compile(asked: CompileOptions, shown: CompileOutput) -> None:
    """Write one chip as an ordinary ONNX file. Analog layers are ONNX functions that do what the tiles do.

    A model without a placement is partitioned first, which needs samples; chips are calibrated on samples, too.

    $ lhc compile model.lhc.onnx -o model.sim.onnx
        one chip as an ordinary ONNX file
    """
    from lhc.commands.compile import compile_draws, placement_of
    from lhc.lowering import check_compiled_output
    from lhc.onnx_io import compiled_in
    from lhc.onnx_model import in_other_file
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.pipeline.steps.verify.conformance_step import checked_emulation
    from lhc.report.exports.json_documents import conformance_document
    from lhc.report.wording.model_file import compiled_text, doubts, emulation_text

    opened = loaded_model(asked)
    hints(doubts(opened.model))
    draws = range(asked.draw, asked.draw + shown.draws)
    paths = _paths(shown.out or default_output(opened, ".sim.onnx"), draws)
    for path in paths:
        check_compiled_output(path, opened.model, shown.force)
    with watched(replace(asked, model=opened), shown.quiet) as watching:
        placed, result = placement_of(watching)
        emulation = checked_emulation(placed, watching)
    placed = replace(placed, plan=emulation.put_into(placed.plan))
    if result is not None:
        notes(result.notes)
        hint(result.summary)
    files, written = [], []
    for path, compiled in zip(paths, compile_draws(placed, draws, asked), strict=True):
        before = compiled_in(path)
        compiled.save(path, force=shown.force)
        replaced = "" if before is None else replaced_text(before, compiled_in(path))
        beside = any(map(in_other_file, compiled.light.graph.initializer))
        written.append(
            f"written: {path}{f' and {path.name}.data beside it, which it needs' if beside else ''}{replaced}"
        )
        files.append(
            {
                "path": str(path),
                "draw": compiled.chip.draw,
                "bytes": path.stat().st_size,
                "replaced": before if replaced else None,
            }
        )
    t_s = compiled.chip.t_s
    if shown.json:
        analog = len(placed.plan.analog)
        calibrated = 0 if placed.calibration is None else placed.calibration.samples
        chips = {"seed": asked.seed, "calibrated": calibrated, "t_s": t_s, "analog": analog}
        engine = {"engine": emulation.engine, "engine_reason": emulation.engine_reason}
        found = conformance_document(emulation.conformance)
        emit_json({"files": files, "noise": asked.noise, **chips, **engine, "conformance": found})
    else:
        chosen = (asked.noise, draws, asked.seed, asked.data is not None)
        say(compiled_text(placed, t_s, *chosen))
        if placed.plan.analog:
            say(emulation_text(emulation, searched=result is not None))
    hints(written)
    end_by(None if result is None else result.plan.outcome, "files were")


def _paths(path: Path, draws: range) -> list[Path]:
    """One a chip: OUT.0.sim.onnx, OUT.1.sim.onnx, … where there are several."""
    if len(draws) == 1:
        return [path]
    suffix = next(ending for ending in (".sim.onnx", ".onnx", "") if path.name.endswith(ending))
    stem = path.name.removesuffix(suffix)
    return [path.with_name(f"{stem}.{draw}{suffix}") for draw in draws]
