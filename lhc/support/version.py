"""The version of lhc, where every layer may ask for it."""

VERSION = "0.1.0"
