"""``lhc.view``: show a model in Netron, with its placement in two colours."""

import logging

from lhc.onnx_io import read_plan
from lhc.options.declaration.python_signature import keywords
from lhc.options.viewing import ViewOptions
from lhc.report.viewer import make_server, netron_site, open_for_viewing, serve

log = logging.getLogger("lhc")


@keywords(ViewOptions)
def view(options: ViewOptions) -> None:
    """Show a model in Netron, its placement in two colours, until it is interrupted; the address is a warning.

    Raises:
        ModelError: the model cannot be read.
    """
    shown = open_for_viewing(str(options.model))
    server = make_server(netron_site(shown, read_plan(shown)), options.port)
    serve(server, browse=not options.no_browser, ready=log.warning, tell=log.warning)
