"""Products of matrix rows with tiles, compiled."""
