"""The engine ``fast``: aihwkit's arithmetic of an ordinary tile, compiled by numba; sealed behind `registry`."""
