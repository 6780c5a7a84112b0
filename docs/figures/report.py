"""Take the picture of a report's first screen on a laptop, with a headless Chromium.

python docs/figures/report.py REPORT.html OUT.png
"""

import shutil
import subprocess
import sys
from pathlib import Path

SIZE = "1366,768"


def main() -> None:
    """Take it."""
    report, out = (Path(argument).resolve() for argument in sys.argv[1:3])
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("chromium is not installed")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}")
    subprocess.run([program, *flags, f"--screenshot={out}", report.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
