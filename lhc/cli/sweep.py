"""``lhc sweep``: many runs of ``lhc partition``, one row each."""

from pathlib import Path

import typer

from lhc.cli.framework.output import emit, hint
from lhc.cli.framework.progress import watched
from lhc.errors import LhcError, OutOfTimeError, UsageError
from lhc.options.by_command import SweepOptions
from lhc.options.output_options import SweepOutput


def sweep(asked: SweepOptions, shown: SweepOutput) -> None:
    """Run 'lhc partition' for all combinations of some options: one row a run.

    $ lhc sweep sweep.toml --dry-run
        how many runs there are, and how long they take
    $ lhc sweep sweep.toml --jobs 8
        the table as CSV, Markdown and JSON, and plots; stopped, the same command goes on
    """
    from lhc.commands.sweep import forecast
    from lhc.commands.sweep import sweep as run
    from lhc.report.exports.sweep_files import check_sweep_folder, save_sweep

    if shown.dry_run:
        with watched(asked, quiet=True) as quietly:
            expected = forecast(quietly)
        emit(expected.document(), expected.as_table(), expected.summary, shown.chosen)
        if all(kind.error is not None for kind in expected.kinds):
            hint("no run can start")
            raise typer.Exit(UsageError.exit_code)
        return
    name = Path(str(asked.sweep)).stem
    folder = shown.out or Path(f"{name}-results")
    check_sweep_folder(folder, name, shown.force)
    with watched(asked, shown.quiet) as watching:
        result = run.of(watching)
    written = save_sweep(result, folder, shown.force)
    emit(result.document(), result.as_table(), result.summary, shown.chosen)
    for path in written:
        hint(f"written: {path}")
    if result.failed:
        hint("runs that failed are rows with their error; the same command tries them again")
        raise typer.Exit(LhcError.exit_code)
    if result.left_out:
        hint("--timeout: the time is over; the same command goes on")
        raise typer.Exit(OutOfTimeError.exit_code)
