"""The command line: thin, no logic. Results go to stdout, everything else to stderr."""

from lhc.cli.app import main

__all__ = ["main"]
