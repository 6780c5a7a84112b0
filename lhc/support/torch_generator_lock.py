"""Lock on torch's global generator: held by whoever seeds it and draws from it."""

import threading

__all__ = ["GENERATOR_LOCK"]

GENERATOR_LOCK = threading.RLock()
"""Training holds it too, while devices are programmed for its steps."""
