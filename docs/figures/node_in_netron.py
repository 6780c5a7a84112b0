"""Take the picture of a placed model in Netron, one node selected, as ``lhc view`` shows it.

    PYTHONPATH=. python docs/figures/node_in_netron.py MODEL.lhc.onnx NODE OUT.png

Chromium is driven as the tests in a browser do.
"""

import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from lhc.onnx_io import read_plan
from lhc.report.viewer import make_server, netron_site, open_for_viewing
from tests.report.chromium import chromium, open_browser

WIDTH, HEIGHT = 1200, 880
BRACKETS = """
const walker = document.createTreeWalker(document.getElementById("target"), NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  walker.currentNode.data = walker.currentNode.data.replaceAll("\\u3008", "(").replaceAll("\\u3009", ")");
}
"""
"""Netron's brackets around shapes are Chinese ones, which few fonts without such letters have."""
SLID_IN = f"document.querySelector('#sidebar .sidebar-item').getBoundingClientRect().right <= {WIDTH}"


def main() -> None:
    """Take it."""
    source, node, out = sys.argv[1:4]
    model, program = open_for_viewing(source), chromium()
    if program is None:
        sys.exit("chromium is not installed")
    site = netron_site(model, read_plan(model))
    with TemporaryDirectory() as profile, make_server(site) as server, open_browser(program, Path(profile)) as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.send(
            "Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False
        )
        browser.open(server.url)
        browser.click(*browser.node(node))
        browser.wait_for("[...document.querySelectorAll('#sidebar input')].some(e => e.value === 'lhc.placement')")
        browser.wait_for(SLID_IN)
        browser.evaluate(BRACKETS)
        Path(out).write_bytes(browser.picture())
        server.shutdown()


if __name__ == "__main__":
    main()
