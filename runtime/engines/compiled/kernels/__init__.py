"""Kernels that all compiled products share: converters, products, currents, noise, what follows an operator."""
