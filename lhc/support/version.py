"""The version of lhc, where every layer may ask for it."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
