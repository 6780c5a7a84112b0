"""``lhc sensitivity``: how much damage single layers do."""

from lhc.cli.framework.output import emit, notes
from lhc.cli.framework.progress import dry_run, watched
from lhc.options.by_command import SensitivityOptions
from lhc.options.output_options import Estimating, Watching


def sensitivity(asked: SensitivityOptions, shown: Watching, only: Estimating) -> None:
    """Measure the damage of each layer when it alone is analog.

    $ lhc sensitivity model.onnx --data samples.npz --samples 200
        damage of each layer alone, with intervals: kl, nmse, or --metric
    """
    from lhc.commands.sensitivity import sensitivity as run
    from lhc.report.exports.json_documents import sensitivity_document
    from lhc.report.tables.measured_tables import basis_text

    if only.dry_run:
        dry_run(asked, shown.chosen)
        return
    with watched(asked, shown.quiet) as watching:
        table = run.of(watching)
    notes(table.notes)
    emit(sensitivity_document(table), table.as_table(), basis_text(table), shown.chosen)
