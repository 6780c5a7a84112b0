"""Level of the logger ``lhc`` for what a command tells besides its result and is no warning."""

__all__ = ["NOTE"]

NOTE = 25
"""Between ``logging.INFO``, which ``-v`` shows, and ``logging.WARNING``."""
