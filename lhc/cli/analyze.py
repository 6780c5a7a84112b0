"""``lhc analyze``: what can be analog, and why not the rest."""

from dataclasses import replace

from lhc.cli.framework.output import emit, hint, notes
from lhc.options.by_command import AnalyzeOptions
from lhc.options.output_options import AnalyzeOutput


def analyze(asked: AnalyzeOptions, shown: AnalyzeOutput) -> None:
    """Show which layers can be analog, and why not the others. Needs no data.

    $ lhc analyze model.onnx
        which layers can be analog, and why not the others; needs no data
    $ lhc analyze model.onnx --hardware mine.yaml --shape input=1,3,224,224
        on a machine of your own, for sizes that the file leaves open
    """
    from lhc.commands.analyze import analyze as run
    from lhc.onnx_io import check_output, inline_functions, save_model
    from lhc.pipeline.analysis_and_partition_results import GROUPED_FORMS
    from lhc.pipeline.inputs.model_source import loaded_model, open_model
    from lhc.report.exports.json_documents import analysis_document
    from lhc.report.wording.model_file import analysis_footer, renaming_notes

    opened = loaded_model(asked)
    if shown.inline_functions is not None:
        check_output(shown.inline_functions, opened.model, shown.force)
        if not opened.model.proto.functions:
            hint(f"note: {opened.model.label} has no local functions; the copy is the same network")
        save_model(inline_functions(opened.model), shown.inline_functions)
        hint(f"written: {shown.inline_functions}")
        opened = open_model(shown.inline_functions)
    analysis = run.of(replace(asked, model=opened))
    notes(renaming_notes(analysis.renamed))
    table = analysis.as_table(shown.chosen in GROUPED_FORMS)
    emit(analysis_document(analysis), table, analysis_footer(analysis), shown.chosen)
