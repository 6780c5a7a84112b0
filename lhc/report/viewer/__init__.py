"""Annotated models in Netron, in a browser."""
