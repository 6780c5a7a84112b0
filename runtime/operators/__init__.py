"""Operators of a placed network: analog layers, their input vectors (im2col), and the digital rest of each."""
