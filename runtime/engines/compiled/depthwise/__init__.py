"""Depthwise convolutions on tiles, compiled."""
