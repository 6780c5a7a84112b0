"""``lhc view``: a model in Netron."""

from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import hint, hints, notes, say
from lhc.errors import UsageError
from lhc.options.declare import option, options
from lhc.options.subjects import Model


@options
class ViewOptions(Model):
    """Of ``lhc view``."""

    PANEL: ClassVar[str] = "Output"

    port: int = option(
        "By default a free one.", default=0, metavar="N", result="lhc.report.server.make_server(site, port)"
    )
    no_browser: bool = option("Only print the address.", default=False, result="lhc.report.server.serve(server)")

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port must be 0 to 65535, got {self.port}")


def view(asked: ViewOptions) -> None:
    """Show a model in Netron, its placement in two colours. Ends with Ctrl-C."""
    from lhc.onnx_io import read_plan
    from lhc.report.netron import netron_site
    from lhc.report.placement_lines import doubts, renaming_notes
    from lhc.report.server import make_server, serve
    from lhc.report.viewed_model import annotation_notes, has_weights_outside, open_for_viewing

    shown = open_for_viewing(str(asked.model))
    plan = read_plan(shown)
    notes(renaming_notes(shown.renamed))
    hints(annotation_notes(shown, plan))
    if not has_weights_outside(shown):
        hints(doubts(shown))
    server = make_server(netron_site(shown, plan), asked.port)
    serve(server, browse=not asked.no_browser, ready=say, tell=hint)


command = terminal_command("view", view, ViewOptions)
