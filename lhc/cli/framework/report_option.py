"""The option ``--report`` of commands that measure."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lhc.cli.framework.output import check_file, hint
from lhc.errors import LhcError, UsageError
from lhc.options.by_command import Asking
from lhc.options.shared import GivenPlacement

if TYPE_CHECKING:
    from lhc.onnx_model import OnnxModel
    from lhc.report.document.report import Report


def measures_own(asked: Asking, model: "OnnxModel") -> bool:
    """Whether placement, hardware and output of a model's annotations are measured."""
    from lhc.onnx_io import has_annotations, read_plan
    from lhc.pipeline.inputs.run_inputs import is_judged_output

    own = has_annotations(model) and asked.hardware is None
    if isinstance(asked, GivenPlacement):
        own = own and not asked.all_analog
    return own and is_judged_output(read_plan(model), asked.scored)


def check_report(path: Path | None, force: bool, own: bool = True) -> None:
    """Refuse a report before any work is done; ``own``: what is measured is what the model's annotations say.

    Raises:
        UsageError: its name says no kind, the file exists (unless ``force``), or its folder does not; or something else
            than what the model carries is measured.
    """
    from lhc.report.exports.formats import check_kind

    if path is None:
        return
    check_kind(path)
    check_file(path, force)
    if not own:
        raise UsageError(
            "--report is about the placement, the hardware and the output that a model carries. This run is of others,"
            " or the model carries none: 'lhc partition' makes one"
        )


def report_measured(report_of: "Callable[..., Report]", work_dir: str | Path | None, path: Path | None) -> None:
    """Keep what was measured of a placement, and write the report that was asked for.

    What was measured is safe already: where the folder of results cannot take it, that is said and no error.
    """
    from lhc.report.exports.formats import save_report

    own = Path(sys.argv[0]).name in ("lhc", "__main__.py")
    command = shlex.join(["lhc", *sys.argv[1:]]) if own else ""
    try:
        report = report_of(command=command, work_dir=work_dir)
    except LhcError as error:
        hint(f"warning: the report is not kept for later: {error}")
        if path is None:
            return
        report = report_of(command=command)
    if path is not None:
        save_report(report, path)
        hint(f"written: {path}")
