"""Deviates of the counter-based generator where compiled loops draw them: the door to those of the sealed engine."""

from lhc.runtime.engines.compiled.noise_kernels import add_noise_to_lines, noise_gradients

__all__ = ["add_noise_to_lines", "noise_gradients"]
