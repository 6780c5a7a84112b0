"""Retraining under the noise of analog tiles. PyTorch is loaded by the modules that need it, not here."""

from lhc.train.settings import Retraining

__all__ = ["Retraining"]
