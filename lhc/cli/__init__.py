"""The command line: what parses and prints, one file a command. What a command does is in `lhc.commands`.

``lhc/cli/partition.py`` is ``lhc partition``; it reads options, calls the function of ``lhc/commands/partition.py`` and
shows what that returns. No logic is here. Results go to stdout, everything else to stderr.
"""

import atexit
import gc
import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the ``lhc`` command; Ctrl-C while it is still being loaded ends it without a traceback."""
    gc.disable()  # what is loaded stays; with `reporter` garbage is looked for
    atexit.register(gc.freeze)  # as it ends Python would walk all objects three times
    try:
        from lhc.cli.framework.app import main as loaded

        loaded()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
