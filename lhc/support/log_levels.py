"""Levels of log records: one beside those of Python's ``logging``, and those of libraries that say too much."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

NOTE = 25
"""Of notes that are no warnings: between ``logging.INFO``, which ``-v`` shows, and ``logging.WARNING``."""


@contextmanager
def quiet_logger(name: str, level: int = logging.ERROR) -> Iterator[None]:
    """Let a library's logger tell only what is of this level or above, meanwhile."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
