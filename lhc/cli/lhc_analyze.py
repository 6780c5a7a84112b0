"""``lhc analyze``: what can be analog, and why not the rest."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import emit, hint
from lhc.options.commands import AnalyzeOptions
from lhc.options.declare import option, options
from lhc.options.printed import Printing, Replacing

if TYPE_CHECKING:
    from lhc.model import OnnxModel

__all__ = ["command"]


@options
class AnalyzeOutput(Printing, Replacing):
    """What ``lhc analyze`` writes."""

    PANEL: ClassVar[str] = "Output"

    inline_functions: Path | None = option(
        "First write the model with its local functions inlined, then look at that.",
        default=None,
        metavar="OUT.onnx",
        result="onnx.inliner",
    )


def analyze(asked: AnalyzeOptions, shown: AnalyzeOutput) -> None:
    """Show which layers can be analog, and why not the others. Needs no data."""
    from dataclasses import replace

    from lhc.cli import cost_lines, documents
    from lhc.commands.analyze import analyze as run
    from lhc.study.outcome import GROUPED_FORMS
    from lhc.study.source import open_model

    opened = open_model(asked.model, asked.data, asked.label_key)
    if shown.inline_functions is not None:
        _inline(opened.model, shown.inline_functions, shown.force)
        opened = open_model(shown.inline_functions)
    analysis = run.of(replace(asked, model=opened))
    documents.tell_renamed(analysis.renamed, hint)
    document = documents.analysis(analysis) | {"costs": cost_lines.layer_costs(analysis)}
    footer = documents.totals_line(analysis) + cost_lines.analysis_lines(analysis)
    emit(document, analysis.as_table(shown.chosen in GROUPED_FORMS), footer, shown.chosen)


def _inline(model: "OnnxModel", path: Path, force: bool) -> None:
    from lhc.onnx_io import inline_functions, save_model
    from lhc.study.outcome import check_output

    check_output(path, model, force)
    if not model.proto.functions:
        hint(f"note: {model.label} has no local functions; the copy is the same network")
    save_model(inline_functions(model), path)
    hint(f"written: {path}")


command = terminal_command("analyze", analyze, AnalyzeOptions, AnalyzeOutput)
