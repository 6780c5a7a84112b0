"""Weights on tiles: mapping, programming, drift, read noise, drift compensation and faults, device by device."""
