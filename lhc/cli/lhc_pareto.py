"""``lhc pareto``: the trade-off of accuracy against cost."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import check_file, emit, hint
from lhc.cli.progress import watched
from lhc.errors import UsageError
from lhc.options.commands import ParetoOptions
from lhc.options.declare import option, options
from lhc.options.printed import Replacing, Watching

__all__ = ["command"]


@options
class ParetoOutput(Watching, Replacing):
    """What ``lhc pareto`` writes, and how it is asked afterwards."""

    PANEL: ClassVar[str] = "Output"

    from_dir: Path | None = option(
        "Pick a point for --max-drop from the fronts kept in this folder, instead of measuring.",
        default=None,
        flag="--from",
        metavar="DIR",
        result="front.points",
    )
    max_drop: str | None = option("--from: greatest mean drop.", default=None, metavar="X", result="front.points")
    out: Path | None = option(
        "Write the front.", default=None, short="-o", metavar="F.json", result="the front's fields"
    )
    plot: Path | None = option(
        "Draw the front.", default=None, metavar="F.svg", result="lhc.report.front_svg.front_svg(front)"
    )


def pareto(asked: ParetoOptions, shown: ParetoOutput) -> None:
    """Measure the trade-off of accuracy against cost, or ask it. Each point is verified."""
    from lhc.cli import fronts

    if shown.from_dir is not None:
        if shown.max_drop is None:
            raise UsageError("--from needs --max-drop: it picks a point for a budget")
        fronts.answer_budget(str(asked.model), shown.from_dir, shown.max_drop, asked.objective, shown.chosen)
        return
    if shown.max_drop is not None:
        raise UsageError("--max-drop picks a point of a measured front: it goes with --from; 'lhc partition' places")
    for path in (shown.out, shown.plot):
        if path is not None:
            check_file(path, shown.force)
    _measure(asked, shown)


def _measure(asked: ParetoOptions, shown: ParetoOutput) -> None:
    from lhc.cli import fronts
    from lhc.commands.pareto import pareto as run
    from lhc.report.front_svg import front_svg
    from lhc.study.source import open_model
    from lhc.support.files import write_file

    opened = open_model(asked.model)
    with watched(replace(asked, model=opened), shown.quiet) as watching:
        front = run.of(watching)
    assert watching.work_dir is not None
    fronts.keep(front, opened.model.source, asked, Path(watching.work_dir))
    emit(fronts.front_document(front), fronts.front_table(front), fronts.front_footer(front), shown.chosen)
    if shown.out is not None:
        write_file(shown.out, lambda file: file.write(fronts.front_json(front)))
        hint(f"written: {shown.out}")
    if shown.plot is not None:
        write_file(shown.plot, lambda file: file.write(front_svg(front).encode()))
        hint(f"written: {shown.plot}")


command = terminal_command("pareto", pareto, ParetoOptions, ParetoOutput)
