"""What people look at: an annotated model in Netron, analog and digital layers in two colours."""

from lhc.report.netron import Site, css_escape, css_rules, netron_site
from lhc.report.serving import make_server, serve
from lhc.report.viewing import annotation_notes, has_weights_outside, open_for_viewing

__all__ = [
    "Site",
    "annotation_notes",
    "css_escape",
    "css_rules",
    "has_weights_outside",
    "make_server",
    "netron_site",
    "open_for_viewing",
    "serve",
]
