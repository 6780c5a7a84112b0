"""Entry point: the command with all its sub-commands."""

import logging
import sys

from lhc.cli import compiling, exploring, looking, measuring, placing, reapplying, reporting, retraining
from lhc.cli.base import app

__all__ = ["app", "main"]

COMMANDS = (
    *compiling.__all__,
    *exploring.__all__,
    *looking.__all__,
    *measuring.COMMANDS,
    *placing.__all__,
    *reapplying.__all__,
    *reporting.COMMANDS,
    *retraining.__all__,
)
"""Importing these modules has registered them."""


def main() -> None:
    """Entry point of the ``lhc`` command."""
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s", stream=sys.stderr)
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
