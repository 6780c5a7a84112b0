"""Convolutions on tiles, compiled: im2col with the DAC, reads of blocks of vectors, layout in memory."""
