"""What people look at: reports of placed models, and an annotated model in Netron in two colours."""

from lhc.report.document import Report, read_report
from lhc.report.formats import save_report
from lhc.report.markdown import markdown
from lhc.report.netron import Site, css_escape, css_rules, netron_site
from lhc.report.page import html
from lhc.report.server import make_server, serve
from lhc.report.viewed_model import annotation_notes, has_weights_outside, open_for_viewing

__all__ = [
    "Report",
    "Site",
    "annotation_notes",
    "css_escape",
    "css_rules",
    "has_weights_outside",
    "html",
    "make_server",
    "markdown",
    "netron_site",
    "open_for_viewing",
    "read_report",
    "save_report",
    "serve",
]
