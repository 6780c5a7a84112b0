"""``lhc analyze``: what can be analog, and why not the rest."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import emit, hint, notes
from lhc.options.commands import AnalyzeOptions
from lhc.options.declare import option, options
from lhc.options.printed import Printing, Replacing

if TYPE_CHECKING:
    from lhc.model import OnnxModel


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

    from lhc.commands.analyze import analyze as run
    from lhc.report.json_documents import analysis_document
    from lhc.report.placement_lines import analysis_footer, renaming_notes
    from lhc.study.outcome import GROUPED_FORMS
    from lhc.study.source import open_model

    opened = open_model(asked.model, asked.data, asked.label_key, asked.dequantize)
    if shown.inline_functions is not None:
        _inline(opened.model, shown.inline_functions, shown.force)
        opened = open_model(shown.inline_functions)
    analysis = run.of(replace(asked, model=opened))
    notes(renaming_notes(analysis.renamed))
    table = analysis.as_table(shown.chosen in GROUPED_FORMS)
    emit(analysis_document(analysis), table, analysis_footer(analysis), shown.chosen)


def _inline(model: "OnnxModel", path: Path, force: bool) -> None:
    from lhc.onnx_io import check_output, inline_functions, save_model

    check_output(path, model, force)
    if not model.proto.functions:
        hint(f"note: {model.label} has no local functions; the copy is the same network")
    save_model(inline_functions(model), path)
    hint(f"written: {path}")


command = terminal_command(
    "analyze",
    analyze,
    AnalyzeOptions,
    AnalyzeOutput,
    examples=(
        ("lhc analyze model.onnx", "which layers can be analog, and why not the others; needs no data"),
        (
            "lhc analyze model.onnx --hardware mine.yaml --shape input=1,3,224,224",
            "on a machine of your own, for sizes that the file leaves open",
        ),
    ),
)
