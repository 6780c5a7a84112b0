"""Calibration: input and ADC ranges of layers, signs of inputs, gains and offsets of a chip's outputs."""
