"""``lhc pareto``: the trade-off of accuracy against cost."""

from dataclasses import replace
from pathlib import Path

from lhc.cli.framework.output import check_file, emit, write
from lhc.cli.framework.progress import watched
from lhc.errors import UsageError
from lhc.options.by_command import ParetoOptions
from lhc.options.output_options import ParetoOutput


def pareto(asked: ParetoOptions, shown: ParetoOutput) -> None:
    """Measure the trade-off of accuracy against cost, or pick a point of it. Each point is verified.

    $ lhc pareto model.onnx --data samples.npz
        the front of accuracy against energy, each point verified
    """
    if shown.from_dir is not None:
        if shown.max_drop is None:
            raise UsageError("--from needs --max-drop: it picks a point for a budget")
        if shown.out is not None or shown.plot is not None:
            raise UsageError("-o and --plot are of a front that is measured: they cannot go with --from")
        _answer(asked, shown, shown.from_dir, shown.max_drop)
        return
    if shown.max_drop is not None:
        raise UsageError("--max-drop picks a point of a measured front: it goes with --from; 'lhc partition' places")
    for path in (shown.out, shown.plot):
        check_file(path, shown.force)
    _measure(asked, shown)


def _answer(asked: ParetoOptions, shown: ParetoOutput, folder: Path, max_drop: str) -> None:
    from lhc.commands.pareto import answered
    from lhc.report.exports.json_documents import answer_document
    from lhc.report.store import verifying_command
    from lhc.report.tables.measured_tables import front_table

    value, found = answered(asked, folder, max_drop)
    command = verifying_command(str(asked.model), found, max_drop)
    lines = [f"on {found.stored.hardware}, by {found.stored.front.objective}"]
    if found.verified is not None:
        lines.append(f"verified within {max_drop}: {', '.join(found.verified.analog) or 'all digital'}")
    if command is not None:
        lines.append(f"estimated to be better; this verifies it:\n{command}")
    points = [point for point in (found.verified, found.estimated) if point is not None]
    table = front_table(found.stored.front, points)
    emit(answer_document(value, found, command), table, "\n".join(lines), shown.chosen)


def _measure(asked: ParetoOptions, shown: ParetoOutput) -> None:
    from lhc.commands.pareto import pareto as run
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.report.charts.report_charts import front_svg
    from lhc.report.exports.json_documents import fields_of, front_json
    from lhc.report.store import keep_front
    from lhc.report.tables.measured_tables import front_footer

    opened = loaded_model(asked)
    with watched(replace(asked, model=opened), shown.quiet) as watching:
        front = run.of(watching)
    assert watching.work_dir is not None
    keep_front(front, opened.model.source, asked, Path(watching.work_dir))
    emit(fields_of(front), front.as_table(), front_footer(front), shown.chosen)
    if shown.out is not None:
        write(shown.out, front_json(front))
    if shown.plot is not None:
        write(shown.plot, front_svg(front))
