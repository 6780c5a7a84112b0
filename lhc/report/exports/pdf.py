"""A report as PDF: its page as a browser prints it. There is no second layout that could say something else."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from lhc.errors import MissingDependencyError
from lhc.report.document.report import Report
from lhc.report.html.page import html

__all__ = ["pdf"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "microsoft-edge")
SECONDS = 120


def pdf(report: Report) -> bytes:
    """The page on A4.

    Raises:
        MissingDependencyError: no browser that prints without a window is installed, or it fails.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise MissingDependencyError(
            f"a PDF is printed by a browser, and none of {', '.join(BROWSERS)} is installed; write .html and print that"
        )
    with tempfile.TemporaryDirectory(prefix="lhc-") as folder:
        page, printed = Path(folder) / "report.html", Path(folder) / "report.pdf"
        page.write_text(html(report), encoding="utf-8")
        # The page is our own, asks for nothing, and its script is allowed by hash: the browser's own sandbox, which
        # some systems and containers do not have, would guard nothing.
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/p",
        ]
        command = [program, *options, f"--print-to-pdf={printed}", page.as_uri()]
        try:
            subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
            return printed.read_bytes()
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MissingDependencyError(
                f"{program} did not print the report ({error}); write .html and print that"
            ) from error
