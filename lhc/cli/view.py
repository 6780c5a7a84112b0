"""``lhc view``: a model in Netron."""

from lhc.cli.framework.output import hint, hints, notes, say
from lhc.options.viewing import ViewOptions


def view(asked: ViewOptions) -> None:
    """Show a model in Netron, its placement in two colours. Ends with Ctrl-C."""
    from lhc.onnx_io import read_plan
    from lhc.report.viewer import (
        annotation_notes,
        has_weights_outside,
        make_server,
        netron_site,
        open_for_viewing,
        serve,
    )
    from lhc.report.wording.model_file import doubts, renaming_notes

    shown = open_for_viewing(str(asked.model))
    plan = read_plan(shown)
    notes(renaming_notes(shown.renamed))
    hints(annotation_notes(shown, plan))
    if not has_weights_outside(shown):
        hints(doubts(shown, plan))
    server = make_server(netron_site(shown, plan), asked.port)
    serve(server, browse=not asked.no_browser, ready=say, tell=hint)
