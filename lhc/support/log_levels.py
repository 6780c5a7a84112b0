"""Levels of log records beside those of Python's ``logging``."""

__all__ = ["NOTE"]

NOTE = 25
"""Of notes that are no warnings: between ``logging.INFO``, which ``-v`` shows, and ``logging.WARNING``."""
