"""``lhc compare``: machines side by side."""

from dataclasses import replace

import typer

from lhc.cli.framework.output import check_file, emit, write
from lhc.cli.framework.progress import dry_run, watched
from lhc.options.by_command import CompareOptions
from lhc.options.output_options import CompareOutput


def compare(asked: CompareOptions, shown: CompareOutput) -> None:
    """Place a network on several machines. Accuracy, energy, latency and tiles side by side.

    $ lhc compare model.onnx --data samples.npz --hardware lionheart --hardware mine.yaml
        what a machine of your own does beside a preset
    $ lhc compare model.onnx --data s.npz --hardware a.yaml --hardware b.yaml --ages 3600,86400 --plot f.svg
        the same, how long each holds with one calibration, and a picture
    """
    from lhc.commands.compare import compare as run
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.report.charts.comparison import comparison_svg
    from lhc.report.exports.json_documents import comparison_document
    from lhc.report.tables.comparison import comparison_footer

    asked = replace(asked, model=loaded_model(asked))
    if shown.dry_run:
        dry_run(asked, shown.chosen)
        return
    check_file(shown.plot, shown.force)
    with watched(asked, shown.quiet) as watching:
        results = run.of(watching)
    emit(comparison_document(results), results.as_table(), comparison_footer(results), shown.chosen)
    if shown.plot is not None:
        write(shown.plot, comparison_svg(results))
    if not all(result.plan.outcome is None or result.plan.outcome.within_budget for result in results):
        raise typer.Exit(1)
